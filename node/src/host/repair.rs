//! A data folder looked through from end to end while no phone runs on it, and mended: what other phones hold is
//! fetched from them anew, and what the damaged store still gives is kept.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use protocol::{DeviceId, DeviceKeys, Digest};
use serde::Serialize;

use super::DataFolder;
use super::backup::{copy_file, new_keys, private_folder};
use super::folder::{KEY_FILE, is_begun, unusable};
use super::sqlite::salvage::is_sound;
use super::sqlite::{DATABASE, SqliteStore};
use crate::api::Refusal;

/// What was found, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "schema", rename = "kijiti.check/1")]
pub struct Checked {
    /// The phone, as it is now.
    pub device: DeviceId,
    /// The store holds together, or did before it was mended.
    pub store_sound: bool,
    /// Releases and photos that were read through.
    pub bundles: u64,
    /// Those that are not what their names say.
    pub damaged: Vec<String>,
    /// It was mended.
    pub repaired: bool,
    /// Rows that were saved out of a damaged store.
    pub rows_saved: u64,
    /// Something of the store is gone: the phone goes on as another one, with a key of its own, and is enrolled
    /// anew.
    pub is_another: bool,
    /// Where the damaged store lies now.
    pub set_aside: Option<String>,
}

/// Where a new store is made, and the mark that it is whole.
const DRAFT: &str = ".repairing";
const COMPLETE: &str = "complete";

/// Looks through the folder of a phone that does not run.
pub fn check(path: &Path, secret: Option<String>, repair: bool) -> Result<Checked, Refusal> {
    if !is_begun(path) {
        return Err(Refusal::NoPhone(path.display().to_string()));
    }
    let folder = DataFolder::open_waiting(path)?.with_secret(secret.clone());
    finish(path).map_err(|e| unusable(path, &e))?; // what was cut off the last time
    let keys = folder.keys()?;
    let bundles = path.join("bundles");
    let mut checked = Checked {
        device: keys.id(),
        store_sound: is_sound(path),
        bundles: 0,
        damaged: Vec::new(),
        repaired: false,
        rows_saved: 0,
        is_another: false,
        set_aside: None,
    };
    for shelf in [bundles.clone(), bundles.join("photos")] {
        look_through(path, &shelf, repair, &mut checked);
    }
    if !checked.store_sound && repair {
        save((path, secret), &keys, &mut checked)?;
    } else if checked.store_sound {
        drop(SqliteStore::open(path, &keys)?); // whether it opens with this key
    }
    checked.repaired = repair && (!checked.store_sound || !checked.damaged.is_empty());
    Ok(checked)
}

fn look_through(path: &Path, shelf: &Path, repair: bool, checked: &mut Checked) {
    let mut files: Vec<PathBuf> = fs::read_dir(shelf)
        .into_iter()
        .flatten()
        .flatten()
        .map(|file| file.path())
        .collect();
    files.sort();
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str());
        let Some(digest) = name.and_then(|name| name.parse::<Digest>().ok()) else {
            continue;
        };
        checked.bundles += 1;
        let bytes = fs::metadata(&file).map_or(0, |there| there.len());
        if super::links::folder::holds(&file, &digest, bytes) {
            continue;
        }
        if repair {
            // A part again: its groups that are right are kept, the others are fetched anew.
            let _ = match file.is_file() {
                true => fs::rename(&file, file.with_extension("part")),
                false => fs::rename(&file, file.with_extension("aside")),
            };
        }
        let within = file.strip_prefix(path).unwrap_or(&file);
        checked.damaged.push(within.display().to_string());
    }
}

/// Makes a new store out of what can be read of the damaged one, beside it, and then puts it in its place.
fn save(
    (path, secret): (&Path, Option<String>),
    keys: &DeviceKeys,
    checked: &mut Checked,
) -> Result<(), Refusal> {
    let draft = path.join(DRAFT);
    let failed = |e: std::io::Error| unusable(path, &e);
    private_folder(&draft).map_err(failed)?;
    copy_file(&path.join(KEY_FILE), &draft.join(KEY_FILE)).map_err(failed)?;
    let folder = DataFolder::open(&draft)?.with_secret(secret);
    let mut store = SqliteStore::open(&draft, keys)?;
    let saved = store.salvage(path)?;
    checked.rows_saved = saved.rows;
    if !saved.all {
        // What it said last may be gone here and lie with others: under the same key it would say something
        // else by the same number.
        let another = new_keys()?;
        store.become_another(&keys.id(), &another)?;
        folder.replace_key(&another)?;
        checked.is_another = true;
        checked.device = another.id();
    }
    drop(store);
    fs::File::create(draft.join(COMPLETE))
        .and_then(|mark| mark.sync_all())
        .map_err(failed)?;
    checked.set_aside = finish(path).map_err(failed)?;
    Ok(())
}

/// Puts a whole draft in the place of what is there, wherever the last try was cut off; takes away one that is
/// not whole. Where the damaged store lies then.
fn finish(path: &Path) -> std::io::Result<Option<String>> {
    let draft = path.join(DRAFT);
    if draft.is_file() {
        fs::remove_file(&draft)?;
    }
    if !draft.join(COMPLETE).exists() {
        return match fs::remove_dir_all(&draft) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(None),
        };
    }
    let aside = (1..)
        .map(|n| format!("{DATABASE}.damaged-{n}"))
        .find(|aside| !path.join(aside).exists())
        .unwrap_or_else(|| format!("{DATABASE}.damaged"));
    let mut moved = None;
    if draft.join(DATABASE).exists() {
        for end in ["-shm", "-wal", ""] {
            let there = path.join(format!("{DATABASE}{end}"));
            if there.exists() {
                fs::rename(there, path.join(format!("{aside}{end}")))?;
                moved = Some(path.join(&aside).display().to_string());
            }
        }
        if draft.join(KEY_FILE).exists() {
            fs::rename(draft.join(KEY_FILE), path.join(KEY_FILE))?;
        }
        fs::rename(draft.join(DATABASE), path.join(DATABASE))?;
    }
    fs::remove_dir_all(&draft)?;
    fs::File::open(path)?.sync_all()?;
    Ok(moved)
}
