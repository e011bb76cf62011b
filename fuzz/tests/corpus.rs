//! The corpora, replayed with a plain toolchain, each file also cut short and with bytes turned over.

use std::path::Path;

#[test]
fn no_decoder_breaks_on_its_corpus_nor_on_what_is_near_it() {
    for (name, target) in targets::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
        assert!(files.len() >= 3, "the corpus of {name} is too small");
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            target(&bytes);
            let steps = (bytes.len() / 40).max(1);
            for at in (0..bytes.len()).step_by(steps) {
                target(&bytes[..at]);
                for flip in [0x01, 0x80, 0xff] {
                    let mut near = bytes.clone();
                    near[at] ^= flip;
                    target(&near);
                }
            }
        }
    }
}
