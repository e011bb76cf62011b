//! The attacks with which reviewers succeeded, one test each, named as in their list. Each is also
//! run with the one defence off that stops it, where it must succeed: or else the test would prove
//! nothing.

mod common;

use clinical::{FindingValue, Urgency};
use common::{CLINIC, DESK, Road, SUPERVISOR, WORKER, round};
use node::agent::{Command, Input, LinkClass};
use node::{BundleStore, EnvelopeStore, TrustStore};
use protocol::certificate::{Right, Rights, bind};
use protocol::defence::{Defence, without};
use protocol::frame::*;
use protocol::limits::{
    ATTACHMENTS_PER_AUTHOR_MAX, BUNDLES_PER_MEETING_MAX, DEVICES_PER_ISSUER_MAX,
    NOTICES_PER_AUTHOR_MAX, QUARANTINED_PER_AUTHOR_MAX, SEND_AHEAD_BYTES_MAX,
};
use protocol::{Area, BundleId, Chain, DeviceKeys, Digest, Signed, SpaceId};
use sim::attacks::{attacker, enters, greeting};
use sim::{Cut, ministry::certificate};
use sync::Notice;
use sync::envelope::{Contents, announce, author_key, seal};
use sync::notice::{Attached, short};

/// The attack fails, and succeeds with the defence off.
fn stops(defence: Defence, attack: impl Fn() -> bool) {
    assert!(!attack(), "the attack succeeded");
    assert!(
        without(defence, &attack),
        "the control: without {defence:?} the attack must succeed"
    );
}

fn epoch(road: &Road) -> [u8; 8] {
    road.world.phones[WORKER].agent.known().space_keys()[0].epoch_tag()
}

/// The worker's phone, in other hands, says that a photo of this digest and length belongs to a
/// case of the space.
fn announces_photo(road: &mut Road, digest: Digest, bytes: u64, salt: u8) {
    let attached = Some(Attached {
        digest,
        bytes,
        epoch: epoch(road),
    });
    let area = road.area.clone();
    let notice = announce(
        &Notice {
            attached,
            ..Notice::about(&area)
        },
        road.world.keys(WORKER).unwrap(),
        [salt; 24],
    );
    road.world.phones[WORKER]
        .store
        .put_envelope(&notice.unwrap(), &area)
        .unwrap();
    road.world.restart(WORKER).unwrap();
}

#[test]
fn c1_a_photo_announced_with_the_digest_of_the_running_release_stops_no_phone() {
    stops(Defence::Namespaces, || {
        let mut road = Road::new(80_000);
        let running = road.publish(2);
        round(&mut road, &[(DESK, SUPERVISOR), (SUPERVISOR, WORKER)]);
        announces_photo(&mut road, running, 1, 9);
        let met = road.world.meet(WORKER, SUPERVISOR, Cut::Never);
        let next = road.ministry.list(3, vec![]);
        let next = next.read().map(|mut list| {
            let gone = distribution::release::Withdrawn {
                module: common::MODULE.into(),
                area: Area::default(),
                language: "und".into(),
                version: 2,
            };
            list.withdrawn = vec![gone];
            road.ministry.sign(&list)
        });
        let offered = road.world.command(
            SUPERVISOR,
            Command::Offer(Box::new(distribution::Offer::List(next.unwrap()))),
        );
        met.is_err() || offered.is_err() || road.world.restart(SUPERVISOR).is_err()
    });
}

#[test]
fn c3_a_shadow_certificate_for_a_worker_s_device_with_another_sealing_key_counts_nowhere() {
    stops(Defence::DeviceBinding, || {
        let road = Road::new(1);
        let (boss, worker) = (
            road.world.keys(SUPERVISOR).unwrap(),
            road.world.keys(WORKER).unwrap(),
        );
        let rights = Rights::of(&[Right::Carry, Right::Read, Right::Write]);
        let mut shadow = certificate(
            worker,
            "worker",
            &Area::parse("north/kilifi/mtwapa").unwrap(),
            rights,
            Rights::default(),
        );
        shadow.sealing_key = sync::space::sealing_public_key(boss);
        shadow.binding = bind(boss, &shadow.sealing_key);
        let above = road.world.phones[SUPERVISOR]
            .agent
            .known()
            .certificate()
            .unwrap()
            .chain()
            .clone();
        let chain = above.extended(Signed::by(&shadow, boss));
        let trust = road.world.phones[CLINIC].agent.known().trust().unwrap();
        trust
            .verify_chain(&chain)
            .is_some_and(|judged| judged.is_ok())
    });
}

