//! The tables of a phone's store, step by step: a folder of any earlier version is brought up to
//! date when it is opened.

use super::Drawer;

/// Each step of the schema; the number of steps taken is SQLite's `user_version`.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE settings (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE roots (position INTEGER PRIMARY KEY, signed BLOB NOT NULL);
    CREATE TABLE chains (device BLOB PRIMARY KEY, author BLOB NOT NULL, chain BLOB NOT NULL) WITHOUT ROWID;
    CREATE INDEX chains_by_author ON chains (author);
    CREATE TABLE space_keys (space BLOB NOT NULL, area TEXT NOT NULL, key BLOB NOT NULL, PRIMARY KEY (space, key));
    CREATE TABLE envelopes (
        position INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, space BLOB NOT NULL, area TEXT NOT NULL,
        urgency INTEGER NOT NULL, bytes BLOB NOT NULL);
    CREATE INDEX envelopes_by_space ON envelopes (space, position);
    CREATE TABLE quarantine (id BLOB PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE cases (
        id BLOB PRIMARY KEY, area TEXT NOT NULL, urgency INTEGER, changed_s INTEGER NOT NULL, entries INTEGER NOT NULL,
        document BLOB NOT NULL);
    CREATE TABLE bundles (digest BLOB PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE peers (
        device BLOB PRIMARY KEY, name TEXT NOT NULL, meetings INTEGER NOT NULL, last_met_s INTEGER NOT NULL,
        in_step INTEGER NOT NULL) WITHOUT ROWID;
",
    "
    CREATE TABLE trust (position INTEGER PRIMARY KEY, kind TEXT NOT NULL, signed BLOB NOT NULL);
    INSERT INTO trust SELECT position, 'root', signed FROM roots;
    INSERT INTO trust SELECT 1000000, 'release-list', value FROM settings WHERE key = 'release-list';
    DELETE FROM settings WHERE key = 'release-list';
    DROP TABLE roots;
",
    "
    CREATE TABLE receipts (
        position INTEGER PRIMARY KEY AUTOINCREMENT, device BLOB NOT NULL UNIQUE, number INTEGER NOT NULL,
        bytes BLOB NOT NULL);
",
    // From here on what can be read of a patient, and the keys of spaces, lie sealed (`Vault`);
    // what lay open before is sealed at the first start.
    "
    ALTER TABLE envelopes ADD COLUMN kind INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE envelopes ADD COLUMN case_tag BLOB;
    UPDATE envelopes SET case_tag = substr(bytes, 18, 16);
    CREATE INDEX envelopes_by_case ON envelopes (space, case_tag) WHERE kind = 1;
    CREATE INDEX notices ON envelopes (position) WHERE kind = 2;
    ALTER TABLE cases ADD COLUMN title BLOB NOT NULL DEFAULT x'';
    ALTER TABLE cases ADD COLUMN questions INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE cases ADD COLUMN tags BLOB NOT NULL DEFAULT x'';
    CREATE TABLE unsent (position INTEGER PRIMARY KEY AUTOINCREMENT, case_id BLOB NOT NULL, change BLOB NOT NULL);
    CREATE TABLE steps (device BLOB NOT NULL, space BLOB NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (device, space))
        WITHOUT ROWID;
    ALTER TABLE peers ADD COLUMN at_meeting INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE unsent ADD COLUMN withdraws INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE kept_chains (
        position INTEGER PRIMARY KEY AUTOINCREMENT, device BLOB NOT NULL, author BLOB NOT NULL, chain BLOB NOT NULL UNIQUE);
    INSERT INTO kept_chains (device, author, chain) SELECT device, author, chain FROM chains;
    DROP TABLE chains;
    CREATE INDEX chains_by_author ON kept_chains (author, position);
",
    // Chains are known by their signed bodies, envelopes by their author; photos have a table of
    // their own; what is sealed is bound to its row; what does not open any more is moved aside.
    // Chains, receipts and photos come again from other phones.
    "
    DROP TABLE kept_chains;
    CREATE TABLE author_chains (
        position INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, device BLOB NOT NULL, author BLOB NOT NULL,
        issuer BLOB, used INTEGER NOT NULL DEFAULT 0, chain BLOB NOT NULL);
    CREATE INDEX author_chains_by_author ON author_chains (author, position);
    CREATE INDEX author_chains_by_issuer ON author_chains (issuer, used, position);
    ALTER TABLE envelopes ADD COLUMN author BLOB NOT NULL DEFAULT x'';
    ALTER TABLE envelopes ADD COLUMN epoch BLOB NOT NULL DEFAULT x'';
    UPDATE envelopes SET author = substr(bytes, 37, 8), epoch = substr(bytes, 10, 8) WHERE length(bytes) > 0;
    CREATE INDEX envelopes_by_author ON envelopes (author, kind);
    CREATE TABLE photos (digest BLOB PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE damaged (position INTEGER PRIMARY KEY, what TEXT NOT NULL, id BLOB NOT NULL, bytes BLOB NOT NULL);
    DROP TABLE receipts;
    CREATE TABLE receipts (
        position INTEGER PRIMARY KEY AUTOINCREMENT, device BLOB NOT NULL UNIQUE, number INTEGER NOT NULL,
        issuer BLOB, bytes BLOB NOT NULL);
    CREATE INDEX receipts_by_issuer ON receipts (issuer);
",
    // Of a phone that was met it is kept how new what it held was.
    "
    ALTER TABLE peers ADD COLUMN root INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE peers ADD COLUMN list INTEGER NOT NULL DEFAULT 0;
",
];

/// The step of the schema from which on the vault is in use.
pub(super) const SEALED_SINCE: usize = 4;
/// The step from which on what is sealed is bound to its row.
pub(super) const BOUND_SINCE: usize = 5;

/// What lies sealed: table, column, drawer, and the column that names the row.
pub(super) const SEALED: [(&str, &str, Drawer, &str); 4] = [
    ("cases", "document", Drawer::Case, "id"),
    ("cases", "title", Drawer::Title, "id"),
    ("space_keys", "key", Drawer::SpaceKey, "space"),
    ("unsent", "change", Drawer::Unsent, "case_id"),
];
