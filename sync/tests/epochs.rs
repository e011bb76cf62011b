//! Keys of a space over time: who can open what, and with which key to write.

use protocol::{Area, DeviceId, DeviceKeys};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use sync::SpaceKey;
use sync::epoch::{Epochs, KeyShare, Member};
use sync::space::sealing_public_key;

fn area() -> Area {
    Area::parse("north/kilifi").unwrap()
}

fn phone(n: u8) -> (DeviceKeys, Member) {
    let keys = DeviceKeys::from_seed([n; 32]);
    let member = Member {
        device: keys.id(),
        sealing_key: sealing_public_key(&keys),
        area: area(),
    };
    (keys, member)
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([9; 32])
}

fn key(n: u8) -> SpaceKey {
    SpaceKey::new(area(), [n; 32])
}

#[test]
fn members_open_a_share_and_its_history_and_nobody_else_does() {
    let ((clinic, a), (worker, b), (stranger, _)) = (phone(1), phone(2), phone(3));
    let share = KeyShare::seal(&key(2), &[key(1)], &[a.clone(), b.clone()], &mut rng()).unwrap();
    for member in [&clinic, &worker] {
        let opened = share.open(&area(), member).unwrap();
        assert_eq!(opened, key(2));
        assert_eq!(
            share.open_parents(&opened),
            [key(1)],
            "a newcomer reads what was before"
        );
    }
    assert_eq!(share.open(&area(), &stranger), None);
    assert_eq!(
        share.open(&Area::parse("north/kwale").unwrap(), &worker),
        None,
        "sealed for one space only"
    );
    assert!(share.open_parents(&key(7)).is_empty());
    let mut lying = share.clone();
    lying.epoch = key(5).epoch_tag();
    assert_eq!(
        lying.open(&area(), &worker),
        None,
        "a key that is not the epoch's"
    );
}

#[test]
fn a_lost_phone_taints_its_epoch_and_all_before_it() {
    let ((_, clinic), (_, worker), (_, lost)) = (phone(1), phone(2), phone(3));
    let mut epochs = Epochs::default();
    epochs
        .add(&KeyShare::seal(&key(1), &[], &[clinic.clone(), worker.clone()], &mut rng()).unwrap());
    epochs.add(
        &KeyShare::seal(
            &key(2),
            &[key(1)],
            &[clinic.clone(), worker.clone(), lost.clone()],
            &mut rng(),
        )
        .unwrap(),
    );
    let held = [key(1), key(2)];
    assert_eq!(epochs.writable(&held, &|_| false), Some(&held[1]));
    let is_lost = |device: &DeviceId| *device == lost.device;
    assert_eq!(
        epochs.writable(&held, &is_lost),
        None,
        "it can open the first key through the second"
    );
    epochs.add(
        &KeyShare::seal(
            &key(3),
            &[key(2)],
            &[clinic.clone(), worker.clone()],
            &mut rng(),
        )
        .unwrap(),
    );
    let held = [key(1), key(2), key(3)];
    assert_eq!(epochs.writable(&held, &is_lost), Some(&held[2]));
    assert_eq!(
        epochs.writable(&held[..2], &is_lost),
        None,
        "the new key has not come yet"
    );
    epochs.retire([key(3).epoch_tag()]);
    assert_eq!(
        epochs.writable(&held, &is_lost),
        None,
        "an ended key is never written with"
    );
}

#[test]
fn keys_made_apart_are_both_read_and_all_phones_write_with_the_same_one() {
    let ((_, a), (_, b)) = (phone(1), phone(2));
    let shares = [
        KeyShare::seal(&key(1), &[], &[a.clone(), b.clone()], &mut rng()).unwrap(),
        KeyShare::seal(&key(2), &[key(1)], &[a.clone(), b.clone()], &mut rng()).unwrap(),
        KeyShare::seal(&key(3), &[key(1)], &[a.clone(), b.clone()], &mut rng()).unwrap(),
    ];
    let (mut there, mut here) = (Epochs::default(), Epochs::default());
    shares.iter().for_each(|share| there.add(share));
    shares.iter().rev().for_each(|share| here.add(share));
    let (mut held, nobody) = (vec![key(1), key(2), key(3)], |_: &DeviceId| false);
    let chosen = there.writable(&held, &nobody).cloned();
    held.reverse();
    assert_eq!(here.writable(&held, &nobody).cloned(), chosen);
    assert_eq!(there.heads().len(), 2);
    here.add(
        &KeyShare::seal(
            &key(4),
            &[key(2), key(3)],
            &[a.clone(), b.clone()],
            &mut rng(),
        )
        .unwrap(),
    );
    held.push(key(4));
    assert_eq!(here.writable(&held, &nobody), Some(&key(4)));
}

#[test]
fn a_ring_of_parents_ends() {
    let (_, a) = phone(1);
    let mut epochs = Epochs::default();
    epochs.add(&KeyShare::seal(&key(1), &[key(2)], std::slice::from_ref(&a), &mut rng()).unwrap());
    epochs.add(&KeyShare::seal(&key(2), &[key(1)], std::slice::from_ref(&a), &mut rng()).unwrap());
    assert!(epochs.writable(&[key(1), key(2)], &|_| false).is_some());
}
