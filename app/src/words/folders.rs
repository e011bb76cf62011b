//! What is wrong with a folder, a card or the store, and what to do.

use node::api::{Refusal, Trouble};

use super::phone::{Words, words};

pub(super) fn trouble(trouble: &Trouble) -> Words {
    match trouble {
        Trouble::Full => words(
            "the disk is full",
            "free some space and try again; nothing was lost",
        ),
        Trouble::ReadOnly(why) => words(
            format!("the data folder cannot be written: {why}"),
            "make the data folder writable, or choose another with --data",
        ),
        Trouble::Damaged(why) => words(
            format!("damaged data: {why}"),
            "`kijiti check --repair` keeps what can be read; what other phones hold comes back when it meets them. Nothing was changed",
        ),
        Trouble::OtherKey => words(
            "the file `key` is not the one that this phone's cases were kept under: it was damaged, or is another phone's",
            "put it back from a copy, or `kijiti restore` a backup into another folder; nothing was changed",
        ),
        Trouble::Broken { invariant, at } => words(
            format!("invariant {invariant} of this program did not hold ({at})"),
            "try again; nothing was changed. Tell those who make this program: it is a fault of theirs",
        ),
        Trouble::Other(why) => words(why, "try again; nothing was changed"),
    }
}

pub(super) fn folder(path: &str, trouble: &Trouble) -> Words {
    match trouble {
        Trouble::Full => words(
            "the disk is full",
            "free some space and try again; nothing was lost",
        ),
        Trouble::ReadOnly(_) => words(
            format!("the data folder {path} cannot be written"),
            "make it writable, or choose another with --data",
        ),
        Trouble::Broken { .. } | Trouble::OtherKey => self::trouble(trouble),
        Trouble::Damaged(why) | Trouble::Other(why) => words(
            format!("the data folder {path} cannot be used: {why}"),
            "choose another with --data",
        ),
    }
}

pub(super) fn card(path: &str, trouble: &Trouble) -> Words {
    match trouble {
        Trouble::Full => words(
            format!("{path} is full"),
            "free some room there, or take another card, and run it again: it goes on where it stopped, and nothing was lost",
        ),
        Trouble::ReadOnly(_) => words(
            format!("{path} cannot be written"),
            "move the card's lock, or make the folder writable; `kijiti carry in` reads it all the same",
        ),
        Trouble::Broken { .. } | Trouble::OtherKey => self::trouble(trouble),
        Trouble::Damaged(why) | Trouble::Other(why) => words(
            format!("{path} cannot be used: {why}"),
            "is the card in? Name a folder that is there, or a file that `kijiti carry out` wrote",
        ),
    }
}

/// What is wrong with a backup, or with where one is to be.
pub(super) fn backups(refusal: &Refusal) -> Option<Words> {
    Some(match refusal {
        Refusal::CopyUnsealed => words(
            "a copy without a passphrase could be read by whoever finds it",
            "give it a passphrase: run it on a terminal, or set KIJITI_PASSPHRASE",
        ),
        Refusal::NotABackup(path) => words(
            format!("{path} is no whole backup of a phone"),
            "choose the folder that `kijiti backup` has written",
        ),
        Refusal::IsABackup(path) => words(
            format!("{path} is a backup of a phone, and no phone"),
            format!(
                "make a phone of it: kijiti --data NEW restore {path}; the backup stays as it is"
            ),
        ),
        Refusal::BackupRuns(path) => words(
            format!("a phone is running on {path}"),
            "stop it first, or restore what `kijiti backup` writes",
        ),
        Refusal::BackupDamaged(path, file) => words(
            format!("the backup in {path} is damaged: {file} is not what was written"),
            "restore another copy; where the phone still works, `kijiti backup` writes this one anew",
        ),
        _ => return None,
    })
}
