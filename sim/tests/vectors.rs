//! Golden vectors: the exact bytes of every signed and framed type of wire version 2. They stay as
//! they are for ever: phones may be a year apart. To add a line for a new type, run this test with
//! KIJITI_WRITE_VECTORS=1 and look at the difference.

#![allow(clippy::disallowed_methods)] // a test may write the file that it compares with

use std::collections::BTreeMap;
use std::path::Path;

use clinical::{FindingValue, Urgency};
use distribution::delegation::DelegatedList;
use distribution::release::{Delta, Lineage, Stage, Subgroup, Withdrawn};
use distribution::{Beacon, Recall, Release, ReleaseList, Revocations, Root};
use minicbor::bytes::ByteVec;
use protocol::certificate::{Certificate, CertificateRequest, Right, Rights};
use protocol::frame::*;
use protocol::signed::Document;
use protocol::{Area, BundleId, CaseId, Chain, DeviceKeys, Digest, EnvelopeId, Signed, SpaceId};
use rand::SeedableRng;
use record::{Case, Entry};
use sim::Ministry;
use sim::attacks::{Scene, university};
use sync::archive::{self, ArchivedCase};
use sync::envelope::{Contents, announce, seal};
use sync::epoch::{KeyShare, Member};
use sync::notice::{Attached, Lost};
use sync::parcel::{self, ItemKind};
use sync::receipt::{Receipt, Running, seal as seal_receipt};
use sync::space::sealing_public_key;
use sync::{Envelope, Grant, Notice, SpaceKey};

fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let ministry = Ministry::of_three_roles(3, 3, 2);
    let (boss, worker) = (
        DeviceKeys::from_seed([1; 32]),
        DeviceKeys::from_seed([2; 32]),
    );
    let area = Area::parse("north/kilifi").unwrap();
    // The rights that there were when the first lines were written.
    let rights = Rights::of(&[
        Right::Carry,
        Right::Read,
        Right::Write,
        Right::Enrol,
        Right::Grant,
    ]);
    let chain = ministry.certify(&boss, "Supervisor", &area, rights, rights);
    let spaces = of_spaces(&area, &chain);
    let certificate =
        sim::ministry::certificate(&worker, "Worker", &area, rights, Rights::default());
    let certificate = Signed::by(&certificate, &boss);
    let request = CertificateRequest::of(&worker, [7; 32], "Worker".into());
    let list = ministry.list(4, vec![ministry.release("triage-model", 2, b"a bundle")]);
    let key = SpaceKey::new(area.clone(), [9; 32]);
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let grant = Grant::seal(
        &key,
        worker.id(),
        &sync::space::sealing_public_key(&worker),
        &mut rng,
    )
    .unwrap();
    let contents = Contents {
        case: CaseId([4; 16]),
        changes: vec![ByteVec::from(vec![1, 2, 3])],
    };
    let envelope = seal(&contents, &key, Urgency::Pink, &worker, [5; 24]).unwrap();
    let space = SpaceId::of(&area);
    let digest = Digest::of(b"a bundle");
    let bundle = BundleId::release(digest);
    let hello = Hello {
        version: 2,
        ministry_tag: Hello::tag_of(&ministry.root.digest(), &boss.id(), &[6; 16]),
        nonce: [6; 16],
        moves: false,
        raises: false,
    };
    let raising = Hello {
        moves: true,
        raises: true,
        ..hello.clone()
    };
    let movable = Hello {
        moves: true,
        ..hello.clone()
    };
    let holds = Holds {
        root_version: 1,
        list_version: 4,
        held: Vec::new(),
        certificates: Vec::new(),
    };
    let certified = Certified {
        chain: Some(chain.clone()),
    };
    let items = [
        (ItemKind::Document, parcel::document("root", b"signed")),
        (ItemKind::Chain, chain.to_bytes()),
        (ItemKind::Envelope, envelope.bytes().to_vec()),
    ];
    let (_, parcel) = parcel::write(&[7; 32], &items).unwrap();
    let photo = BundleId::photo(Digest::of(b"a photo"));
    let pink = PartDigest {
        class: 0,
        count: 3,
        digest: [8; 16],
        sketch: Vec::new(),
    };
    let green = PartDigest {
        class: 2,
        count: 70_000,
        digest: [9; 16],
        sketch: vec![5; 64],
    };
    let parts = SpaceParts {
        space,
        parts: vec![pink],
    };
    let sketched = SpaceParts {
        space,
        parts: vec![green],
    };
    let frame = |f: Frame| f.to_bytes();
    let full = Ministry::new(3, 3, 2);
    let scene = Scene::new(full.clone(), b"a model", b"a form".to_vec(), 1_763_000_000);
    let mut list_of_all = scene.list.clone();
    let release = &mut list_of_all.releases[0];
    release.deltas = vec![Delta {
        base: Digest([1; 32]),
        digest: Digest([2; 32]),
        bytes: 77,
        makes: None,
    }];
    release.stage = Some(Stage {
        permille: 100,
        areas: vec![area.clone()],
    });
    (list_of_all.root, list_of_all.expires_s) = (Some(1), Some(1_790_000_000));
    let gone = Withdrawn {
        module: "form-old".into(),
        area: area.clone(),
        language: "sw".into(),
        version: 7,
    };
    list_of_all.withdrawn = vec![gone];
    let subgroup = Subgroup {
        name: "girls 2-11 months".into(),
        cases: 400,
        sensitivity_permille: 961,
        specificity_permille: 890,
    };
    let lineage = Lineage {
        parent: Digest([1; 32]),
        data: "2,000 consented cases".into(),
        protocol: "PCCP-7".into(),
        subgroups: vec![subgroup],
        return_to: Some(3),
    };
    let fine_tune = Release {
        lineage: Some(lineage),
        ..full.release("fine-tune", 4, b"a fine-tune")
    };
    let delegated = DelegatedList {
        delegation: "university".into(),
        version: 4,
        issued_s: 5,
        releases: vec![fine_tune],
    };
    let delegated = Signed::by(&delegated, &university());
    let (recall, revoked) = (full.recall(2, &[digest]), full.revoke(3, &[worker.id()]));
    let beacon = full.beacon(1_763_000_000, 5, 2);
    let document = |bytes: Vec<u8>| SignedDocument { bytes };
    let running = Running {
        module: "triage-model".into(),
        version: 2,
        digest,
    };
    let said = Receipt {
        chain: chain.clone(),
        root: 1,
        list: 4,
        runs: vec![running],
    };
    let receipt = seal_receipt(
        &said,
        3,
        &sealing_public_key(&full.receipt_key),
        &worker,
        &mut rng,
    )
    .unwrap();
    let carried = CarriedReceipt {
        receipt: receipt.to_bytes(),
        chain: chain.clone(),
    };
    let held = vec![HeldDocument {
        kind: "recall".into(),
        name: String::new(),
        version: 2,
    }];
    let news = BTreeMap::from([
        ("signed root with notices", full.root.to_bytes()),
        (
            "signed release list with everything",
            full.sign(&list_of_all).to_bytes(),
        ),
        ("signed delegated list", delegated.to_bytes()),
        ("signed recall", recall.to_bytes()),
        ("signed revocations", revoked.to_bytes()),
        ("signed beacon", beacon.to_bytes()),
        (
            "frame Recall",
            frame(Frame::Recall(document(recall.to_bytes()))),
        ),
        (
            "frame Revocations",
            frame(Frame::Revocations(document(revoked.to_bytes()))),
        ),
        (
            "frame Delegated",
            frame(Frame::Delegated(document(delegated.to_bytes()))),
        ),
        (
            "frame Beacon",
            frame(Frame::Beacon(document(beacon.to_bytes()))),
        ),
        (
            "frame Got", // as it was called when it was written down
            frame(Frame::HaveAlso(HaveAlso {
                bundle,
                first: 7,
                count: 16,
            })),
        ),
        (
            "frame ReceiptsHeld",
            frame(Frame::ReceiptsHeld(ReceiptsHeld { held: vec![1; 32] })),
        ),
        (
            "frame Receipts",
            frame(Frame::Receipts(Receipts {
                receipts: vec![carried],
            })),
        ),
        ("signed receipt", receipt.to_bytes()),
        (
            "frame Holds, of notices",
            frame(Frame::Holds(Holds {
                held,
                certificates: vec![7; 8],
                ..holds.clone()
            })),
        ),
        (
            "frame Lacks",
            frame(Frame::Lacks(Lacks {
                bundle: photo,
                first: 2,
                count: 1,
            })),
        ),
        ("frame Renewed", frame(Frame::Renewed(certified.clone()))),
    ]);
    let document = document(list.to_bytes());
    let first = BTreeMap::from([
        ("signed root", ministry.root.to_bytes()),
        ("signed release list", list.to_bytes()),
        ("signed certificate", certificate.to_bytes()),
        (
            "signed certificate request",
            Signed::by(&request, &worker).to_bytes(),
        ),
        ("signed grant", Signed::by(&grant, &boss).to_bytes()),
        ("chain", chain.extended(certificate).to_bytes()),
        ("envelope", envelope.bytes().to_vec()),
        ("frame Hello", frame(Frame::Hello(hello))),
        ("frame Holds", frame(Frame::Holds(holds))),
        ("frame Certified", frame(Frame::Certified(certified))),
        (
            "frame Certified, by nobody",
            frame(Frame::Certified(Certified { chain: None })),
        ),
        (
            "frame LaneDone",
            frame(Frame::LaneDone(LaneDone { lane: Lane::Cases })),
        ),
        (
            "frame Coming",
            frame(Frame::Coming(Coming {
                lane: Lane::Cases,
                items: 12,
                bytes: 3456,
            })),
        ),
        (
            "frame Bye",
            frame(Frame::Bye(Bye {
                code: 5,
                reason: "rollback".into(),
            })),
        ),
        (
            "frame Root",
            frame(Frame::Root(SignedDocument {
                bytes: ministry.root.to_bytes(),
            })),
        ),
        ("frame ReleaseList", frame(Frame::ReleaseList(document))),
        ("frame SpaceParts", frame(Frame::SpaceParts(parts.clone()))),
        (
            "frame PartIds",
            frame(Frame::PartIds(PartIds {
                part: 2,
                ids: vec![1; 14],
            })),
        ),
        (
            "frame AuthorChain",
            frame(Frame::AuthorChain(AuthorChain { chain })),
        ),
        (
            "frame Envelopes",
            frame(Frame::Envelopes(Envelopes {
                envelopes: vec![envelope.bytes().to_vec().into()],
            })),
        ),
        (
            "frame Hello, of several radios",
            frame(Frame::Hello(movable)),
        ),
        ("frame Heard", frame(Frame::Heard(Heard { bytes: 65_536 }))),
        ("parcel", parcel),
        ("frame Hello, that raises", frame(Frame::Hello(raising))),
        (
            "frame Raise",
            frame(Frame::Raise(Raise { bytes: 5_000_000 })),
        ),
        (
            "frame Join",
            frame(Frame::Join(Join {
                ssid: "DIRECT-0102030405060708090a0b".into(),
                passphrase: "000102030405060708090a0b0c0d0e0f".into(),
                frequency_mhz: 2437,
            })),
        ),
        (
            "frame Resume",
            frame(Frame::Resume(Resume {
                meeting: [8; 16],
                bytes: 300,
            })),
        ),
        (
            "frame StepDone",
            frame(Frame::StepDone(StepDone {
                step: CaseStep::Finding,
            })),
        ),
        ("frame PartsInStep", frame(Frame::PartsInStep(parts))),
        (
            "frame SpaceParts, with a sketch",
            frame(Frame::SpaceParts(sketched)),
        ),
        (
            "frame PartSymbols",
            frame(Frame::PartSymbols(PartSymbols {
                part: 0,
                first: 9,
                cells: vec![2; 21],
            })),
        ),
        (
            "frame PartMore",
            frame(Frame::PartMore(PartMore { part: 1, heard: 12 })),
        ),
        (
            "frame PartWanted",
            frame(Frame::PartWanted(PartWanted {
                part: 0,
                ids: vec![3; 8],
            })),
        ),
        (
            "frame Have",
            frame(Frame::Have(Have {
                bundle,
                whole: false,
                tree: true,
                groups: vec![5, 1],
                bytes: 150_000,
            })),
        ),
        (
            "frame Want",
            frame(Frame::Want(Want {
                bundle,
                tree: false,
                first: 3,
                count: 16,
            })),
        ),
        (
            "frame Tree",
            frame(Frame::Tree(Tree {
                bundle,
                offset: 32,
                hashes: vec![2; 64],
            })),
        ),
        (
            "frame Piece",
            frame(Frame::Piece(Piece {
                bundle,
                first: 3,
                bytes: vec![3; 40],
            })),
        ),
        (
            "frame HavesDone",
            frame(Frame::HavesDone(HavesDone { in_company: false })),
        ),
    ]);
    first.into_iter().chain(news).chain(spaces).collect()
}

