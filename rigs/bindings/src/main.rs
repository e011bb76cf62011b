//! `kijiti-bindings LIBRARY FOLDER`: writes the Python that calls a built phone library.

use camino::Utf8PathBuf;
use uniffi::{GenerateOptions, TargetLanguage};

fn main() {
    let mut words = std::env::args().skip(1).map(Utf8PathBuf::from);
    let (Some(source), Some(out_dir)) = (words.next(), words.next()) else {
        eprintln!("usage: kijiti-bindings LIBRARY FOLDER");
        std::process::exit(2);
    };
    let options = GenerateOptions {
        languages: vec![TargetLanguage::Python],
        source,
        out_dir,
        format: false,
        ..Default::default()
    };
    if let Err(error) = uniffi::generate(options) {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}
