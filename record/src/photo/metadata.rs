//! What a camera writes beside a picture (where the patient lives, whose phone it is, a thumbnail
//! of what was cut away) goes before the picture is kept; which way up it is stays.

use std::panic::{AssertUnwindSafe, catch_unwind};

use img_parts::jpeg::{Jpeg, JpegSegment, markers};
use img_parts::png::Png;
use img_parts::webp::{CHUNK_XMP, WebP};
use img_parts::{Bytes, ImageEXIF};

use super::{PhotoError, kind_of};

/// Chunks of a PNG that say how it looks; all others only tell of it.
const PNG_LOOKS: [&[u8; 4]; 17] = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT",
    b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT", b"cICP", b"hIST",
];

/// A picture without what the camera wrote beside it. One that is cut short is damaged: half a picture is
/// told while the patient is still there.
pub fn without_metadata(picture: &[u8]) -> Result<Vec<u8>, PhotoError> {
    let kind = kind_of(picture)?;
    // What a WebP says of its own length (RIFF), and what is there.
    let said = picture.get(4..8).and_then(|said| said.try_into().ok());
    if kind == "webp"
        && said.is_none_or(|said| u32::from_le_bytes(said) as usize + 8 > picture.len())
    {
        return Err(PhotoError::Damaged);
    }
    let bytes = Bytes::copy_from_slice(picture);
    let cleaned = catch_unwind(AssertUnwindSafe(|| match kind {
        "jpg" => Jpeg::from_bytes(bytes).ok().map(jpeg),
        "png" => Png::from_bytes(bytes).ok().map(png),
        _ => WebP::from_bytes(bytes).ok().map(webp),
    }));
    let cleaned = cleaned.ok().flatten().flatten();
    let cleaned = cleaned.ok_or(PhotoError::Damaged)?;
    protocol::always!(super::kind(&cleaned) == Some(kind), "a picture as before");
    Ok(cleaned)
}

fn jpeg(mut picture: Jpeg) -> Option<Vec<u8>> {
    let upright = orientation(picture.exif());
    // JFIF, the colour profile and Adobe's note on colours say how it looks.
    let looks = |marker: u8, contents: &[u8]| match marker {
        markers::APP0 => contents.starts_with(b"JFIF\0"),
        markers::APP2 => contents.starts_with(b"ICC_PROFILE\0"),
        markers::APP14 => contents.starts_with(b"Adobe"),
        markers::COM => false,
        other => !(markers::APP0..=markers::APP15).contains(&other),
    };
    picture
        .segments_mut()
        .retain(|segment| looks(segment.marker(), segment.contents()));
    for segment in picture.segments_mut() {
        if segment.marker() == markers::APP0 {
            *segment = JpegSegment::new_with_contents(
                markers::APP0,
                without_thumbnail(segment.contents()),
            );
        }
    }
    picture.set_exif(upright);
    let mut bytes = picture.encoder().bytes().to_vec();
    bytes.truncate(end_of_jpeg(&bytes)?);
    Some(bytes)
}

/// JFIF's head (1.02: name 5, version 2, units 1, densities 4) with a thumbnail of nought by nought.
fn without_thumbnail(jfif: &[u8]) -> Bytes {
    let head = jfif.get(..12).unwrap_or(b"JFIF\0\x01\x02\0\0\x01\0\x01");
    [head, &[0, 0]].concat().into()
}

/// Where a JPEG ends, if it does: after that come other pictures, films, and whatever a maker has thought of.
fn end_of_jpeg(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    while let Some([first, marker]) = bytes.get(at..at + 2) {
        match (*first, *marker) {
            (markers::P, markers::EOI) => return Some(at + 2),
            (markers::P, markers::P) => at += 1,
            (markers::P, markers::Z | markers::RST0..=markers::RST7) => at += 2,
            (markers::P, _) => {
                let length = bytes
                    .get(at + 2..at + 4)
                    .and_then(|l| l.try_into().ok())
                    .map_or(2, u16::from_be_bytes);
                at += 2 + usize::from(length.max(2));
            }
            _ => at += 1, // within a scan
        }
    }
    None
}