#[test]
fn c3_a_certificate_with_fewer_rights_shuts_no_member_out_of_the_next_key() {
    stops(Defence::AnyChainInForce, || {
        let mut road = Road::new(1);
        round(&mut road, &[(WORKER, CLINIC)]);
        let (boss, worker) = (
            road.world.keys(SUPERVISOR).unwrap().clone(),
            road.world.keys(WORKER).unwrap().clone(),
        );
        // The binding is copied from the real certificate: the supervisor has it.
        let mut lesser = certificate(
            &worker,
            "worker",
            &Area::parse("north/kilifi/mtwapa").unwrap(),
            Rights::of(&[Right::Carry]),
            Rights::default(),
        );
        lesser.issued_s += 1000;
        let above = road.world.phones[SUPERVISOR]
            .agent
            .known()
            .certificate()
            .unwrap()
            .chain()
            .clone();
        let chain = above.extended(Signed::by(&lesser, &boss));
        let trust = road.world.phones[CLINIC].agent.known().trust().unwrap();
        let verified = trust.verify_chain(&chain).unwrap().unwrap();
        road.world.phones[CLINIC]
            .store
            .put_chain(&verified)
            .unwrap();
        road.world.restart(CLINIC).unwrap();
        road.world
            .command(CLINIC, Command::RotateSpace(road.area.clone(), Vec::new()))
            .unwrap();
        round(&mut road, &[(CLINIC, WORKER), (CLINIC, WORKER)]);
        road.world.phones[WORKER].agent.known().space_keys().len()
            < road.world.phones[CLINIC].agent.known().space_keys().len()
    });
}

/// A second keeper of the space, certified by the ministry and granted by the clinic.
fn second_keeper(road: &mut Road) -> usize {
    let keeper = road.world.add([91; 32]).unwrap();
    road.world
        .command(keeper, Command::InstallTrust(road.ministry.root.clone()))
        .unwrap();
    let rights = Rights::of(&[Right::Carry, Right::Read, Right::Write, Right::Grant]);
    let keys = road.world.keys(keeper).unwrap().clone();
    let chain = road
        .ministry
        .certify(&keys, "hospital", &road.area, rights, Rights::default());
    road.world
        .command(keeper, Command::InstallChain(chain.clone()))
        .unwrap();
    road.world
        .command(CLINIC, Command::GrantSpace(road.area.clone(), chain))
        .unwrap();
    round(road, &[(CLINIC, keeper)]);
    keeper
}

fn ministry_revokes(road: &mut Road, phone: usize) {
    let device = road.world.keys(phone).unwrap().id();
    let revocations = road.ministry.revoke(1, &[device]);
    road.world
        .command(
            DESK,
            Command::Offer(Box::new(distribution::Offer::Revocations(revocations))),
        )
        .unwrap();
}

#[test]
fn h1_a_revoked_keeper_does_not_vouch_for_itself() {
    stops(Defence::Vouchers, || {
        let mut road = Road::new(1);
        let keeper = second_keeper(&mut road);
        ministry_revokes(&mut road, keeper);
        round(&mut road, &[(DESK, CLINIC)]);
        // The thief writes with the key that the phone still has, and says that this has been
        // delivered to a keeper.
        let case = road.write(keeper, None, "stiff_neck", FindingValue::Yes, 9);
        let own = road.world.phones[keeper]
            .store
            .envelope_rows(SpaceId::of(&road.area))
            .unwrap();
        let author = author_key(&road.world.keys(keeper).unwrap().id());
        let ids: Vec<u8> = own
            .iter()
            .filter(|row| row.author == author)
            .flat_map(|row| short(&row.id))
            .collect();
        let area = road.area.clone();
        let said = Notice {
            delivered: ids,
            ..Notice::about(&area)
        };
        let said = announce(&said, road.world.keys(keeper).unwrap(), [8; 24]).unwrap();
        road.world.phones[keeper]
            .store
            .put_envelope(&said, &area)
            .unwrap();
        road.world.restart(keeper).unwrap();
        round(
            &mut road,
            &[
                (keeper, SUPERVISOR),
                (SUPERVISOR, CLINIC),
                (SUPERVISOR, CLINIC),
            ],
        );
        road.view(CLINIC, case)
            .is_some_and(|view| view.findings.contains_key("stiff_neck"))
    });
}

