//! A hostile peer: whatever it sends, the meeting ends with a reason and nothing has changed.

mod common;

use clinical::FindingValue;
use common::{DESK, Road, SUPERVISOR, WORKER};
use node::agent::{Event, Input, LinkClass, Output};
use proptest::prelude::*;
use protocol::frame::*;
use protocol::limits::SEND_AHEAD_BYTES_MAX;
use protocol::{BundleId, DeviceId, DeviceKeys, Digest, Signed, SpaceId};
use sim::Cut;
use sim::attacks::{attacker, enters, greeting};

const LINK: u64 = 7_000;

/// Says these bytes to the worker as a stranger; what the worker answered, and why it refused.
fn say(road: &mut Road, peer: DeviceId, bytes: &[u8], step: usize) -> (Vec<Frame>, Option<String>) {
    let chunks: Vec<_> = bytes.chunks(step.max(1)).map(<[u8]>::to_vec).collect();
    say_all(road, peer, &chunks)
}

fn say_all(road: &mut Road, peer: DeviceId, chunks: &[Vec<u8>]) -> (Vec<Frame>, Option<String>) {
    let mut outputs = Vec::new();
    let up = Input::LinkUp {
        link: LINK,
        peer,
        class: LinkClass::Ip,
        dialed: false,
    };
    outputs.extend(road.world.input(WORKER, up).unwrap());
    outputs.extend(
        road.world
            .input(
                WORKER,
                Input::LinkWritable {
                    link: LINK,
                    bytes: SEND_AHEAD_BYTES_MAX,
                },
            )
            .unwrap(),
    );
    for bytes in chunks.iter().cloned() {
        let received = Input::LinkReceived { link: LINK, bytes };
        outputs.extend(road.world.input(WORKER, received).unwrap());
    }
    outputs.extend(
        road.world
            .input(
                WORKER,
                Input::LinkDown {
                    link: LINK,
                    why: String::new(),
                },
            )
            .unwrap(),
    );
    let mut reader = FrameReader::default();
    let (mut frames, mut refused) = (Vec::new(), None);
    for output in outputs {
        match output {
            Output::Transmit { bytes, .. } => {
                reader.push(bytes);
                frames.extend(reader.next_frame().unwrap());
            }
            Output::Event(Event::Refused { reason, .. }) => refused = Some(reason),
            _ => {}
        }
    }
    (frames, refused)
}

fn stocked() -> Road {
    let mut road = Road::new(80_000);
    road.publish(2);
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    road
}

fn must_refuse(frames: &[Frame], why: &str) {
    let mut road = stocked();
    let before = road.wealth(WORKER);
    let said: Vec<_> = frames.iter().map(Frame::to_bytes).collect();
    let (answer, refused) = say_all(&mut road, attacker().id(), &said);
    let reason = refused.unwrap_or_else(|| panic!("{frames:?} was not refused"));
    assert!(reason.contains(why), "{reason:?} does not say {why:?}");
    let last_words = answer
        .iter()
        .any(|f| matches!(f, Frame::Bye(b) if b.code != 0 && b.reason.contains(why)));
    assert!(last_words, "the peer was not told: {answer:?}");
    assert_eq!(road.wealth(WORKER), before);
}

#[test]
fn frames_in_the_wrong_state_end_the_meeting() {
    let road = stocked();
    let hi = || greeting(&road.ministry, 0);
    let then = |frame| [hi(), vec![frame]].concat();
    let inside = |frame| [enters(&road.ministry, 0), vec![frame]].concat();
    let done = || Frame::LaneDone(LaneDone { lane: Lane::Trust });
    let space = SpaceId::of(&road.area);
    let bundle = BundleId::release(Digest::of(&road.bundle));
    let parts = SpaceParts {
        space,
        parts: vec![PartDigest {
            class: 0,
            count: 1,
            digest: [0; 16],
            sketch: Vec::new(),
        }],
    };
    must_refuse(&[done()], "out of its place");
    must_refuse(&[hi(), hi()].concat(), "out of its place");
    must_refuse(&[Frame::SpaceParts(parts.clone())], "out of its place");
    must_refuse(&then(Frame::SpaceParts(parts.clone())), "out of its place");
    must_refuse(
        &[hi(), vec![done(), Frame::SpaceParts(parts)]].concat(),
        "out of its place",
    );
    must_refuse(
        &inside(Frame::Envelopes(Envelopes { envelopes: vec![] })),
        "out of its place",
    );
    must_refuse(
        &inside(Frame::Piece(Piece {
            bundle,
            first: 0,
            bytes: vec![0; 100],
        })),
        "nobody asked for",
    );
    must_refuse(
        &inside(Frame::Tree(Tree {
            bundle,
            offset: 0,
            hashes: vec![0; 32],
        })),
        "nobody asked for",
    );
    must_refuse(
        &inside(Frame::Want(Want {
            bundle,
            tree: false,
            first: 0,
            count: 99,
        })),
        "never named",
    );
    must_refuse(
        &inside(Frame::Want(Want {
            bundle,
            tree: false,
            first: u64::MAX,
            count: 5,
        })),
        "never named",
    );
    let unknown = BundleId::release(Digest([1; 32]));
    must_refuse(
        &inside(Frame::Want(Want {
            bundle: unknown,
            tree: true,
            first: 0,
            count: 0,
        })),
        "unknown",
    );
    let list = Frame::ReleaseList(SignedDocument {
        bytes: road.ministry.list(3, vec![]).to_bytes(),
    });
    must_refuse(
        &[hi(), vec![done(), list.clone()]].concat(),
        "out of its place",
    );
    must_refuse(&inside(list), "out of its place");
}