fn png(mut picture: Png) -> Option<Vec<u8>> {
    let upright = orientation(picture.exif());
    picture.chunk_by_type(*b"IEND")?;
    picture
        .chunks_mut()
        .retain(|chunk| PNG_LOOKS.contains(&&chunk.kind()));
    picture.set_exif(upright);
    Some(picture.encoder().bytes().to_vec())
}

fn webp(mut picture: WebP) -> Option<Vec<u8>> {
    let upright = orientation(picture.exif());
    picture.remove_chunks_by_id(CHUNK_XMP);
    picture.set_exif(upright);
    Some(picture.encoder().bytes().to_vec())
}

/// Which way up a picture is, as the only word of an EXIF block (TIFF 6.0; EXIF 2.32 §4.6.4);
/// `None` where it stands as it lies.
fn orientation(exif: Option<Bytes>) -> Option<Bytes> {
    // Of a block that is broken elsewhere, what can be read.
    let read = exif::Reader::new()
        .continue_on_error(true)
        .read_raw(exif?.to_vec())
        .or_else(|e| e.distill_partial_result(|_| {}))
        .ok()?;
    let field = read.get_field(exif::Tag::Orientation, exif::In::PRIMARY)?;
    let turned = field
        .value
        .get_uint(0)
        .and_then(|n| u8::try_from(n).ok())
        .filter(|n| (2..=8).contains(n))?;
    let (head, one_entry) = (*b"MM\0\x2a\0\0\0\x08", [0, 1]);
    let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, turned, 0, 0];
    Some(
        [head.as_slice(), &one_entry, &entry, &[0; 4]]
            .concat()
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(marker: u8, contents: &[u8]) -> Vec<u8> {
        let length = u16::try_from(contents.len() + 2).unwrap().to_be_bytes();
        [&[0xff, marker][..], &length, contents].concat()
    }

    /// EXIF with an orientation and, as a camera would have it, a place.
    fn exif(turned: u8) -> Vec<u8> {
        let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, turned, 0, 0];
        let place = [0x01, 0x0e, 0, 2, 0, 0, 0, 12, 0, 0, 0, 38]; // an image description, 12 bytes at 38
        [
            &b"MM\0\x2a\0\0\0\x08\0\x02"[..],
            &place,
            &entry,
            &[0; 4],
            b"Mtwapa 3.95S",
        ]
        .concat()
    }

    fn chunk(kind: &[u8; 4], contents: &[u8]) -> Vec<u8> {
        img_parts::png::PngChunk::new(*kind, contents.to_vec().into())
            .encoder()
            .bytes()
            .to_vec()
    }

    fn has(bytes: &[u8], word: &[u8]) -> bool {
        bytes.windows(word.len()).any(|window| window == word)
    }

    #[test]
    fn a_jpeg_keeps_what_it_shows_and_which_way_up() {
        let scan = [
            &segment(0xda, &[1, 1, 0, 0, 63, 0])[..],
            &[0x12, 0xff, 0x00, 0x34, 0xff, 0xd0, 0x56],
        ]
        .concat();
        let tables = segment(0xc4, &[0xff, 0xd9, 7]); // an end of image that is none
        let parts = [
            vec![0xff, 0xd8],
            segment(0xe0, b"JFIF\0\x01\x01"),
            segment(0xe1, &[b"Exif\0\0", exif(6).as_slice()].concat()),
            segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0Mtwapa"),
            segment(0xed, b"Photoshop 3.0\0Mtwapa"),
            segment(0xfe, b"taken in Mtwapa"),
            segment(0xdb, &[1; 65]),
            tables.clone(),
            scan.clone(),
            tables,
            scan.clone(),
            vec![0xff, 0xd9],
            b"and a film of Mtwapa".to_vec(),
        ];
        let picture = parts.concat();
        let clean = without_metadata(&picture).unwrap();
        assert!(has(&picture, b"Mtwapa") && !has(&clean, b"Mtwapa"));
        assert!(
            has(&clean, b"JFIF")
                && has(&clean, &[1; 65])
                && clean.ends_with(&[&scan[..], &[0xff, 0xd9]].concat())
        );
        let upright = Jpeg::from_bytes(clean.clone().into())
            .unwrap()
            .exif()
            .unwrap();
        let read = exif::Reader::new().read_raw(upright.to_vec()).unwrap();
        assert_eq!(read.fields().count(), 1);
        assert_eq!(
            read.get_field(exif::Tag::Orientation, exif::In::PRIMARY)
                .unwrap()
                .value
                .get_uint(0),
            Some(6)
        );
        assert_eq!(
            without_metadata(&clean).unwrap(),
            clean,
            "once clean, it stays as it is"
        );
    }

    /// A thumbnail shows what was cut away; a block that is broken elsewhere still says which way up; and half
    /// a picture is none.
    #[test]
    fn a_jpegs_thumbnail_goes_a_broken_block_is_read_as_far_as_it_goes_and_half_a_picture_is_refused()
     {
        let scan = [
            &segment(0xda, &[1, 1, 0, 0, 63, 0])[..],
            &[0x12, 0x34, 0xff, 0xd9],
        ]
        .concat();
        let thumbnail = [&b"JFIF\0\x01\x02\0\0\x01\0\x01\x03\x03"[..], &[0x5a; 27]].concat();
        let mut broken = exif(6);
        broken[18..22].copy_from_slice(&[0xff; 4]); // the place's words lie nowhere
        let broken = [b"Exif\0\0", broken.as_slice()].concat();
        let parts = [
            vec![0xff, 0xd8],
            segment(0xe0, &thumbnail),
            segment(0xe1, &broken),
            scan,
        ];
        let picture = parts.concat();
        let clean = without_metadata(&picture).unwrap();
        assert!(has(&picture, &[0x5a; 27]) && !has(&clean, &[0x5a; 3]));
        assert!(has(&clean, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0"));
        assert!(
            has(&clean, &[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6]),
            "it lies on its side"
        );
        let half = &picture[..picture.len() - 2];
        assert_eq!(without_metadata(half), Err(PhotoError::Damaged));
    }

    #[test]
    fn png_and_webp_lose_their_words_too() {
        let head = chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]);
        let parts = [
            b"\x89PNG\r\n\x1a\n".to_vec(),
            head,
            chunk(b"tEXt", b"Comment\0Mtwapa"),
            chunk(b"eXIf", &exif(1)),
            chunk(b"IDAT", b"pixels"),
            chunk(b"IEND", b""),
        ];
        let clean = without_metadata(&parts.concat()).unwrap();
        assert!(has(&clean, b"pixels") && !has(&clean, b"Mtwapa") && !has(&clean, b"eXIf"));
        let riff = |id: &[u8; 4], contents: &[u8]| {
            let even = [contents, if contents.len() % 2 == 1 { &[0] } else { &[] }].concat();
            [&id[..], &(contents.len() as u32).to_le_bytes(), &even].concat()
        };
        let inner = [
            &b"WEBP"[..],
            &riff(b"VP8X", &[0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            &riff(b"VP8 ", b"pixels"),
            &riff(b"EXIF", &exif(3)),
            &riff(b"XMP ", b"Mtwapa"),
        ];
        let inner = inner.concat();
        let picture = [&b"RIFF"[..], &(inner.len() as u32).to_le_bytes(), &inner].concat();
        let clean = without_metadata(&picture).unwrap();
        assert!(has(&clean, b"pixels") && !has(&clean, b"Mtwapa"));
        assert!(
            WebP::from_bytes(clean.into()).unwrap().exif().is_some(),
            "it lies on its head, and says so"
        );
    }

    #[test]
    fn damaged_pictures_are_refused() {
        for bytes in [
            &[0xff, 0xd8, 0xff, 0xe0][..],
            b"\x89PNG\r\n\x1a\nxx",
            b"RIFF\x04\0\0\0WEBP",
            b"words",
        ] {
            for end in 0..=bytes.len() {
                let _ = without_metadata(&bytes[..end]);
            }
        }
        assert_eq!(
            without_metadata(&[0xff, 0xd8, 0xff, 0xe0]),
            Err(PhotoError::Damaged)
        );
        assert_eq!(without_metadata(b"words"), Err(PhotoError::NotAPicture));
    }
}
