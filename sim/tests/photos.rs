//! Photos: sealed, carried last, kept until somebody else has them, gone with their case.

use clinical::FindingValue;
use node::BundleStore;
use node::agent::Command;
use protocol::{Area, CaseId, Digest};
use record::{Entry, PhotoEntry, photo};
use sim::Cut;

mod common;

use common::{CLINIC, DESK, Road, SUPERVISOR, WORKER};

const KEY: [u8; 32] = [3; 32];

fn picture() -> Vec<u8> {
    let noise = (0..90_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    [0xff, 0xd8, 0xff, 0xe0].into_iter().chain(noise).collect()
}

/// The worker photographs a rash.
fn photograph(road: &mut Road, case: CaseId, request: u8) -> Digest {
    let blob = photo::seal(&picture(), &KEY, &[request; 24]).unwrap();
    let digest = road.world.phones[WORKER].store.import_photo(&blob);
    let bytes = blob.len() as u64;
    road.world
        .command(WORKER, Command::KeepPhoto(digest, bytes))
        .unwrap();
    let photo = Entry::Photo(PhotoEntry {
        blob: digest,
        key: KEY,
        bytes,
        shows: "rash".into(),
        camera: String::new(),
        light: String::new(),
    });
    let entries = vec![Entry::consent("photo", true), photo];
    let command = Command::AddToCase {
        case: Some(case),
        area: road.area.clone(),
        entries,
        request: [request; 16],
    };
    road.world.command(WORKER, command).unwrap();
    digest
}

#[test]
fn a_photo_reaches_the_clinic_over_a_courier_who_cannot_see_it() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "measles", FindingValue::Yes, 1);
    let digest = photograph(&mut road, case, 2);
    for (a, b) in [
        (WORKER, SUPERVISOR),
        (WORKER, SUPERVISOR),
        (SUPERVISOR, CLINIC),
        (SUPERVISOR, CLINIC),
    ] {
        road.world.meet(a, b, Cut::Never).unwrap();
    }
    let carried = road.world.phones[SUPERVISOR]
        .store
        .whole_photo(&digest)
        .unwrap();
    assert!(
        !carried
            .windows(64)
            .any(|w| picture().windows(64).step_by(64).any(|p| p == w))
    );
    let blob = road.world.phones[CLINIC]
        .store
        .whole_photo(&digest)
        .unwrap();
    let view = road.view(CLINIC, case).unwrap();
    assert_eq!(photo::open(blob, &view.photos[0].1.key).unwrap(), picture());
    let desk = road.world.meet(DESK, SUPERVISOR, Cut::Never).unwrap();
    assert!(desk.summaries.iter().all(Option::is_some));
}

#[test]
fn a_photo_whose_consent_is_withdrawn_after_it_was_announced_goes_to_nobody() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "measles", FindingValue::Yes, 1);
    let digest = photograph(&mut road, case, 2);
    let consent = |road: &mut Road, given: bool, request: u8| {
        let (area, entries) = (road.area.clone(), vec![Entry::consent("photo", given)]);
        let command = Command::AddToCase {
            case: Some(case),
            area,
            entries,
            request: [request; 16],
        };
        road.world.command(WORKER, command).unwrap();
    };
    road.world.meet(WORKER, CLINIC, Cut::Bytes(12_000)).unwrap();
    consent(&mut road, false, 3);
    road.world.restart(WORKER).unwrap();
    for _ in 0..3 {
        road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    }
    assert!(
        road.world.phones[CLINIC]
            .store
            .whole_photo(&digest)
            .is_none()
    );
    assert!(
        road.world.phones[WORKER]
            .store
            .whole_photo(&digest)
            .is_some(),
        "it stays where it was taken"
    );
    consent(&mut road, true, 4);
    for _ in 0..3 {
        road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    }
    assert!(
        road.world.phones[CLINIC]
            .store
            .whole_photo(&digest)
            .is_some()
    );
}

#[test]
fn a_photo_of_a_case_without_consent_stays_with_it() {
    let mut road = Road::new(1);
    let command = Command::AddToCase {
        case: None,
        area: road.area.clone(),
        entries: vec![Entry::Note("no consent yet".into())],
        request: [1; 16],
    };
    let node::agent::Reply::Case(case) = road.world.command(WORKER, command).unwrap() else {
        panic!()
    };
    let digest = photograph(&mut road, case, 2);
    for _ in 0..2 {
        road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    }
    assert!(
        road.world.phones[CLINIC]
            .store
            .bundles()
            .unwrap()
            .iter()
            .all(|row| row.id.digest != digest)
    );
    let add = |entries| Command::AddToCase {
        case: Some(case),
        area: road.area.clone(),
        entries,
        request: [3; 16],
    };
    let consent = add(vec![Entry::consent("share", true)]);
    road.world.command(WORKER, consent).unwrap();
    for _ in 0..2 {
        road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    }
    assert!(
        road.world.phones[CLINIC]
            .store
            .whole_photo(&digest)
            .is_some()
    );
}

#[test]
fn releases_go_before_photos_and_a_cut_photo_goes_on_where_it_stopped() {
    let mut road = Road::new(200_000);
    let release = road.publish(1);
    road.world.meet(DESK, WORKER, Cut::Never).unwrap();
    let case = road.write(WORKER, None, "measles", FindingValue::Yes, 1);
    let digest = photograph(&mut road, case, 2);
    road.world.meet(WORKER, CLINIC, Cut::Bytes(4_000)).unwrap(); // the word of the photo, and nothing of it
    road.world.restart(CLINIC).unwrap();
    let held =
        |road: &Road, digest: &Digest| road.world.phones[CLINIC].store.photo_groups_held(digest);
    let mut last = 0;
    for _ in 0..40 {
        road.world.meet(WORKER, CLINIC, Cut::Bytes(90_000)).unwrap();
        let photo = held(&road, &digest);
        assert!(photo >= last, "nothing is fetched twice");
        let release_whole = road.world.phones[CLINIC]
            .store
            .whole_bundle(&release)
            .is_some();
        assert!(
            photo == 0 || release_whole,
            "a photo came before the release"
        );
        last = photo;
        road.world.restart(CLINIC).unwrap();
    }
    assert!(
        road.world.phones[CLINIC]
            .store
            .whole_photo(&digest)
            .is_some()
    );
}

