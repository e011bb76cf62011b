//! Cases as files: out of the phone, and into it.

use std::io::Read;
use std::path::Path;

use desk::files::{EnrolmentFile, is_stream, read, write_bytes};
use node::api::views::exchange::{Exported, Imported};
use node::api::{Format, Request};
use node::host::folder::unusable;
use record::exchange::{ExchangeError, csv, text};

use crate::Failure;
use crate::cli;
use crate::ministry::area_of;
use crate::run::{Phone, absolute};
use crate::show;

/// Bytes of a file with cases.
const FILE_BYTES_MAX: u64 = 64 << 20;

fn format_of(format: cli::Format) -> Format {
    match format {
        cli::Format::Fhir => Format::Fhir,
        cli::Format::Ips => Format::Ips,
        cli::Format::Csv => Format::Csv,
        cli::Format::Archive => Format::Archive,
    }
}

/// Whether a file is one that cases were exported to: a later export takes its place.
pub(super) fn was_exported(out: &Path) -> bool {
    let mut begins = Vec::new();
    let read = std::fs::File::open(out).and_then(|file| file.take(4096).read_to_end(&mut begins));
    let text = String::from_utf8_lossy(&begins);
    let table = text.starts_with(record::exchange::csv::head().trim_end());
    let bundle = text.trim_start().starts_with('{')
        && text.contains(record::exchange::SYSTEM.trim_end_matches("field"));
    read.is_ok() && (table || bundle)
}

/// Nothing that lies there is written over unasked.
pub(super) fn not_over(out: &Path, allowed: impl FnOnce(&Path) -> bool) -> Result<(), Failure> {
    let empty = std::fs::metadata(out).is_ok_and(|there| there.len() == 0);
    match is_stream(out) || !out.is_file() || empty || allowed(out) {
        true => Ok(()),
        false => Err(Failure::new(
            format!("{} is there already", out.display()),
            "choose another name, or write over it with --force",
        )
        .with_code(2)),
    }
}

pub(super) fn export(
    phone: &Phone,
    cases: Vec<String>,
    format: cli::Format,
    to: Option<&Path>,
    out: &Path,
) -> Result<(), Failure> {
    let to = match to {
        Some(path) => read::<EnrolmentFile>(path, "kijiti.enrolment/1")?.chain,
        None => None,
    };
    let request = |path| Request::CaseExport {
        cases,
        format: format_of(format),
        to,
        path,
    };
    written(phone, out, request, |exported: &Exported| {
        match exported.kept_back {
            0 => {}
            some => eprintln!("{some} cases were left out: there is no consent to share them"),
        }
        if exported.photos > 0 {
            eprintln!(
                "{} photos are not in it: they travel when phones meet, and by card (`kijiti carry`)",
                exported.photos
            );
        }
        if format != cli::Format::Archive {
            eprintln!("it can be read by whoever has the file: keep it where the cases may be");
        }
        format!("{} cases", exported.cases)
    })
}

/// Has the phone write a file, and says what it wrote. What goes to a pipe, a device or the standard output
/// is put there by the command that was given it: a phone waits for no reader.
pub(super) fn written<R>(
    phone: &Phone,
    out: &Path,
    request: impl FnOnce(String) -> Request,
    said: impl FnOnce(&R) -> String,
) -> Result<(), Failure>
where
    R: TryFrom<node::api::Reply, Error = node::api::Refusal> + serde::Serialize,
{
    if !is_stream(out) {
        return phone.shown(request(absolute(out)?), |answer| {
            println!("wrote {}: {}", out.display(), said(answer));
        });
    }
    let draft = Draft::new(phone, "export");
    let answer: R = phone.ask(request(absolute(&draft.0)?))?;
    let bytes = std::fs::read(&draft.0).map_err(|e| unusable(&draft.0, &e))?;
    write_bytes(out, &bytes)?;
    eprintln!("{}", said(&answer));
    Ok(())
}

/// A file within the phone's folder that goes when this does.
struct Draft(std::path::PathBuf);

