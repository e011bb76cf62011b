//! Sealed means sealed: envelopes and archives open for those they are for, and a changed byte is
//! found.

use clinical::Urgency;
use minicbor::bytes::ByteVec;
use protocol::certificate::{Certificate, Right, Rights, bind};
use protocol::signed::Role;
use protocol::{Area, CaseId, Chain, DeviceKeys, Signed, VerifiedChain};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use sync::archive::{self, ArchiveError, ArchivedCase};
use sync::envelope::{Contents, seal};
use sync::space::sealing_public_key;
use sync::{Envelope, EnvelopeError, SpaceKey};

const ID: CaseId = CaseId([1; 16]);

fn writer(rights: &[Right], area: &str) -> (DeviceKeys, VerifiedChain) {
    let (ministry, keys) = (
        DeviceKeys::from_seed([8; 32]),
        DeviceKeys::from_seed([9; 32]),
    );
    let certificate = Certificate {
        device: keys.id(),
        sealing_key: [0; 32],
        name: "worker".into(),
        area: Area::parse(area).unwrap(),
        rights: Rights::of(rights),
        passes_on: Rights::default(),
        issued_s: 0,
        expires_s: None,
        binding: bind(&keys, &[0; 32]),
    };
    let chain = Chain {
        certificates: vec![Signed::by(&certificate, &ministry)],
    };
    (keys, chain.verify(&Role::single(ministry.id())).unwrap())
}

fn sealed(words: &[u8]) -> (SpaceKey, Vec<u8>) {
    let key = SpaceKey::new(Area::parse("north/kilifi").unwrap(), [7; 32]);
    let contents = Contents {
        case: ID,
        changes: vec![ByteVec::from(words.to_vec())],
    };
    let (keys, _) = writer(&[Right::Write], "north/kilifi/mtwapa");
    let bytes = seal(&contents, &key, Urgency::Pink, &keys, [3; 24])
        .unwrap()
        .bytes()
        .to_vec();
    (key, bytes)
}

#[test]
fn an_envelope_opens_for_its_readers_only_and_shows_no_word_to_others() {
    let (key, bytes) = sealed(b"Amina Kazungu has a stiff neck");
    assert!(!bytes.windows(5).any(|w| w == b"Amina" || w == b"stiff"));
    let (_, chain) = writer(&[Right::Write], "north/kilifi/mtwapa");
    let envelope = Envelope::parse(bytes).unwrap().verify(&chain).unwrap();
    assert_eq!(envelope.open(&key).unwrap().case, ID);
    let other = SpaceKey::new(Area::parse("north/kilifi").unwrap(), [8; 32]);
    assert!(envelope.open(&other).is_err());
}

#[test]
fn writers_need_the_right_and_the_area() {
    let (_, bytes) = sealed(b"words");
    let verify = |chain: &VerifiedChain| Envelope::parse(bytes.clone()).unwrap().verify(chain);
    assert!(verify(&writer(&[Right::Write], "north/kilifi").1).is_ok());
    assert_eq!(
        verify(&writer(&[Right::Carry], "north/kilifi").1),
        Err(EnvelopeError::NotAWriter)
    );
    assert_eq!(
        verify(&writer(&[Right::Write], "north/kwale").1),
        Err(EnvelopeError::NotAWriter)
    );
    assert_eq!(
        verify(&writer(&[Right::Write], "north").1),
        Err(EnvelopeError::NotAWriter)
    );
}

#[test]
fn any_byte_changed_breaks_the_signature_or_the_form() {
    let (_, bytes) = sealed(b"words");
    let (_, chain) = writer(&[Right::Write], "north/kilifi");
    for at in 0..bytes.len() {
        let mut spoiled = bytes.clone();
        spoiled[at] ^= 1;
        let verified = Envelope::parse(spoiled).and_then(|e| e.verify(&chain));
        assert!(verified.is_err(), "byte {at}");
    }
}

#[test]
fn debug_output_shows_nothing_of_a_key() {
    let (key, _) = sealed(b"words");
    assert!(!format!("{key:?}").contains("7, 7"));
}

#[test]
fn an_archive_opens_for_its_phone_only_and_a_flipped_bit_is_found() {
    let (from, to, other) = (
        DeviceKeys::from_seed([1; 32]),
        DeviceKeys::from_seed([2; 32]),
        DeviceKeys::from_seed([3; 32]),
    );
    let certificate = Certificate {
        device: from.id(),
        sealing_key: sealing_public_key(&from),
        name: "Worker Neema".into(),
        area: Area::parse("north/kilifi").unwrap(),
        rights: Rights::of(&[Right::Read]),
        passes_on: Rights::default(),
        issued_s: 0,
        expires_s: None,
        binding: bind(&from, &sealing_public_key(&from)),
    };
    let chain = Chain {
        certificates: vec![Signed::by(&certificate, &DeviceKeys::from_seed([9; 32]))],
    };
    let archived = ArchivedCase {
        case: ID,
        changes: vec![ByteVec::from(b"Amina has a fever".to_vec())],
    };
    let mut rng = ChaCha20Rng::from_seed([4; 32]);
    let bytes = archive::write(
        std::slice::from_ref(&archived),
        (to.id(), &sealing_public_key(&to)),
        (&chain, &from),
        &mut rng,
    )
    .unwrap();
    assert!(!bytes.windows(5).any(|w| w == b"Amina"));
    let read = archive::read(&bytes).unwrap();
    assert_eq!(archive::open(&read, &to).unwrap(), [archived]);
    assert_eq!(
        archive::open(&read, &other).unwrap_err(),
        ArchiveError::OtherPhone(to.id())
    );
    for at in (0..bytes.len()).step_by(7) {
        let mut spoiled = bytes.clone();
        spoiled[at] ^= 1;
        let opened = archive::read(&spoiled).and_then(|read| archive::open(&read, &to));
        assert!(opened.is_err(), "byte {at}");
    }
    for end in (0..bytes.len()).step_by(97) {
        assert!(archive::read(&bytes[..end]).is_err(), "cut at {end}");
    }
}
