//! What `kijiti-teach see` and `draw` print and write.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use inference::vision::{PictureReader, SIDE};
use teach::learn::{Fail, Progress};
use teach::see::{self, Count, Plan, Tower};

/// How far a foe may change each byte of a picture.
const FAR: [u8; 2] = [4, 8];
/// Pictures that foes are tried on.
const FOES: usize = 300;

fn line(who: &str, count: &Count) {
    println!(
        "  {who:32} {:6}   read {:.3}   of those right {:.3}",
        count.all,
        count.read(),
        count.right()
    );
}

/// Teaches a reader of pictures, measures it and writes a file.
pub(crate) fn see(
    plan: Plan,
    out: &Path,
    pictures: usize,
    tell: &mut dyn FnMut(Progress),
) -> Result<(), Fail> {
    let tower = see::learn(plan, &mut |step, loss| {
        tell(Progress {
            step,
            steps: plan.steps,
            batch: plan.batch,
            loss,
        });
    })?;
    eprintln!("setting thresholds on {pictures} pictures");
    let file = see::pack(&tower, plan, pictures)?;
    std::fs::write(out, &file)?;
    look(out, pictures)
}

/// Measures a reader of pictures.
pub(crate) fn look(file: &Path, pictures: usize) -> Result<(), Fail> {
    let bytes = std::fs::read(file)?;
    let reader = PictureReader::load("reader", &bytes)?;
    reader.self_test()?;
    let tower = Tower::of_file(&bytes)?;
    let report = see::measure(&reader, pictures);
    println!("NOT CLINICALLY VALIDATED: drawn pictures, none of which it has seen");
    line("all that are something", &report.all);
    for (group, count) in &report.groups {
        line(group, count);
    }
    println!("of nothing, or of something else than is said: of these none is right");
    line("with all defences", &report.nothing);
    line("without asking what it is", &report.nothing_undefended);
    println!("changed by a foe who has the file, so that the network is wrong");
    for far in FAR {
        let [defended, undefended] = see::foes(&tower, &reader, FOES, far)?;
        line(&format!("by {far} of 255, all defences"), &defended);
        line(&format!("by {far} of 255, none"), &undefended);
    }
    let size = bytes.len() as f64 / 1e6;
    println!("{} ({size:.2} MB)\n{}", file.display(), reader.card());
    Ok(())
}

/// Writes a sheet of drawn pictures.
pub(crate) fn sheet(out: &Path, rows: usize, seed: u64) -> Result<(), Fail> {
    let columns = inference::pictures::SUBJECTS.len() + 1;
    let mut pixels = vec![0u8; rows * columns * SIDE * SIDE * 3];
    for n in 0..rows * columns {
        let drawn = see::nth(seed, n as u64);
        let (left, top) = (n % columns * SIDE, n / columns * SIDE);
        for (y, row) in drawn.picture.bytes().chunks(SIDE * 3).enumerate() {
            let from = ((top + y) * columns * SIDE + left) * 3;
            if let Some(to) = pixels.get_mut(from..from + row.len()) {
                to.copy_from_slice(row);
            }
        }
    }
    let file = BufWriter::new(File::create(out)?);
    let mut encoder = png::Encoder::new(file, (columns * SIDE) as u32, (rows * SIDE) as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(())
}