impl Draft {
    fn new(phone: &Phone, what: &str) -> Self {
        let name = format!("{what}.{}.new", std::process::id());
        Self(phone.folder.join(name))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether a file begins as JSON or XML does, whatever its name is.
fn begins_as_fhir(file: &Path) -> bool {
    let plain = std::fs::metadata(file).is_ok_and(|there| there.is_file());
    let mut begins = Vec::new();
    let opened = plain.then(|| std::fs::File::open(file).ok()).flatten();
    let read = opened.map(|file| file.take(64).read_to_end(&mut begins));
    let text = String::from_utf8_lossy(&begins);
    let first = text.trim_start_matches('\u{feff}').trim_start();
    read.is_some() && first.starts_with(['{', '<'])
}

pub(super) fn import(
    phone: &Phone,
    (file, format, map): (&Path, Option<cli::Format>, Option<&Path>),
    area: Option<String>,
    dry_run: bool,
) -> Result<(), Failure> {
    let unreadable = |e: std::io::Error| {
        let reason = format!("cannot read {}: {e}", file.display());
        Failure::new(reason, "check the name")
    };
    let ends = file.extension().and_then(|e| e.to_str());
    let ends = ends.map(str::to_ascii_lowercase);
    let mapping = map.map(read_mapping).transpose()?.map(Box::new);
    let format = match (format, ends.as_deref()) {
        _ if mapping.is_some() => Format::Csv,
        (Some(format), _) => format_of(format),
        (None, Some("csv" | "tsv" | "txt")) => Format::Csv,
        (None, Some("json" | "ndjson" | "xml")) => Format::Fhir,
        (None, _) if file.as_os_str() == "-" => {
            let hint = "say what comes: --format csv, fhir or archive";
            return Err(
                Failure::new("nobody can tell what comes by the standard input", hint).with_code(2),
            );
        }
        (None, _) if begins_as_fhir(file) => Format::Fhir,
        (None, _) => Format::Archive,
    };
    // The phone reads a plain file itself; what comes through a pipe is put into one for it.
    let input = file.as_os_str() == "-";
    let plain = !input && std::fs::metadata(file).map_err(unreadable)?.is_file();
    let mut draft = None;
    if !plain {
        phone.must_be_there()?;
        let copy = Draft::new(phone, "import");
        let mut bytes = Vec::new();
        let from: Box<dyn Read> = match input {
            true => Box::new(std::io::stdin()),
            false => Box::new(std::fs::File::open(file).map_err(unreadable)?),
        };
        from.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        write_bytes(&copy.0, &bytes)?;
        draft = Some(copy);
    }
    let path = absolute(draft.as_ref().map_or(file, |copy| &copy.0))?;
    let area = area.as_deref().map(area_of).transpose()?;
    let request = Request::CaseImport {
        format,
        path,
        area,
        dry_run,
        mapping,
    };
    phone.shown(request, |imported: &Imported| show::imported(imported))
}

/// Letters of a mapping file.
const MAPPING_BYTES_MAX: u64 = 1 << 20;

fn read_mapping(path: &Path) -> Result<csv::Mapping, Failure> {
    let hint = "`kijiti case mapping TABLE > FILE` begins one";
    let bytes = read_at_most(path, MAPPING_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let mapping: Result<csv::Mapping, _> = toml::from_str(&text);
    let mapping = mapping.map_err(|e| Failure::new(format!("{}: {e}", path.display()), hint))?;
    let wrong = |ExchangeError::Malformed(why)| {
        let hint = "mend the mapping; `kijiti case fields` lists fields, values and units";
        Failure::new(format!("{}: {why}", path.display()), hint)
    };
    mapping.check().map_err(wrong)?;
    Ok(mapping)
}

fn read_at_most(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let from: std::io::Result<Box<dyn Read>> = match path.as_os_str() == "-" {
        true => Ok(Box::new(std::io::stdin())),
        false => std::fs::File::open(path).map(|file| Box::new(file) as Box<dyn Read>),
    };
    let read = from.and_then(|from| from.take(most).read_to_end(&mut bytes));
    let why = |e| {
        Failure::new(
            format!("cannot read {}: {e}", path.display()),
            "check the name",
        )
    };
    read.map_err(why)?;
    Ok(bytes)
}

/// Begins a mapping for a table.
pub(super) fn mapping(
    phone: &Phone,
    table: &Path,
    system: &str,
    known_by: Vec<String>,
) -> Result<(), Failure> {
    let hint = "save the table as text, with commas, semicolons or tabs (CSV)";
    let bytes = read_at_most(table, FILE_BYTES_MAX)?;
    let (letters, _) = text::decode(&bytes, true)
        .ok_or_else(|| Failure::new(format!("{} is no text", table.display()), hint))?;
    let (mut draft, others) = csv::draft(&letters, system)
        .map_err(|why| Failure::new(format!("{}: {why}", table.display()), hint))?;
    let known = |name: &String| {
        known_by
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    };
    let others: Vec<_> = others.into_iter().filter(|name| !known(name)).collect();
    draft.known_by = known_by;
    let lines = toml::to_string(&draft).map_err(|e| Failure::new(e.to_string(), hint))?;
    let others = match others.as_slice() {
        [] => String::new(),
        some => format!("# not read yet: {}\n", some.join(", ")),
    };
    phone.show(&draft, |_| print!("{MAPPING_HELP}{others}{lines}"))
}

/// What a mapping says, for whoever edits one.
const MAPPING_HELP: &str = "\
# Which column of the table is which field (`kijiti case fields` lists fields, values and units).
# system    a name that stays; patients are known again by it and by the columns in known_by
# known_by  the columns that name a patient there, as [\"Reg no\"]; of several visits, the visit's date too
# ignore    columns that stay in the table
# A column has one of
#   field = \"weight\"       with unit = \"kg\" for a measurement, date = \"DD/MM/YYYY\" for a date
#                          (calendar = \"EC\" or \"BS\" if it is Ethiopian or Nepali),
#                          and [columns.\"RDT\".values] for its own words: POS = \"positive\"
#   dose = \"amoxicillin\"   an amount that was given, with unit = \"mg\" and given = \"Visit date\"
#   note = true            its words become a note
";
