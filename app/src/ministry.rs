//! The ministry's desk: keys of which k of n must sign, and releases that pass from desk to desk as one draft file.

use std::path::Path;

use distribution::{Release, ReleaseList, Root, TrustedState};
use node::host::folder::{data_hex, read_key, write_secret};
use node::host::{Failure, Request};
use protocol::signed::{Role, Signed};
use protocol::{Area, DeviceKeys, Digest};

use crate::files::{DraftFile, RootFile, from_text, read, to_text, write};

/// Seconds since 1970 by this machine.
pub fn wall_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Makes keys and the first root in `folder`. Returns the keys' names.
pub fn make_keys(folder: &Path, keys: u32, threshold: u32, name: &str, dry_run: bool) -> Result<Vec<String>, Failure> {
    if keys == 0 || threshold == 0 || threshold > keys || keys as usize > protocol::limits::SIGNATURES_MAX {
        return Err(Failure::new(
            format!("{threshold} of {keys} keys cannot be"),
            "choose at least one key, at most 16, and a threshold not above it",
        )
        .with_code(2));
    }
    if folder.join("root.json").exists() || folder.join("key-1.secret").exists() {
        return Err(Failure::new(
            format!("{} holds keys already", folder.display()),
            "choose another folder with --out",
        ));
    }
    let mut made = Vec::new();
    for _ in 0..keys {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Failure::new(format!("no randomness: {e}"), "restart"))?;
        made.push(DeviceKeys::from_seed(seed));
    }
    let role = Role::new(made.iter().map(DeviceKeys::id), threshold).map_err(|e| Failure::new(e, ""))?;
    let root = Root {
        ministry: name.to_owned(),
        version: 1,
        issued_s: wall_s(),
        root: role.clone(),
        releases: role.clone(),
        enrolment: role,
        recall: None,
        beacon: None,
        expires_s: None,
    };
    let mut signed = Signed::unsigned(&root);
    made.iter().for_each(|k| signed.add_signature(k));
    TrustedState::new(&signed).map_err(|e| Failure::new(e, "choose a shorter name"))?;
    let names = made.iter().map(|k| k.id().to_string()).collect();
    if dry_run {
        return Ok(names);
    }
    let cannot =
        |e: std::io::Error| Failure::new(format!("cannot write to {}: {e}", folder.display()), "check the folder");
    std::fs::create_dir_all(folder).map_err(cannot)?;
    for (i, key) in made.iter().enumerate() {
        write_secret(&folder.join(format!("key-{}.secret", i + 1)), &data_hex(key.seed())).map_err(cannot)?;
    }
    write(&folder.join("root.json"), &RootFile { schema: "kijiti.root/1".into(), root: to_text(&signed) })?;
    Ok(names)
}

/// Reads a key file.
pub fn load_key(path: &Path) -> Result<DeviceKeys, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Failure::new(format!("cannot read the key {}: {e}", path.display()), "check the name").with_code(4)
    })?;
    read_key(&text).ok_or_else(|| {
        Failure::new(format!("{} is not a key file", path.display()), "use one that `kijiti ministry keys` made")
            .with_code(4)
    })
}

/// All keys in a ministry's folder.
pub fn load_keys(folder: &Path) -> Result<Vec<DeviceKeys>, Failure> {
    let found: Result<Vec<_>, _> = (1..=protocol::limits::SIGNATURES_MAX)
        .map(|i| folder.join(format!("key-{i}.secret")))
        .filter(|p| p.exists())
        .map(|p| load_key(&p))
        .collect();
    match found?.as_slice() {
        [] => Err(Failure::new(format!("no keys in {}", folder.display()), "make them: `kijiti ministry keys --out`")
            .with_code(4)),
        keys => Ok(keys.to_vec()),
    }
}

/// The root file of a ministry.
pub fn load_root(path: &Path) -> Result<Signed<Root>, Failure> {
    let file: RootFile = read(path, "kijiti.root/1")?;
    from_text("the root", &file.root)
}

/// What goes into a draft.
pub struct NewRelease<'a> {
    /// The bundle.
    pub file: &'a Path,
    /// The module.
    pub module: &'a str,
    /// Its version, or the next.
    pub version: Option<u64>,
    /// Where.
    pub area: &'a str,
    /// Language.
    pub language: &'a str,
    /// Words for people.
    pub notes: &'a str,
}