#[test]
fn h3_strangers_learn_nothing_of_names_areas_and_holdings() {
    stops(Defence::Strangers, || {
        let mut road = Road::new(1);
        road.write(WORKER, None, "cough", FindingValue::Yes, 1);
        let mut said = greeting(&road.ministry, 0);
        said.extend([
            Frame::LaneDone(LaneDone { lane: Lane::Trust }),
            Frame::Certified(Certified { chain: None }),
        ]);
        said.push(Frame::StepDone(StepDone {
            step: CaseStep::Digests,
        }));
        let said: Vec<_> = said.iter().map(Frame::to_bytes).collect();
        let heard = road.world.hear(WORKER, attacker().id(), &said, 0).unwrap();
        heard.answers.iter().any(|frame| match frame {
            Frame::Certified(said) => said.chain.is_some(),
            Frame::SpaceParts(_)
            | Frame::Have(_)
            | Frame::ReceiptsHeld(_)
            | Frame::AuthorChain(_) => true,
            _ => false,
        })
    });
}

#[test]
fn h3_two_hundred_silent_strangers_keep_no_colleague_out() {
    stops(Defence::Strangers, || {
        let mut road = Road::new(1);
        for n in 0..200u64 {
            let peer = DeviceKeys::from_seed([n as u8 ^ 0x55; 32]).id();
            let up = Input::LinkUp {
                link: 50_000 + n,
                peer,
                class: LinkClass::Ip,
                dialed: false,
            };
            road.world.input(CLINIC, up).unwrap();
            let room = Input::LinkWritable {
                link: 50_000 + n,
                bytes: SEND_AHEAD_BYTES_MAX,
            };
            road.world.input(CLINIC, room).unwrap();
        }
        let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
        round(&mut road, &[(WORKER, CLINIC)]);
        road.view(CLINIC, case).is_none()
    });
}

#[test]
fn h4_one_chain_in_many_forms_is_one_chain() {
    stops(Defence::ChainIdentity, || {
        let mut road = Road::new(1);
        let chain = road.world.phones[WORKER]
            .agent
            .known()
            .certificate()
            .unwrap()
            .chain()
            .clone();
        let worker = road.world.keys(WORKER).unwrap().id();
        let mut said = enters(&road.ministry, 0);
        said.extend(
            [CaseStep::Digests, CaseStep::Finding].map(|step| Frame::StepDone(StepDone { step })),
        );
        for n in 0..9u8 {
            let mut padded = chain.clone();
            let last = padded.certificates.last_mut().unwrap();
            last.add_signature(&DeviceKeys::from_seed([200 + n; 32]));
            said.push(Frame::AuthorChain(AuthorChain {
                chain: Chain {
                    certificates: padded.certificates,
                },
            }));
        }
        let said: Vec<_> = said.iter().map(Frame::to_bytes).collect();
        road.world.hear(CLINIC, attacker().id(), &said, 0).unwrap();
        road.world.phones[CLINIC]
            .store
            .chains(author_key(&worker))
            .unwrap()
            .len()
            > 1
    });
}

#[test]
fn h4_an_envelope_of_an_unknown_author_ends_no_honest_meeting() {
    stops(Defence::PassedOver, || {
        let mut road = Road::new(1);
        let fresh = road.second_reader(77, "north/kilifi/watamu");
        let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
        round(&mut road, &[(WORKER, SUPERVISOR)]);
        // The chain of one author was lost on the courier's phone.
        let stray = DeviceKeys::from_seed([123; 32]);
        let contents = Contents {
            case: protocol::CaseId([4; 16]),
            changes: vec![vec![1, 2, 3].into()],
        };
        let key = road.world.phones[WORKER].agent.known().space_keys()[0].clone();
        let envelope = seal(&contents, &key, Urgency::Pink, &stray, [5; 24]).unwrap();
        let area = road.area.clone();
        road.world.phones[SUPERVISOR]
            .store
            .put_envelope(&envelope, &area)
            .unwrap();
        round(&mut road, &[(CLINIC, fresh), (SUPERVISOR, fresh)]);
        road.view(fresh, case).is_none()
    });
}

