//! Deltas: every storage there and back, and whatever a hostile one does.

#![allow(clippy::disallowed_methods)] // a test may read and write the fixtures that it compares with

use std::path::{Path, PathBuf};

use distribution::delta::layout::{Storage, layout};
use distribution::delta::{DeltaError, EncodeOptions, apply, encode};
use proptest::prelude::*;
use protocol::Digest;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

const FAST: EncodeOptions = EncodeOptions { level: 3 };

fn ggml(storage: Storage) -> u32 {
    match storage {
        Storage::F32 => 0,
        Storage::F16 => 1,
        Storage::Q4_0 => 2,
        Storage::Q8_0 => 8,
        Storage::Q4K => 12,
        Storage::Q6K => 14,
        Storage::BF16 => 30,
    }
}

/// A GGUF file with these tensors: name, storage, numbers in a row, bytes.
fn gguf(words: &str, tensors: &[(&str, Storage, u64, &[u8])]) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    let text = |file: &mut Vec<u8>, t: &str| {
        file.extend((t.len() as u64).to_le_bytes());
        file.extend(t.as_bytes());
    };
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend(1u64.to_le_bytes());
    text(&mut file, "general.name");
    file.extend(8u32.to_le_bytes());
    text(&mut file, words);
    let mut offset = 0u64;
    for (name, storage, columns, bytes) in tensors {
        let (numbers, block) = storage.block();
        text(&mut file, name);
        file.extend(2u32.to_le_bytes());
        let rows = bytes.len() as u64 / block as u64 * numbers as u64 / columns;
        file.extend([columns.to_le_bytes(), rows.to_le_bytes()].concat());
        file.extend(ggml(*storage).to_le_bytes());
        file.extend(offset.to_le_bytes());
        offset = (offset + bytes.len() as u64).next_multiple_of(32);
    }
    for (.., bytes) in tensors {
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(*bytes);
    }
    file
}

const ALL: [Storage; 7] = [
    Storage::F32,
    Storage::F16,
    Storage::Q4_0,
    Storage::Q8_0,
    Storage::Q4K,
    Storage::Q6K,
    Storage::BF16,
];

/// Bytes of a tensor, and what becomes of them when about one byte in `every` moves by a little.
fn pair(storage: Storage, rows: usize, every: u32, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let (numbers, block) = storage.block();
    let bytes = rows * (512 / numbers) * block;
    let old: Vec<u8> = (0..bytes)
        .map(|i| if i % block < 2 { 0x2c } else { rng.random() })
        .collect();
    let moved = |b: &u8, rng: &mut ChaCha20Rng| {
        if rng.random_range(0..every) == 0 {
            b.wrapping_add(rng.random_range(0..3)).wrapping_sub(1)
        } else {
            *b
        }
    };
    let new = old.iter().map(|b| moved(b, &mut rng)).collect();
    (old, new)
}

fn make(base: &[u8], delta: &[u8], target: &[u8]) -> Result<Vec<u8>, DeltaError> {
    let mut made = Vec::new();
    let wanted = (Digest::of(target), target.len() as u64);
    let mut keep = |bytes: &[u8]| {
        made.extend_from_slice(bytes);
        assert!(made.len() <= target.len(), "more than was signed");
        Ok(())
    };
    apply(delta, (Digest::of(base), base), wanted, &mut keep).map(|()| made)
}

fn there_and_back(base: &[u8], target: &[u8]) -> Vec<u8> {
    let delta = encode(base, target, FAST).unwrap();
    assert_eq!(make(base, &delta, target), Ok(target.to_vec()));
    delta
}

#[test]
fn every_storage_comes_out_bit_for_bit() {
    for storage in ALL {
        for every in [1, 20, 1000] {
            let (old, new) = pair(storage, 12, every, u64::from(every));
            let (base, target) = (
                gguf("one", &[("t", storage, 512, &old)]),
                gguf("two", &[("t", storage, 512, &new)]),
            );
            assert_eq!(layout(&target).len(), 1);
            let delta = there_and_back(&base, &target);
            assert!(
                every < 1000 || delta.len() < target.len() / 4,
                "{storage:?}: {} of {}",
                delta.len(),
                target.len()
            );
        }
    }
}