#[test]
fn other_ministries_and_other_versions_are_refused() {
    let road = stocked();
    let [Frame::Hello(hello), ..] = &greeting(&road.ministry, 0)[..] else {
        panic!()
    };
    let other = Hello {
        ministry_tag: [9; 16],
        ..hello.clone()
    };
    must_refuse(&[Frame::Hello(other)], "another ministry");
    let newer = Hello {
        version: 99,
        ..hello.clone()
    };
    must_refuse(&[Frame::Hello(newer)], "wire version");
}

#[test]
fn forged_and_rolled_back_lists_and_truncated_signatures_are_refused() {
    let road = stocked();
    let forged = Signed::by(
        &road.ministry.list(9, vec![]).read().unwrap(),
        &DeviceKeys::from_seed([77; 32]),
    );
    let older = road.ministry.list(1, vec![]);
    let fork = road.ministry.list(2, vec![]);
    let cut = road.ministry.list(9, vec![]).to_bytes();
    let offer = |bytes: Vec<u8>| {
        [
            greeting(&road.ministry, 0),
            vec![Frame::ReleaseList(SignedDocument { bytes })],
        ]
        .concat()
    };
    must_refuse(&offer(forged.to_bytes()), "0 of the 2 signatures");
    must_refuse(&offer(older.to_bytes()), "rollback");
    must_refuse(&offer(fork.to_bytes()), "two different");
    must_refuse(&offer(cut[..cut.len() - 20].to_vec()), "malformed");
}

#[test]
fn a_certificate_of_another_phone_is_refused() {
    let mut road = stocked();
    let chain = road.world.phones[SUPERVISOR]
        .agent
        .known()
        .certificate()
        .unwrap()
        .chain()
        .clone();
    let mut stolen = enters(&road.ministry, 0);
    stolen.pop();
    stolen.push(Frame::Certified(Certified { chain: Some(chain) }));
    must_refuse(&stolen, "another phone");
    let before = road.wealth(WORKER);
    let (_, refused) = say(&mut road, attacker().id(), &u32::MAX.to_le_bytes(), 1);
    assert!(refused.unwrap().contains("over the limit"));
    assert_eq!(road.wealth(WORKER), before);
}

#[test]
fn a_newer_phone_s_words_close_their_lane_and_not_the_meeting() {
    let mut road = stocked();
    let frames = [
        enters(&road.ministry, 0),
        vec![
            Frame::Unknown { lane: 3, kind: 200 },
            Frame::Unknown { lane: 2, kind: 99 },
        ],
    ]
    .concat();
    let said: Vec<_> = frames.iter().map(Frame::to_bytes).collect();
    let (answer, refused) = say_all(&mut road, attacker().id(), &said);
    assert_eq!(refused, None);
    assert!(
        answer
            .iter()
            .any(|f| matches!(f, Frame::Bye(b) if b.code == 0)),
        "{answer:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_change_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..3000), step in 1usize..700) {
        let mut road = stocked();
        let before = road.wealth(WORKER);
        say(&mut road, attacker().id(), &bytes, step);
        prop_assert_eq!(road.wealth(WORKER), before);
    }

    #[test]
    fn an_honest_talk_with_one_byte_changed_changes_nothing_for_the_worse(at in 0usize..4000, flip in 1u8..=255) {
        let mut road = stocked();
        let before = road.wealth(WORKER);
        let mut frames = enters(&road.ministry, 0);
        frames.insert(2, Frame::ReleaseList(SignedDocument { bytes: road.ministry.list(3, vec![]).to_bytes() }));
        frames.extend([Frame::HavesDone(HavesDone { in_company: false }), Frame::LaneDone(LaneDone { lane: Lane::Bundles })]);
        let mut bytes: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        say(&mut road, attacker().id(), &bytes, 64);
        let after = road.wealth(WORKER);
        prop_assert!(before.iter().zip(after).all(|(b, a)| *b <= a));
        prop_assert!(after[1] == 2 || after[1] == 3, "list {}", after[1]);
    }
}
