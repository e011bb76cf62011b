//! Every decoder that reads what a peer, a file or a stranger wrote. A target must neither panic
//! nor hold more than its limit, whatever the bytes; where bytes are accepted, writing them again
//! gives what was read.

use distribution::bundle::{Fetch, Groups};
use distribution::{Offer, ReleaseList, Root, TrustedState, tree};
use inference::logic::Expr;
use inference::{Findings, RulePack, TriageModel};
use protocol::certificate::{Certificate, CertificateRequest, Right, Rights};
use protocol::frame::{Frame, FrameReader};
use protocol::signed::Role;
use protocol::{Area, CaseId, Chain, DeviceKeys, Digest, Signed};
use rand_chacha::rand_core::SeedableRng;
use record::Case;
use record::exchange::{csv, fhir};
use sync::archive;
use sync::epoch::Epochs;
use sync::reconcile::read_short_ids;
use sync::{Envelope, Grant};

/// A target: its name, as its corpus folder is called, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 25] = [
    ("frame", frame),
    ("signed", signed),
    ("chain", chain),
    ("envelope", envelope),
    ("case", case),
    ("bundle", bundle),
    ("model", model),
    ("adapter", adapter),
    ("vision", vision),
    ("findings", findings),
    ("rules", rules),
    ("words", words),
    ("trust", trust),
    ("delta", delta),
    ("layout", layout),
    ("exchange", exchange),
    ("scan", scan),
    ("photo", photo),
    ("sequence", sequence),
    ("discovery", discovery),
    ("mirror", mirror),
    ("control", control),
    ("keyfile", keyfile),
    ("parcel", parcel),
    ("radio", radio),
];

/// libFuzzer takes every panic for a crash, even one that our net catches inside Automerge: this
/// lets those pass. One that is not caught still ends the run.
pub fn let_caught_panics_pass() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// Pictures: what a camera wrote beside them goes, once.
pub fn photo(data: &[u8]) {
    let _ = record::photo::look(data);
    if let Ok(small) = record::photo::middle(data, 112) {
        assert!(small.len() == 112 * 112 * 3);
    }
    if let Ok(clean) = record::photo::without_metadata(data) {
        assert!(
            record::photo::without_metadata(&clean).is_ok_and(|again| again == clean),
            "not clean after once"
        );
    }
    let _ = record::photo::open(data, &[7; 32]);
}