#[test]
fn h5_a_supervisor_of_another_village_declares_no_member_lost() {
    stops(Defence::PendingRevocation, || {
        let mut road = Road::new(1);
        let elsewhere = road.world.add([92; 32]).unwrap();
        road.world
            .command(elsewhere, Command::InstallTrust(road.ministry.root.clone()))
            .unwrap();
        let keys = road.world.keys(elsewhere).unwrap().clone();
        let village = Area::parse("north/kilifi/watamu").unwrap();
        let rights = Rights::of(&[Right::Carry, Right::Enrol, Right::Revoke]);
        let chain = road
            .ministry
            .certify(&keys, "supervisor", &village, rights, Rights::default());
        road.world
            .command(elsewhere, Command::InstallChain(chain))
            .unwrap();
        // The victim has never heard of the worker.
        let worker = road.world.keys(WORKER).unwrap().id();
        let said = Notice {
            revoked: vec![sync::notice::Lost {
                device: worker,
                reason: "lost".into(),
            }],
            ..Notice::about(&village)
        };
        let said = announce(&said, &keys, [3; 24]).unwrap();
        road.world.phones[elsewhere]
            .store
            .put_envelope(&said, &village)
            .unwrap();
        road.world.restart(elsewhere).unwrap();
        round(&mut road, &[(elsewhere, DESK)]);
        let victim = &road.world.phones[DESK].agent;
        victim.known().lost().any(|(device, _)| *device == worker)
    });
}

#[test]
fn h6_one_author_does_not_fill_the_list_of_photos() {
    stops(Defence::AuthorBudgets, || {
        let mut road = Road::new(1);
        let (epoch, area) = (epoch(&road), road.area.clone());
        let worker = road.world.keys(WORKER).unwrap().clone();
        let count = ATTACHMENTS_PER_AUTHOR_MAX as u32 + 10;
        let wanted = |n: u32| Digest::of(&n.to_le_bytes());
        for n in 0..count {
            let mut salt = [7; 24];
            salt[..4].copy_from_slice(&n.to_le_bytes());
            let attached = Some(Attached {
                digest: wanted(n),
                bytes: 1000,
                epoch,
            });
            let notice = announce(
                &Notice {
                    attached,
                    ..Notice::about(&area)
                },
                &worker,
                salt,
            )
            .unwrap();
            road.world.phones[CLINIC]
                .store
                .put_envelope(&notice, &area)
                .unwrap();
        }
        let chain = road.world.phones[WORKER]
            .agent
            .known()
            .certificate()
            .unwrap()
            .clone();
        road.world.phones[CLINIC].store.put_chain(&chain).unwrap();
        road.world.restart(CLINIC).unwrap();
        let opened = road.world.phones[CLINIC].store.bundles().unwrap().len();
        let known = (0..count)
            .filter(|n| {
                road.world.phones[CLINIC]
                    .agent
                    .known()
                    .knows_photo(&wanted(*n))
            })
            .count();
        known > ATTACHMENTS_PER_AUTHOR_MAX || opened > ATTACHMENTS_PER_AUTHOR_MAX
    });
}

/// A courier brings so many notices of the worker's as nobody writes; how many of them the clinic
/// keeps.
fn notices_kept(road: &mut Road, count: u32) -> u64 {
    let (area, worker, epoch) = (
        road.area.clone(),
        road.world.keys(WORKER).unwrap().clone(),
        epoch(road),
    );
    let chain = road.world.phones[WORKER]
        .agent
        .known()
        .certificate()
        .unwrap()
        .chain()
        .clone();
    let mut said = enters(&road.ministry, 1);
    said.extend(
        [CaseStep::Digests, CaseStep::Finding].map(|step| Frame::StepDone(StepDone { step })),
    );
    said.push(Frame::AuthorChain(AuthorChain { chain }));
    let notices: Vec<_> = (0..count)
        .map(|n| {
            let mut salt = [9; 24];
            salt[..4].copy_from_slice(&n.to_le_bytes());
            let attached = Some(Attached {
                digest: Digest::of(&n.to_le_bytes()),
                bytes: 1000,
                epoch,
            });
            announce(
                &Notice {
                    attached,
                    ..Notice::about(&area)
                },
                &worker,
                salt,
            )
            .unwrap()
        })
        .collect();
    let envelopes = |some: &[sync::VerifiedEnvelope]| {
        some.iter().map(|one| one.bytes().to_vec().into()).collect()
    };
    said.extend(notices.chunks(200).map(|some| {
        Frame::Envelopes(Envelopes {
            envelopes: envelopes(some),
        })
    }));
    let said: Vec<_> = said.iter().map(Frame::to_bytes).collect();
    road.world.hear(CLINIC, attacker().id(), &said, 0).unwrap();
    let usage = road.world.phones[CLINIC]
        .store
        .usage_of(author_key(&worker.id()))
        .unwrap();
    usage.notices.max(usage.quarantined)
}