#[test]
fn a_full_phone_keeps_the_only_copy_of_a_photo_and_lets_go_of_others() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "measles", FindingValue::Yes, 1);
    let digest = photograph(&mut road, case, 2);
    road.world.command(WORKER, Command::SetQuota(1)).unwrap();
    assert!(
        road.world.phones[WORKER]
            .store
            .whole_photo(&digest)
            .is_some(),
        "nobody else has it"
    );
    for _ in 0..3 {
        road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    }
    assert!(
        road.world.phones[SUPERVISOR]
            .store
            .whole_photo(&digest)
            .is_some()
    );
    road.world.command(WORKER, Command::SetQuota(1)).unwrap();
    assert!(
        road.world.phones[WORKER]
            .store
            .whole_photo(&digest)
            .is_some(),
        "a courier's word is not a keeper's"
    );
    for _ in 0..3 {
        road.world.meet(SUPERVISOR, CLINIC, Cut::Never).unwrap();
    }
    road.world.meet(SUPERVISOR, WORKER, Cut::Never).unwrap();
    road.world.command(WORKER, Command::SetQuota(1)).unwrap();
    assert!(
        road.world.phones[WORKER]
            .store
            .whole_photo(&digest)
            .is_none(),
        "the clinic said that it has it"
    );
}

#[test]
fn a_photo_goes_when_the_keys_of_its_closed_case_end() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "measles", FindingValue::Yes, 1);
    let digest = photograph(&mut road, case, 2);
    road.write(
        WORKER,
        Some(case),
        "outcome",
        FindingValue::Text("recovered".into()),
        3,
    );
    for (a, b) in [
        (WORKER, SUPERVISOR),
        (SUPERVISOR, CLINIC),
        (WORKER, SUPERVISOR),
        (SUPERVISOR, CLINIC),
    ] {
        road.world.meet(a, b, Cut::Never).unwrap();
    }
    let area = road.area.clone();
    road.world
        .command(CLINIC, Command::RotateSpace(area.clone(), Vec::new()))
        .unwrap();
    road.world
        .command(CLINIC, Command::Retire(area, u64::MAX))
        .unwrap();
    for (a, b) in [(CLINIC, SUPERVISOR), (SUPERVISOR, WORKER)] {
        road.world.meet(a, b, Cut::Never).unwrap();
    }
    road.days_pass(8);
    for phone in [CLINIC, SUPERVISOR, WORKER] {
        assert!(
            road.world.phones[phone]
                .store
                .whole_photo(&digest)
                .is_none(),
            "phone {phone}"
        );
    }
}

#[test]
fn the_photo_of_an_open_case_outlives_the_keys_it_was_first_announced_under() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "measles", FindingValue::Yes, 1);
    let digest = photograph(&mut road, case, 2);
    for _ in 0..2 {
        road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    }
    let area = road.area.clone();
    road.world
        .command(CLINIC, Command::RotateSpace(area.clone(), Vec::new()))
        .unwrap();
    road.world
        .command(CLINIC, Command::Retire(area, u64::MAX))
        .unwrap();
    road.world.restart(CLINIC).unwrap();
    for _ in 0..2 {
        road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
        road.days_pass(8);
    }
    for phone in [WORKER, CLINIC] {
        assert!(
            road.world.phones[phone]
                .store
                .whole_photo(&digest)
                .is_some(),
            "phone {phone}"
        );
        assert_eq!(road.view(phone, case).unwrap().photos.len(), 1);
    }
}

#[test]
fn a_photo_that_may_not_leave_yet_is_kept_whatever_the_quota() {
    let mut road = Road::new(1);
    let blob = photo::seal(&picture(), &KEY, &[9; 24]).unwrap();
    let digest = road.world.phones[WORKER].store.import_photo(&blob);
    road.world
        .command(WORKER, Command::KeepPhoto(digest, blob.len() as u64))
        .unwrap();
    road.world.command(WORKER, Command::SetQuota(1)).unwrap();
    assert!(
        road.world.phones[WORKER]
            .store
            .whole_photo(&digest)
            .is_some()
    );
}

#[test]
fn a_photo_whose_consent_was_withdrawn_before_the_case_left_does_not_follow_it() {
    let mut road = Road::new(1);
    let add = |case, entries, request| Command::AddToCase {
        case,
        area: Area::parse("north/kilifi").unwrap(),
        entries,
        request: [request; 16],
    };
    let begin = add(None, vec![Entry::Note("no consent to share yet".into())], 1);
    let node::agent::Reply::Case(case) = road.world.command(WORKER, begin).unwrap() else {
        panic!()
    };
    let digest = photograph(&mut road, case, 2);
    road.world
        .command(
            WORKER,
            add(Some(case), vec![Entry::consent("photo", false)], 3),
        )
        .unwrap();
    road.world
        .command(
            WORKER,
            add(Some(case), vec![Entry::consent("share", true)], 4),
        )
        .unwrap();
    for _ in 0..2 {
        road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    }
    assert!(road.view(CLINIC, case).is_some());
    assert!(
        road.world.phones[CLINIC]
            .store
            .bundles()
            .unwrap()
            .iter()
            .all(|row| row.id.digest != digest)
    );
}