/// A stream of frames, cut anywhere.
pub fn frame(data: &[u8]) {
    let step = data.first().map_or(1, |b| usize::from(*b) + 1);
    let mut reader = FrameReader::default();
    for chunk in data.chunks(step) {
        reader.push(chunk.to_vec());
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    let bytes = frame.to_bytes();
                    let again = Frame::from_bytes(bytes.get(4..).unwrap_or_default());
                    assert!(
                        again.is_ok_and(|f| f.to_bytes() == bytes),
                        "{} does not read back",
                        frame.name()
                    );
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// Every kind of signed document.
pub fn signed(data: &[u8]) {
    if let Ok(root) = Signed::<Root>::from_bytes(data) {
        let _ = TrustedState::new(&root);
    }
    if let Ok(list) = Signed::<ReleaseList>::from_bytes(data) {
        let _ = list.read();
    }
    if let Ok(certificate) = Signed::<Certificate>::from_bytes(data) {
        let _ = certificate.verify(&Role::single(DeviceKeys::from_seed([1; 32]).id()));
    }
    let _ = Signed::<CertificateRequest>::from_bytes(data).map(|r| r.read());
    let _ = Signed::<Grant>::from_bytes(data).map(|g| g.read());
}

/// Certificate chains.
pub fn chain(data: &[u8]) {
    if let Ok(chain) = Chain::from_bytes(data) {
        let _ = chain.verify(&Role::single(DeviceKeys::from_seed([1; 32]).id()));
    }
}

/// The outside of envelopes.
pub fn envelope(data: &[u8]) {
    if let Ok(envelope) = Envelope::parse(data.to_vec()) {
        assert_eq!(envelope.bytes(), data);
        if let Ok(notice) = envelope.notice() {
            let mut epochs = Epochs::default();
            notice.share.iter().for_each(|share| epochs.add(share));
            epochs.retire(notice.retired_epochs());
            let _ = epochs.heads();
            let _ = notice
                .share
                .map(|share| share.open(&notice.area, &DeviceKeys::from_seed([2; 32])));
        }
    }
}

/// Automerge's loaders, behind our net: a stored document, and a change from another phone.
pub fn case(data: &[u8]) {
    let id = CaseId([1; 16]);
    if let Ok(case) = Case::load(id, data) {
        let _ = case.view();
    }
    // A member gone wrong signs whatever it likes.
    let signed = record::sign(id, data, &DeviceKeys::from_seed([1; 32])).unwrap_or_default();
    for change in [data, &signed] {
        let mut case = Case::new(id);
        let before = case.save();
        if case.apply(&[change]).is_err() {
            assert_eq!(case.save(), before, "a refused change changed the case");
        }
    }
}

/// Tree lists, have-maps and groups.
pub fn bundle(data: &[u8]) {
    let bytes = data.len() as u64 * 300;
    let mut fetch = Fetch::new(Digest::of(data), bytes);
    let _ = fetch.accept_tree(0, data);
    let _ = fetch.check_groups(data.first().map_or(0, |b| u64::from(*b)), data);
    let groups = Groups::from_bits(data, tree::group_count(bytes));
    assert!(groups.held() <= groups.count());
}

/// Model files.
pub fn model(data: &[u8]) {
    let _ = TriageModel::load("fuzz", data);
}

/// Adapters, which run beside a model.
pub fn adapter(data: &[u8]) {
    let _ = inference::model::adapter::Adapter::load(data);
}

/// Readers of pictures, and what they make of a picture.
pub fn vision(data: &[u8]) {
    use inference::vision::{Picture, PictureReader};
    if let Ok(reader) = PictureReader::load("fuzz", data) {
        let _ = reader.self_test();
        for subject in &inference::pictures::SUBJECTS {
            let _ = reader.look(&Picture::black(), subject);
        }
    }
}

/// Findings files, JSON and TOML.
pub fn findings(data: &[u8]) {
    if let (Ok(text), Ok(pack)) = (std::str::from_utf8(data), RulePack::built_in()) {
        let _ = Findings::parse(text, &pack);
    }
}

/// Rule packs and their conditions.
pub fn rules(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = RulePack::parse(text);
        let _ = Expr::parse(text);
        let _ = Area::parse(text);
    }
}

/// Documents offered to a trusting phone, whatever their kind; its state is kept and comes back the
/// same.
pub fn trust(data: &[u8]) {
    let [kind, bytes @ ..] = data else { return };
    const KINDS: [&str; 6] = [
        "root",
        "recall",
        "revocations",
        "release-list",
        "delegated-list",
        "beacon",
    ];
    let Some(kind) = KINDS.get(usize::from(*kind) % KINDS.len()) else {
        return;
    };
    let Ok(offer) = Offer::from_bytes(kind, bytes) else {
        return;
    };
    assert!(
        Offer::from_bytes(kind, &offer.to_bytes()).is_ok(),
        "a {kind} does not read back"
    );
    let ministry = sim::Ministry::new(3, 3, 2);
    let Ok(mut state) = TrustedState::new(&ministry.root) else {
        return;
    };
    let _ = state.offer(&offer);
    let kept: Vec<_> = state
        .records()
        .iter()
        .map(|(kind, bytes)| (kind.to_owned(), bytes.to_vec()))
        .collect();
    let again = TrustedState::restore(&kept).ok().flatten();
    assert!(
        again.is_some_and(|again| again.records() == state.records()),
        "another state after a crash"
    );
    let _ = sync::receipt::verify(bytes);
}

/// A delta on a small base: whatever it says, it makes no more than was signed, and nothing is
/// believed but the target.
pub fn delta(data: &[u8]) {
    let base = vec![7u8; 5000];
    let (held, wanted) = (Digest::of(&base), Digest([9; 32]));
    let mut head = b"KJDELTA\x01".to_vec();
    head.extend_from_slice(&held.0);
    head.extend_from_slice(&wanted.0);
    head.extend_from_slice(&5000u64.to_le_bytes());
    head.extend_from_slice(&20_000u64.to_le_bytes());
    head.extend_from_slice(data);
    for delta in [head.as_slice(), data] {
        let mut made = 0;
        let mut keep = |bytes: &[u8]| {
            made += bytes.len();
            Ok(())
        };
        let done =
            distribution::delta::apply(delta, (held, base.as_slice()), (wanted, 20_000), &mut keep);
        assert!(done.is_err() && made <= 20_000, "{made} bytes were made");
    }
}

/// Where tensors lie: every span lies within the file, and none over another.
pub fn layout(data: &[u8]) {
    let mut end = 0;
    for span in distribution::delta::layout::layout(data) {
        assert!(
            span.offset >= end && span.offset + span.bytes <= data.len() as u64,
            "{span:?}"
        );
        end = span.offset + span.bytes;
    }
}

/// A mapping for tables of two columns.
fn mapping() -> csv::Mapping {
    let column = |field: &str, unit: Option<&str>| csv::Column {
        field: Some(field.into()),
        unit: unit.map(str::to_owned),
        date: Some("DD/MM/YYYY".into()),
        ..csv::Column::default()
    };
    let columns = [
        ("born", column("patient.born", None)),
        ("weight", column("weight", Some("[lb_av]"))),
    ];
    csv::Mapping {
        format: csv::MAPPING_FORMAT.into(),
        system: "a register".into(),
        known_by: Vec::new(),
        ignore: Vec::new(),
        columns: columns
            .map(|(name, column)| (name.to_owned(), column))
            .into(),
    }
}

/// Cases from files: FHIR bundles, tables and archives. What is accepted becomes a case like any
/// other.
pub fn exchange(data: &[u8]) {
    let keys = DeviceKeys::from_seed([2; 32]);
    if let Ok(archive) = archive::read(data) {
        let _ = archive::open(&archive, &keys);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let read = fhir::read(text)
        .unwrap_or_default()
        .into_iter()
        .chain(csv::read(text).unwrap_or_default())
        .chain(csv::read_mapped(text, &mapping()).unwrap_or_default());
    for imported in read {
        let mut case = Case::new(CaseId([1; 16]));
        if case.add(&imported.entries, &keys, &[1; 16], 0).is_ok() {
            assert!(
                Case::load(CaseId([1; 16]), &case.save()).is_ok(),
                "an imported case does not load again"
            );
            let _ = fhir::write(&case.view(), &Area::default());
            let _ = fhir::write_ips(&case.view(), &Area::default());
        }
    }
}

/// Whatever a peer says after (or instead of) a proper opening, to a phone that is enrolled and
/// holds a release: the first byte says how far the opening goes, and as whom; the phone starts
/// again afterwards.
pub fn sequence(data: &[u8]) {
    let [how, said @ ..] = data else { return };
    let ministry = sim::Ministry::new(3, 3, 2);
    let mut world = sim::World::new();
    let mut rng = rand_chacha::ChaCha8Rng::from_seed([5; 32]);
    let area = Area::parse("north").unwrap_or_default();
    let rights = Rights::of(&[Right::Carry, Right::Read, Right::Write]);
    let enrolled = world.add_certified(1, &ministry, &area, rights, &mut rng);
    assert!(enrolled.is_ok(), "a phone is enrolled");
    let opening = sim::attacks::enters(&ministry, 0);
    let mut talk: Vec<_> = opening
        .iter()
        .take(usize::from(how % 8))
        .map(Frame::to_bytes)
        .collect();
    let chunk = if how & 8 == 0 { 4096 } else { 7 };
    talk.extend(said.chunks(chunk).map(<[u8]>::to_vec));
    let heard = world.hear(0, sim::attacks::attacker().id(), &talk, 0);
    assert!(
        heard.is_ok(),
        "what a peer said became an error of the store"
    );
    assert!(
        world.restart(0).is_ok(),
        "the phone does not start any more"
    );
}

/// What is heard on the air of neighbours: a beacon as phones of this ministry send it, bent at one
/// place, and bare bytes.
pub fn discovery(data: &[u8]) {
    let (key, from): (_, std::net::SocketAddr) = ([7; 32], ([10, 0, 0, 1], 5000).into());
    let _ = node::host::links::discovery::read(&key, data, from);
    let [at, bend, ports @ ..] = data else { return };
    let port = ports
        .first_chunk::<2>()
        .map_or(1, |port| u16::from_le_bytes(*port));
    let id = DeviceKeys::from_seed([1; 32]).id();
    let Some(mut beacon) = node::host::links::discovery::write(&key, (&id, from.ip()), port, port)
    else {
        return;
    };
    let at = usize::from(*at) % beacon.len();
    if let Some(byte) = beacon.get_mut(at) {
        *byte ^= bend;
    }
    let heard = node::host::links::discovery::read(&key, &beacon, from);
    assert!(
        *bend == 0 || heard.is_none(),
        "a beacon that was bent is heeded"
    );
}

/// The index of a mirror, which anybody may have written.
pub fn mirror(data: &[u8]) {
    let _ = desk::mirror::read_index(data);
}

/// A line at the control port.
pub fn control(data: &[u8]) {
    let _ = node::host::control::read_request(&String::from_utf8_lossy(data));
}

/// A file that is given for a key: what it says about the cost of its passphrase has an end.
pub fn keyfile(data: &[u8]) {
    if keyfile::is_sealed(data) {
        let _ = keyfile::open_key(data, "twelve patients to see");
    }
}

/// Text of codes from a camera. What makes up a file is drawn as codes that make it up again.
pub fn scan(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(file) = protocol::scan::join(&text) {
        let parts = protocol::scan::parts(&file).unwrap_or_default();
        assert!(parts.is_empty() || protocol::scan::join(&parts.join(" ")).as_ref() == Ok(&file));
    }
}

/// Lists of ids.
pub fn words(data: &[u8]) {
    let _ = read_short_ids(data);
}

/// Parcels that come by card: anything at all, and good ones that were bent.
pub fn parcel(data: &[u8]) {
    use sync::parcel;
    let key = [7; 32];
    if let Ok(opened) = parcel::open(&key, data) {
        opened.read(|_| true, |_, _| {});
    }
    let _ = parcel::read_document(data);
    let [at, bend, rest @ ..] = data else { return };
    let items = [
        (parcel::ItemKind::Envelope, rest.to_vec()),
        (parcel::ItemKind::Document, parcel::document("root", rest)),
    ];
    let Some((_, mut file)) = parcel::write(&key, &items) else {
        return;
    };
    let at = usize::from(*at) * file.len() / 256;
    if let Some(byte) = file.get_mut(at) {
        *byte ^= bend;
    }
    if let Ok(opened) = parcel::open(&key, &file) {
        opened.read(
            |_| true,
            |item, bytes| assert!(bytes.is_none_or(|bytes| Digest::of(&bytes) == item.id)),
        );
    }
}

/// What radios hear: tokens, names of groups, and the first words on a Bluetooth channel, from a stranger
/// and from somebody who has the ministry's key.
pub fn radio(data: &[u8]) {
    use node::host::links::{bluetooth::token, noise, wifi::group};
    let key = [7; 32];
    let keys = DeviceKeys::from_seed([1; 32]);
    if let Some(token) = token::read(&key, data) {
        let _ = token.is(&keys.id());
        let _ = token.stand_in();
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = group::recognise(&key, text);
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
    else {
        return;
    };
    for dialed in [true, false] {
        let greeted = runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(4096);
            let (mut reads, mut writes) = tokio::io::split(theirs);
            let says = async {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut writes, data).await;
                let _ = tokio::io::AsyncWriteExt::shutdown(&mut writes).await;
                let mut answer = Vec::new();
                let mut some = tokio::io::AsyncReadExt::take(&mut reads, 4096);
                let _ = tokio::io::AsyncReadExt::read_to_end(&mut some, &mut answer).await;
                answer.len()
            };
            let (greeted, answered) =
                tokio::join!(noise::secure(ours, dialed, &keys, &key), async {
                    tokio::time::timeout(std::time::Duration::from_millis(50), says).await
                });
            let answered = answered.unwrap_or_default();
            assert!(dialed || answered == 0, "a stranger was answered");
            greeted.is_ok()
        });
        assert!(!greeted, "a stranger was let in");
    }
}