#[test]
fn h6_one_author_does_not_fill_the_store() {
    stops(Defence::AuthorBudgets, || {
        let mut road = Road::new(1);
        notices_kept(&mut road, NOTICES_PER_AUTHOR_MAX as u32 + 50) > NOTICES_PER_AUTHOR_MAX
    });
}

#[test]
fn h6_what_a_lost_phone_says_late_does_not_push_out_the_late_words_of_others() {
    stops(Defence::AuthorBudgets, || {
        let mut road = Road::new(1);
        round(&mut road, &[(WORKER, CLINIC)]);
        ministry_revokes(&mut road, WORKER);
        round(&mut road, &[(DESK, CLINIC)]);
        notices_kept(&mut road, QUARANTINED_PER_AUTHOR_MAX as u32 + 50) > QUARANTINED_PER_AUTHOR_MAX
    });
}

#[test]
fn h7_a_false_have_makes_no_author_let_go_of_the_only_copy() {
    stops(Defence::ProvenCopies, || {
        let mut road = Road::new(1);
        let case = road.write(WORKER, None, "measles", FindingValue::Yes, 1);
        let blob = record::photo::seal(&picture(), &[5; 32], &[6; 24]).unwrap();
        let digest = road.world.phones[WORKER].store.import_photo(&blob);
        road.world
            .command(WORKER, Command::KeepPhoto(digest, blob.len() as u64))
            .unwrap();
        let photo = record::PhotoEntry {
            blob: digest,
            key: [5; 32],
            bytes: blob.len() as u64,
            shows: "rash".into(),
            camera: String::new(),
            light: String::new(),
        };
        let entries = vec![
            record::Entry::consent("photo", true),
            record::Entry::Photo(photo),
        ];
        let add = Command::AddToCase {
            case: Some(case),
            area: road.area.clone(),
            entries,
            request: [2; 16],
        };
        road.world.command(WORKER, add).unwrap();
        let bundle = BundleId::photo(digest);
        let have = Have {
            bundle,
            whole: true,
            tree: true,
            groups: Vec::new(),
            bytes: blob.len() as u64,
        };
        let mut said = enters(&road.ministry, 0);
        said.extend([
            Frame::StepDone(StepDone {
                step: CaseStep::Digests,
            }),
            Frame::Have(have),
            Frame::HavesDone(HavesDone { in_company: false }),
        ]);
        let said: Vec<_> = said.iter().map(Frame::to_bytes).collect();
        road.world.hear(WORKER, attacker().id(), &said, 0).unwrap();
        road.world.command(WORKER, Command::SetQuota(1)).unwrap();
        road.world.phones[WORKER]
            .store
            .whole_bundle(&digest)
            .is_none()
            && road.world.phones[WORKER]
                .store
                .whole_photo(&digest)
                .is_none()
    });
}