#[test]
fn rows_that_are_appended_tensors_that_appear_and_files_that_are_no_models() {
    let (old, new) = pair(Storage::Q4_0, 40, 5, 1);
    let half = old.len() / 2;
    let base = gguf(
        "a",
        &[
            ("t", Storage::Q4_0, 512, &old[..half]),
            ("gone", Storage::Q4_0, 512, &new),
        ],
    );
    let grown = gguf(
        "b",
        &[
            ("fresh", Storage::Q4_0, 512, &new),
            ("t", Storage::Q4_0, 512, &old),
        ],
    );
    let delta = there_and_back(&base, &grown);
    assert!(delta.len() < new.len() + half + 4000);
    let other = gguf(
        "c",
        &[("t", Storage::Q8_0, 512, &pair(Storage::Q8_0, 4, 5, 1).0)],
    );
    there_and_back(&base, &other);
    there_and_back(
        b"words of an old form",
        b"words of a new form, with one more question",
    );
    there_and_back(&base, b"x");
    there_and_back(b"", &base);
    let same = there_and_back(&base, &base);
    assert!(same.len() < 200, "{}", same.len());
    assert_eq!(make(b"", &encode(b"", b"", FAST).unwrap(), b""), Ok(vec![]));
}

#[test]
fn safetensors_are_tensors_too() {
    let file = |weights: &[u8]| {
        let header = format!(
            r#"{{"__metadata__":{{"a":"b"}},"w":{{"dtype":"F16","shape":[4,512],"data_offsets":[0,{}]}}}}"#,
            weights.len()
        );
        [
            &(header.len() as u64).to_le_bytes()[..],
            header.as_bytes(),
            weights,
        ]
        .concat()
    };
    let (old, new) = pair(Storage::F16, 4, 4, 3);
    assert_eq!(layout(&file(&old))[0].columns, 512);
    there_and_back(&file(&old), &file(&new));
}

fn sample() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (old, new) = pair(Storage::Q4K, 8, 10, 9);
    let (base, target) = (
        gguf("one", &[("t", Storage::Q4K, 512, &old)]),
        gguf("two", &[("t", Storage::Q4K, 512, &new)]),
    );
    let delta = encode(&base, &target, FAST).unwrap();
    (base, target, delta)
}

#[test]
fn the_format_is_as_it_was() {
    let (base, target, delta) = sample();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/delta-v1.bin");
    if std::env::var_os("KIJITI_WRITE_VECTORS").is_some() {
        std::fs::write(&file, &delta).unwrap();
    }
    let known = std::fs::read(file).unwrap();
    assert_eq!(
        make(&base, &known, &target),
        Ok(target),
        "a delta made in November 2026 still applies"
    );
}

