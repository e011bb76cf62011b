//! Cases as files.

use protocol::certificate::Right;
use protocol::{Area, CaseId, always};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use record::CaseView;
use record::exchange::{csv, fhir};
use sync::archive::ArchivedCase;

use super::{archive_refused, tell};
use crate::api::consent::may_leave;
use crate::api::keeping::parse_chain;
use crate::api::{Cx, Format, Refusal, cases};

/// A file of cases, and how many are in it and how many may not leave.
#[derive(Debug)]
pub struct Export {
    /// The file.
    pub bytes: Vec<u8>,
    /// Cases in it.
    pub cases: usize,
    /// Cases that may not leave.
    pub kept_back: usize,
    /// Photos of those cases, which no file of cases holds.
    pub photos: usize,
}

/// Writes cases as a file; none named: all that may leave.
pub fn export(
    cx: &mut dyn Cx,
    named: &[String],
    format: Format,
    to: Option<&str>,
) -> Result<Export, Refusal> {
    if to.is_some() && format != Format::Archive {
        return Err(Refusal::OnlyArchivesAreSealed);
    }
    let ids: Vec<CaseId> = match named {
        [] => cx.store().cases()?.into_iter().map(|row| row.id).collect(),
        some => some
            .iter()
            .map(|case| cases::find(cx, case))
            .collect::<Result<_, _>>()?,
    };
    // A case is written as soon as it is read, and not kept: a file may be of ten thousand.
    let mut bytes = match format {
        Format::Csv => csv::head().into_bytes(),
        Format::Fhir | Format::Ips | Format::Archive => Vec::new(),
    };
    let (mut may, mut photos) = (Vec::new(), 0);
    for (at, id) in ids.iter().enumerate() {
        tell(cx, at, ids.len());
        // Each case on its own: its twin may not leave because this one may.
        let (row, same) = match cases::open_all(cx, *id) {
            Err(Refusal::Locked(_)) if named.is_empty() => continue,
            opened => opened?,
        };
        match same.first().filter(|_| may_leave(&same)) {
            Some(case) => {
                let view = case.view();
                may.push(*id);
                photos += view.photos.len();
                bytes.extend(piece(format, &view, &row.area).as_bytes());
            }
            None if !named.is_empty() => return Err(Refusal::MayNotLeave(*id)),
            None => {}
        }
    }
    always!(may.len() <= ids.len());
    let bytes = match format {
        Format::Archive => write_archive(cx, &may, to)?,
        Format::Fhir | Format::Ips if may.len() == 1 => spread(bytes),
        Format::Csv | Format::Fhir | Format::Ips => bytes,
    };
    Ok(Export {
        bytes,
        cases: may.len(),
        kept_back: ids.len() - may.len(),
        photos,
    })
}

/// A case as a part of a file: rows of a table; of FHIR a bundle in a line, as its bulk data has it.
fn piece(format: Format, view: &CaseView, area: &Area) -> String {
    match format {
        Format::Csv => csv::write(view, area),
        Format::Fhir => format!("{}\n", fhir::write(view, area)),
        Format::Ips => format!("{}\n", fhir::write_ips(view, area)),
        Format::Archive => String::new(),
    }
}

/// A single bundle, in lines that people read.
fn spread(line: Vec<u8>) -> Vec<u8> {
    let bundle = serde_json::from_slice::<serde_json::Value>(&line);
    bundle.map_or(line, |bundle| format!("{bundle:#}\n").into_bytes())
}

fn write_archive(cx: &mut dyn Cx, ids: &[CaseId], to: Option<&str>) -> Result<Vec<u8>, Refusal> {
    let chain = parse_chain(to.ok_or(Refusal::ArchiveForWhom)?)?;
    let reader = cx
        .known()
        .judge(&chain)
        .map_err(|why| why.map_or(Refusal::NoMinistry, Refusal::ChainRefused))?;
    if !reader.rights.has(Right::Read) {
        return Err(Refusal::MayNotRead(reader.name.clone()));
    }
    let mut archived = Vec::new();
    for id in ids {
        let Some(mut case) = cases::load(cx, *id)? else {
            continue;
        };
        let changes = case.changes().into_iter().map(Into::into).collect();
        archived.push(ArchivedCase { case: *id, changes });
    }
    let mut rng = ChaCha20Rng::from_seed(cx.randomness()?);
    let to = (reader.device, &reader.sealing_key);
    cx.known()
        .write_archive(&archived, to, &mut rng)
        .ok_or(Refusal::NotCertified)?
        .map_err(archive_refused)
}