/// What keeps a space, and an archive.
fn of_spaces(area: &Area, chain: &Chain) -> BTreeMap<&'static str, Vec<u8>> {
    let (boss, worker) = (
        DeviceKeys::from_seed([1; 32]),
        DeviceKeys::from_seed([2; 32]),
    );
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(2);
    let (before, key) = (
        SpaceKey::new(area.clone(), [9; 32]),
        SpaceKey::new(area.clone(), [10; 32]),
    );
    let member = Member {
        device: worker.id(),
        sealing_key: sealing_public_key(&worker),
        area: area.clone(),
    };
    let share = KeyShare::seal(
        &key,
        std::slice::from_ref(&before),
        std::slice::from_ref(&member),
        &mut rng,
    )
    .unwrap();
    let notice = |notice: Notice| announce(&notice, &boss, [6; 24]).unwrap().bytes().to_vec();
    let everything = Notice {
        retired: vec![before.epoch_tag().into()],
        revoked: vec![Lost {
            device: worker.id(),
            reason: "lost".into(),
        }],
        countersigned: vec![EnvelopeId([3; 32])],
        delivered: vec![4; 16],
        photos: vec![8; 8],
        attached: Some(Attached {
            digest: Digest([5; 32]),
            bytes: 90_000,
            epoch: before.epoch_tag(),
        }),
        ..Notice::about(area)
    };
    let case = ArchivedCase {
        case: CaseId([4; 16]),
        changes: vec![ByteVec::from(vec![1, 2, 3])],
    };
    let archive = archive::write(
        &[case],
        (worker.id(), &member.sealing_key),
        (chain, &boss),
        &mut rng,
    )
    .unwrap();
    let words = [Entry::Finding {
        name: "stiff_neck".into(),
        value: FindingValue::Unknown,
    }];
    let change = Case::new(CaseId([4; 16]))
        .add(&words, &worker, &[7; 16], 1_790_000_000)
        .unwrap()
        .remove(0);
    let code = protocol::scan::parts(b"{\"schema\":\"kijiti.enrolment/1\"}")
        .unwrap()
        .remove(0);
    BTreeMap::from([
        ("case change", change),
        ("code for a camera", code.into_bytes()),
        (
            "notice, a share",
            notice(Notice {
                share: Some(share),
                ..Notice::about(area)
            }),
        ),
        ("notice, all else", notice(everything)),
        ("archive", archive),
    ])
}

fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/v2.txt")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn every_signed_and_framed_type_has_the_bytes_it_always_had() {
    let lines: BTreeMap<_, _> = vectors()
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), hex(bytes)))
        .collect();
    if std::env::var_os("KIJITI_WRITE_VECTORS").is_some() {
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, hex)| format!("{name}: {hex}\n"))
            .collect();
        std::fs::write(file(), lines.concat()).unwrap();
    }
    let all = std::fs::read_to_string(file()).unwrap();
    let all: BTreeMap<_, _> = all
        .lines()
        .filter_map(|l| l.split_once(": "))
        .map(|(n, h)| (n.into(), h.into()))
        .collect();
    assert_eq!(lines, all);
}

/// Numbers of the cases lane that wire version 1 gave to frames.
const RETIRED: [u8; 8] = [0, 1, 5, 6, 7, 8, 10, 11];

/// Numbers of frames that wire version 1 had are never given to others: whoever still says them is
/// passed over.
#[test]
fn retired_frames_are_passed_over() {
    for kind in RETIRED {
        let frame = Frame::from_bytes(&[2, kind, 0xa0]);
        assert!(
            matches!(frame, Ok(Frame::Unknown { .. })),
            "{kind}: {frame:?}"
        );
    }
}

fn known(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(file()).unwrap();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
        .unwrap();
    (0..line.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&line[i..i + 2], 16).unwrap())
        .collect()
}