#[test]
fn a_delta_cut_anywhere_or_with_any_bit_flipped_makes_nothing_that_is_believed() {
    let (base, target, delta) = sample();
    for cut in 0..delta.len() {
        assert!(make(&base, &delta[..cut], &target).is_err(), "cut at {cut}");
    }
    for at in 0..delta.len() {
        let mut flipped = delta.clone();
        flipped[at] ^= 1 << (at % 8);
        // Some bits are of no weight (the last of a coded block); all others show in the digest.
        assert!(
            make(&base, &flipped, &target).is_ok_and(|made| made == target)
                || make(&base, &flipped, &target).is_err()
        );
    }
    assert!(
        make(&base, &[&delta[..], &[0]].concat(), &target).is_err(),
        "bytes left over"
    );
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 128 {
        bytes.push(n as u8 | 128);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

/// The attacks on deltas: name, base, delta, what was signed, words of the refusal.
type Attack = (&'static str, Vec<u8>, Vec<u8>, (Digest, u64), &'static str);

fn attacks() -> Vec<Attack> {
    let (base, target, delta) = sample();
    let signed = (Digest::of(&target), target.len() as u64);
    let head = &delta[..88].to_vec();
    let zeros = zstd::encode_all(&vec![0u8; 64 << 20][..], 19).unwrap();
    let bomb = |bytes: u64| {
        [
            head.as_slice(),
            &[2, 0, 0],
            &varint(bytes),
            &varint(zeros.len() as u64),
            &zeros,
        ]
        .concat()
    };
    let mut huge = delta.clone();
    huge[80..88].copy_from_slice(&(1u64 << 40).to_le_bytes());
    let endless = [head.as_slice(), &[1, 0], &varint(1000)].concat();
    vec![
        (
            "delta-on-the-wrong-base",
            gguf("other", &[]),
            delta.clone(),
            signed,
            "starts from bundle",
        ),
        (
            "delta-for-another-release",
            base.clone(),
            delta,
            (Digest::of(b"x"), signed.1),
            "makes bundle",
        ),
        (
            "delta-bomb",
            base.clone(),
            bomb(64 << 20),
            signed,
            "would make more than",
        ),
        (
            "delta-bomb-in-a-frame",
            base.clone(),
            bomb(1000),
            signed,
            "more than it says",
        ),
        (
            "delta-that-claims-a-terabyte",
            base.clone(),
            huge,
            signed,
            "would make more than",
        ),
        (
            "delta-that-ends-early",
            base,
            endless,
            signed,
            "ends in the middle",
        ),
    ]
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("attacks")
        .join(name)
}

fn refuses(name: &str) {
    let all = attacks();
    let (_, base, delta, (digest, bytes), words) = all.iter().find(|a| a.0 == name).unwrap();
    let folder = folder(name);
    if std::env::var_os("KIJITI_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("base.bin"), base).unwrap();
        std::fs::write(folder.join("delta.bin"), delta).unwrap();
    }
    assert!(
        std::fs::read(folder.join("delta.bin")).unwrap() == *delta,
        "{name}: the fixture is not what is built"
    );
    let base = std::fs::read(folder.join("base.bin")).unwrap();
    let mut made = 0u64;
    let mut keep = |b: &[u8]| {
        made += b.len() as u64;
        Ok(())
    };
    let refused = apply(
        delta.as_slice(),
        (Digest::of(&base), base.as_slice()),
        (*digest, *bytes),
        &mut keep,
    )
    .unwrap_err();
    assert!(refused.to_string().contains(words), "{name}: {refused}");
    assert!(made <= *bytes, "{name}: {made} bytes were made");
}

#[test]
fn delta_on_the_wrong_base() {
    refuses("delta-on-the-wrong-base");
}

#[test]
fn delta_for_another_release() {
    refuses("delta-for-another-release");
}

#[test]
fn delta_bomb() {
    refuses("delta-bomb");
    refuses("delta-bomb-in-a-frame");
    refuses("delta-that-claims-a-terabyte");
}

#[test]
fn delta_that_ends_early() {
    refuses("delta-that-ends-early");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_two_files_go_there_and_back(base in proptest::collection::vec(any::<u8>(), 0..5000), edit in any::<u64>(), more in proptest::collection::vec(any::<u8>(), 0..500)) {
        let mut target = base.clone();
        if !target.is_empty() {
            let at = edit as usize % target.len();
            target.splice(at..(at + 10).min(base.len()), more.iter().copied());
        }
        there_and_back(&base, &target);
        there_and_back(&more, &target);
    }

    #[test]
    fn garbage_after_a_true_head_is_refused(garbage in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let (base, target, delta) = sample();
        let forged = [&delta[..88], &garbage].concat();
        prop_assert!(make(&base, &forged, &target).is_err());
    }
}