fn picture() -> Vec<u8> {
    let noise = (0..90_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    [0xff, 0xd8, 0xff, 0xe0].into_iter().chain(noise).collect()
}

#[test]
fn h7_the_end_of_a_key_does_not_delete_the_running_release() {
    stops(Defence::Namespaces, || {
        let mut road = Road::new(80_000);
        let running = road.publish(2);
        round(
            &mut road,
            &[(DESK, CLINIC), (WORKER, CLINIC), (DESK, WORKER)],
        );
        let bytes = road.bundle.len() as u64;
        announces_photo(&mut road, running, bytes, 9);
        round(&mut road, &[(WORKER, CLINIC)]);
        let area = road.area.clone();
        road.world
            .command(CLINIC, Command::RotateSpace(area.clone(), Vec::new()))
            .unwrap();
        road.world
            .command(CLINIC, Command::Retire(area, u64::MAX))
            .unwrap();
        road.days_pass(8);
        road.world.phones[CLINIC]
            .store
            .whole_bundle(&running)
            .is_none()
    });
}

#[test]
fn one_stolen_keeper_does_not_erase_a_space_at_once() {
    stops(Defence::TwoKeepers, || {
        let mut road = Road::new(1);
        let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
        road.write(
            WORKER,
            Some(case),
            "outcome",
            FindingValue::Text("recovered".into()),
            2,
        );
        round(&mut road, &[(WORKER, CLINIC), (CLINIC, WORKER)]);
        let keeper = second_keeper(&mut road);
        let area = road.area.clone();
        road.world
            .command(keeper, Command::RotateSpace(area.clone(), Vec::new()))
            .unwrap();
        road.world
            .command(keeper, Command::Retire(area, u64::MAX))
            .unwrap();
        round(&mut road, &[(keeper, CLINIC), (keeper, CLINIC)]);
        road.view(CLINIC, case).is_none()
    });
}

/// An envelope that brought the program down twice while it was being opened lies on a courier's
/// phone.
#[test]
fn c2_what_brought_the_program_down_twice_is_not_opened_a_third_time() {
    stops(Defence::OpeningMark, || {
        let mut road = Road::new(1);
        let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
        round(&mut road, &[(WORKER, SUPERVISOR)]);
        let rows = road.world.phones[SUPERVISOR]
            .store
            .envelope_rows(SpaceId::of(&road.area))
            .unwrap();
        let marks = rows.iter().map(|row| (row.id, 2)).collect();
        road.world.phones[CLINIC]
            .store
            .put_attempts(&marks)
            .unwrap();
        road.world.restart(CLINIC).unwrap();
        round(&mut road, &[(SUPERVISOR, CLINIC), (SUPERVISOR, CLINIC)]);
        road.view(CLINIC, case).is_some()
    });
}

#[test]
fn h3_one_issuer_does_not_fill_a_phone_with_phones_of_its_own() {
    stops(Defence::IssuerBudgets, || {
        let mut road = Road::new(1);
        let boss = road.world.keys(SUPERVISOR).unwrap().clone();
        let above = road.world.phones[SUPERVISOR]
            .agent
            .known()
            .certificate()
            .unwrap()
            .chain()
            .clone();
        let village = Area::parse("north/kilifi/mtwapa").unwrap();
        let made_up = |n: u32| {
            let mut seed = [0xaa; 32];
            seed[..4].copy_from_slice(&n.to_le_bytes());
            let keys = DeviceKeys::from_seed(seed);
            let lesser = certificate(
                &keys,
                "worker",
                &village,
                Rights::of(&[Right::Carry]),
                Rights::default(),
            );
            above.extended(Signed::by(&lesser, &boss))
        };
        let mut said = enters(&road.ministry, 0);
        said.extend(
            [CaseStep::Digests, CaseStep::Finding].map(|step| Frame::StepDone(StepDone { step })),
        );
        let count = DEVICES_PER_ISSUER_MAX as u32 + 20;
        said.extend((0..count).map(|n| Frame::AuthorChain(AuthorChain { chain: made_up(n) })));
        let said: Vec<_> = said.iter().map(Frame::to_bytes).collect();
        road.world.hear(CLINIC, attacker().id(), &said, 0).unwrap();
        road.world.phones[CLINIC]
            .store
            .devices_of(&boss.id())
            .unwrap()
            > DEVICES_PER_ISSUER_MAX as u64
    });
}

/// More photos than one meeting names.
#[test]
fn a_limit_that_cuts_a_list_cuts_it_elsewhere_the_next_time() {
    stops(Defence::Turns, || {
        let mut road = Road::new(1);
        let case = road.write(WORKER, None, "measles", FindingValue::Yes, 1);
        let mut digests = Vec::new();
        for n in 0..BUNDLES_PER_MEETING_MAX as u32 + 20 {
            let mut picture = vec![0xff, 0xd8, 0xff, 0xe0];
            picture.extend(n.to_le_bytes());
            let blob = record::photo::seal(&picture, &[5; 32], &[6; 24]).unwrap();
            let (blob, bytes) = (
                road.world.phones[WORKER].store.import_photo(&blob),
                blob.len() as u64,
            );
            road.world
                .command(WORKER, Command::KeepPhoto(blob, bytes))
                .unwrap();
            let (shows, camera, light) = ("rash".into(), String::new(), String::new());
            digests.push(record::PhotoEntry {
                blob,
                key: [5; 32],
                bytes,
                shows,
                camera,
                light,
            });
        }
        for (n, photos) in digests.chunks(100).enumerate() {
            let mut entries = vec![record::Entry::consent("photo", true)];
            entries.extend(photos.iter().cloned().map(record::Entry::Photo));
            let area = road.area.clone();
            road.world
                .command(
                    WORKER,
                    Command::AddToCase {
                        case: Some(case),
                        area,
                        entries,
                        request: [n as u8 + 9; 16],
                    },
                )
                .unwrap();
        }
        round(&mut road, &[(WORKER, CLINIC); 6]);
        !digests.iter().all(|photo| {
            road.world.phones[CLINIC]
                .store
                .whole_photo(&photo.blob)
                .is_some()
        })
    });
}