/// Drafts the next list after `current`, with one release added or replaced.
pub fn draft(current: Option<&ReleaseList>, new: Option<&NewRelease<'_>>) -> Result<DraftFile, Failure> {
    let mut releases = current.map(|l| l.releases.clone()).unwrap_or_default();
    let mut bundles = Vec::new();
    if let Some(new) = new {
        let area = Area::parse(new.area).map_err(|e| Failure::new(e, "for example north/kilifi").with_code(2))?;
        let bytes = std::fs::read(new.file)
            .map_err(|e| Failure::new(format!("cannot read {}: {e}", new.file.display()), "check the name"))?;
        let same = |r: &Release| r.module == new.module && r.area == area && r.language == new.language;
        let held = releases.iter().find(|r| same(r)).map_or(0, |r| r.version);
        let version = new.version.unwrap_or(held + 1);
        if version <= held {
            return Err(Failure::new(
                format!("{} is at version {held} already", new.module),
                "leave --version-number out, or choose a higher one",
            )
            .with_code(5));
        }
        releases.retain(|r| !same(r));
        releases.push(Release {
            module: new.module.to_owned(),
            version,
            digest: Digest::of(&bytes),
            bytes: bytes.len() as u64,
            area,
            language: new.language.to_owned(),
            engine_min: distribution::activation::ENGINE_VERSION,
            notes: new.notes.to_owned(),
            deltas: Vec::new(),
            stage: None,
            lineage: None,
        });
        let path = new.file.canonicalize().map_err(|e| Failure::new(e, "check the name"))?;
        bundles.push(path.display().to_string());
    }
    let version = current.map_or(0, |l| l.version) + 1;
    let signed = Signed::unsigned(&ReleaseList { version, issued_s: wall_s(), releases, ..ReleaseList::default() });
    signed.read().map_err(|e| {
        Failure::new(format!("the list would not be valid: {e}"), "check module, language and notes").with_code(2)
    })?;
    Ok(DraftFile { schema: "kijiti.draft/1".into(), list: to_text(&signed), bundles })
}

/// The release list that a phone holds, from its answer to [`Request::Documents`].
pub fn held_list(answer: &serde_json::Value) -> Result<Option<Signed<ReleaseList>>, Failure> {
    let documents = answer.get("documents").and_then(|d| d.as_array()).into_iter().flatten();
    let mut lists = documents.filter(|d| d.get("kind").is_some_and(|k| k == "release-list"));
    let text = lists.next().and_then(|d| d.get("document")).and_then(|d| d.as_str());
    text.map(|text| from_text("the list held", text)).transpose()
}

/// Adds a signature to a draft.
pub fn sign(draft: &mut DraftFile, key: &DeviceKeys) -> Result<usize, Failure> {
    let mut list: Signed<ReleaseList> = from_text("the draft", &draft.list)?;
    list.add_signature(key);
    draft.list = to_text(&list);
    Ok(list.signers().count())
}

/// The requests that publish a draft on a phone, in order.
pub fn publish_requests(draft: &DraftFile) -> Vec<Request> {
    let bundles = draft.bundles.iter().map(|path| Request::Import { path: path.clone() });
    bundles.chain([Request::Offer { kind: "release-list".into(), document: draft.list.clone() }]).collect()
}

/// What a draft says, checked against a root.
pub fn check(draft: &DraftFile, root: &Signed<Root>) -> Result<serde_json::Value, Failure> {
    let trust = TrustedState::new(root).map_err(|e| Failure::new(e, "use the ministry's own root file"))?;
    let list: Signed<ReleaseList> = from_text("the draft", &draft.list)?;
    let content = list.read().map_err(|e| Failure::new(e, "draft it again"))?;
    let role = trust.root().map(|r| r.releases.clone());
    let role = role.ok_or_else(|| Failure::new("the root names no keys", "use the ministry's own root file"))?;
    let bundles: Vec<_> = draft
        .bundles
        .iter()
        .map(|path| {
            let digest = std::fs::read(path).map(|b| Digest::of(&b));
            let listed = digest.as_ref().is_ok_and(|d| content.releases.iter().any(|r| r.digest == *d));
            serde_json::json!({ "file": path, "matches_list": listed })
        })
        .collect();
    let releases: Vec<_> = content
        .releases
        .iter()
        .map(|r| {
            serde_json::json!({
                "module": r.module, "version": r.version, "digest": r.digest.to_string(), "bytes": r.bytes,
                "area": r.area.to_string(), "language": r.language, "notes": r.notes,
            })
        })
        .collect();
    Ok(serde_json::json!({
        "schema": "kijiti.draft-check/1",
        "list_version": content.version,
        "valid_signatures": list.valid_signatures(&role),
        "needed": role.threshold,
        "releases": releases,
        "bundles": bundles,
    }))
}
