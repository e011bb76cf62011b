//! Files drawn as QR codes, for another phone's camera.

use std::io::IsTerminal;

use protocol::scan;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde::Serialize;

use crate::Failure;
use crate::say::{LIGHT_ON_DARK, PLAIN, as_it_is};

/// Draws a file as codes for another phone's camera, one below the other.
pub fn draw<T: Serialize>(value: &T) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(value).map_err(|e| Failure::new(e, ""))?;
    let parts = scan::parts(&bytes)
        .map_err(|e| Failure::new(e, "pass the file that was written instead"))?;
    let of = parts.len();
    for (n, part) in (1..).zip(&parts) {
        println!("\ncode {n} of {of}");
        let code = code(part)?;
        let terminal = std::io::stdout().is_terminal();
        code.lines().for_each(|line| match terminal {
            // Light on dark, whatever the terminal's own colours.
            true => as_it_is(&format!("{LIGHT_ON_DARK}{line}{PLAIN}"), "\n"),
            false => as_it_is(line, "\n"),
        });
        println!("{part}");
    }
    Ok(())
}

/// Draws a short text as one code that any camera reads; what does not fit is left out at its end.
pub fn draw_text(text: &str) -> Result<(), Failure> {
    let fits = text.floor_char_boundary(TEXT_BYTES_MAX);
    let code = code(text.get(..fits).unwrap_or_default())?;
    println!();
    code.lines().for_each(|line| as_it_is(line, "\n"));
    Ok(())
}

/// Bytes of a text that a cheap camera still reads from a screen.
const TEXT_BYTES_MAX: usize = 1000;

/// One code, two rows of modules in each line: what is light is drawn, what is dark left black.
fn code(text: &str) -> Result<String, Failure> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)
        .map_err(|e| Failure::new(e, "pass the file"))?;
    Ok(code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a camera would see: a code drawn on a screen is read back by another library's eyes.
    #[test]
    fn a_drawn_code_can_be_read() {
        let file: Vec<u8> = (0..900u32)
            .flat_map(|i| scrambled(i).to_le_bytes())
            .collect();
        let parts = scan::parts(&file).unwrap();
        let seen: Vec<String> = parts
            .iter()
            .map(|part| camera(&code(part).unwrap()))
            .collect();
        assert!(parts.len() > 3);
        assert_eq!(scan::join(&seen.join("\n")).unwrap(), file);
    }

    /// Numbers that do not compress.
    fn scrambled(i: u32) -> u32 {
        i.wrapping_mul(2_654_435_761).rotate_left(i % 31)
    }

    fn camera(drawn: &str) -> String {
        const SCALE: usize = 4;
        let light: Vec<Vec<bool>> = drawn
            .lines()
            .flat_map(|line| {
                let halves = line.chars().map(|c| match c {
                    '█' => (true, true),
                    '▀' => (true, false),
                    '▄' => (false, true),
                    _ => (false, false),
                });
                let (upper, lower): (Vec<_>, Vec<_>) = halves.unzip();
                [upper, lower]
            })
            .collect();
        let width = light[0].len();
        let pixel = |x: usize, y: usize| if light[y / SCALE][x / SCALE] { 255 } else { 0 };
        let mut image =
            rqrr::PreparedImage::prepare_from_greyscale(width * SCALE, light.len() * SCALE, pixel);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one code is seen");
        grids[0].decode().unwrap().1
    }
}