fn reads_back<T: Document>(name: &str) -> T {
    let bytes = known(name);
    let signed = Signed::<T>::from_bytes(&bytes).unwrap();
    assert_eq!(signed.to_bytes(), bytes, "{name}");
    signed.read().unwrap()
}

#[test]
fn what_was_written_once_is_read_for_ever() {
    assert_eq!(reads_back::<Root>("signed root").releases.threshold, 2);
    assert_eq!(reads_back::<ReleaseList>("signed release list").version, 4);
    assert_eq!(
        reads_back::<Certificate>("signed certificate").name,
        "Worker"
    );
    assert_eq!(
        reads_back::<CertificateRequest>("signed certificate request").name,
        "Worker"
    );
    assert_eq!(
        reads_back::<Grant>("signed grant").area.as_str(),
        "north/kilifi"
    );
    assert!(
        reads_back::<Root>("signed root with notices")
            .recall
            .is_some()
    );
    let list = reads_back::<ReleaseList>("signed release list with everything");
    assert_eq!(
        (
            list.withdrawn[0].version,
            list.releases[0].deltas[0].bytes,
            list.delegations.len()
        ),
        (7, 77, 1)
    );
    let delegated = reads_back::<DelegatedList>("signed delegated list");
    assert_eq!(
        delegated.releases[0].lineage.as_ref().unwrap().subgroups[0].cases,
        400
    );
    assert_eq!(reads_back::<Recall>("signed recall").recalled.len(), 1);
    assert_eq!(
        reads_back::<Revocations>("signed revocations")
            .revoked
            .len(),
        1
    );
    assert_eq!(reads_back::<Beacon>("signed beacon").list, 5);
    let enrolment = Ministry::of_three_roles(3, 3, 2)
        .root
        .read()
        .unwrap()
        .enrolment;
    let chain = Chain::from_bytes(&known("chain"))
        .unwrap()
        .verify(&enrolment)
        .unwrap();
    let key = SpaceKey::new(Area::parse("north/kilifi").unwrap(), [9; 32]);
    let envelope = Envelope::parse(known("envelope"))
        .unwrap()
        .verify(&chain)
        .unwrap();
    assert_eq!(envelope.open(&key).unwrap().case, CaseId([4; 16]));
    let worker = DeviceKeys::from_seed([2; 32]);
    let share = Envelope::parse(known("notice, a share"))
        .unwrap()
        .notice()
        .unwrap()
        .share
        .unwrap();
    let opened = share
        .open(&Area::parse("north/kilifi").unwrap(), &worker)
        .unwrap();
    assert_eq!(
        (opened.bytes(), share.open_parents(&opened)),
        (&[10; 32], vec![key])
    );
    let file = known("parcel");
    let opened = parcel::open(&[7; 32], &file).unwrap();
    assert!(opened.is_whole() && opened.items.len() == 3);
    assert_eq!(opened.items[2].id.0, envelope.id.0);
    let notice = Envelope::parse(known("notice, all else"))
        .unwrap()
        .notice()
        .unwrap();
    assert_eq!(
        (
            notice.revoked.len(),
            notice.delivered_ids().count(),
            notice.retired.len()
        ),
        (1, 2, 1)
    );
    assert_eq!(
        archive::open(&archive::read(&known("archive")).unwrap(), &worker).unwrap()[0]
            .changes
            .len(),
        1
    );
    for name in vectors().keys().filter(|n| n.starts_with("frame ")) {
        let bytes = known(name);
        let frame = Frame::from_bytes(&bytes[4..]).unwrap();
        let called = frame.name().replace("HaveAlso", "Got"); // as it was written down
        assert_eq!(format!("frame {called}"), name.split(',').next().unwrap());
        assert_eq!(frame.to_bytes(), bytes, "{name}");
    }
}
