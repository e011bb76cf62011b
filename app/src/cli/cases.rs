//! The words of `kijiti case`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{DecisionArgs, ProfileArg};

/// What to do with cases.
#[derive(Subcommand, Debug)]
pub enum CaseCommand {
    /// Begin a case: findings in, assessment shown, you decide.
    New(NewArgs),
    /// Decide on a case.
    Decide {
        /// The case's id, or its first digits.
        case: String,
        /// Your decision.
        #[command(flatten)]
        decision: DecisionArgs,
    },
    /// Add to a case: findings, a dose, a note, consent, an answer to a question; hand it over;
    /// link it.
    Add(AddArgs),
    /// Hand cases to a colleague: those named or, without any, every open case that this phone (or
    /// --from) cares for.
    HandOver {
        /// The cases' ids, or their first digits.
        cases: Vec<String>,
        /// To whom: the name or the device id of their phone.
        #[arg(long, value_name = "PHONE")]
        to: String,
        /// Whose cases, if not this phone's: that of a worker who has left, or a phone that is
        /// lost.
        #[arg(long, value_name = "PHONE", conflicts_with = "cases")]
        from: Option<String>,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Cases, and sealed ones that are carried.
    List {
        /// Only cases of patients whose name or village has these letters.
        #[arg(long, value_name = "LETTERS")]
        find: Option<String>,
        /// Pass over so many of them.
        #[arg(long, default_value_t = 0, value_name = "COUNT")]
        after: usize,
        /// Show so many at most.
        #[arg(long, value_name = "COUNT")]
        limit: Option<usize>,
    },
    /// One case, with what stands, what is asked, who holds it and whether it has reached the
    /// clinic.
    Show {
        /// The case's id, or its first digits.
        case: String,
    },
    /// Add a photo to a case, where there is consent; it follows the case sealed, last of all that
    /// travels.
    Photo {
        /// The case's id, or its first digits.
        case: String,
        /// The picture (jpeg, png or webp, up to 8 MB).
        #[arg(required_unless_present = "out")]
        file: Option<PathBuf>,
        /// What it shows, in a word, such as rash.
        #[arg(long, default_value = "")]
        shows: String,
        /// The camera that took it.
        #[arg(long, default_value = "")]
        camera: String,
        /// The light that it was taken in, such as daylight, lamp or flash.
        #[arg(long, default_value = "")]
        light: String,
        /// Write a photo of the case here instead.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "shows", "camera", "light"])]
        out: Option<PathBuf>,
        /// Which photo to write, counted from 1.
        #[arg(long, default_value_t = 1, requires = "out")]
        number: usize,
        /// Write over a file that is there.
        #[arg(long, requires = "out")]
        force: bool,
    },
    /// What to do for a patient: medicines with doses by weight or age, steps before a referral, what to
    /// tell, when to see the patient again. You decide.
    Plan {
        /// The case's id, or its first digits.
        case: String,
    },
    /// The note that goes with a patient who is sent on: text to print, or to write off.
    Refer {
        /// The case's id, or its first digits.
        case: String,
        /// Draw it as a code too, for the camera of whoever receives the patient.
        #[arg(long)]
        qr: bool,
    },
    /// Everything that was said about a case: by whom, on which phone, by which rules and model, in
    /// which order.
    History {
        /// The case's id, or its first digits.
        case: String,
    },
    /// Cases that may be the same patient's. You decide: `kijiti case add A --same-as B`, or
    /// `--not-same-as B`.
    Duplicates,
    /// Every field that a case may have, and what can be written into it.
    Fields,
    /// Write cases for another system, or sealed for another phone.
    Export {
        /// Which cases; without any, all.
        cases: Vec<String>,
        /// The format.
        #[arg(long, value_enum, default_value_t = Format::Fhir)]
        format: Format,
        /// For an archive: the answer file of the phone that shall read it.
        #[arg(long, value_name = "FILE", required_if_eq("format", "archive"))]
        to: Option<PathBuf>,
        /// Where to write.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Write over a file that is there.
        #[arg(long)]
        force: bool,
    },
    /// Take in cases from a file.
    Import {
        /// The file.
        file: PathBuf,
        /// The format; by default as the file's name ends.
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// The space, if this phone writes for several.
        #[arg(long)]
        area: Option<String>,
        /// Only say what it would bring, and what would be left out.
        #[arg(long)]
        dry_run: bool,
        /// Read a table of another system's, one row a patient, by this mapping (`kijiti case mapping` begins one).
        #[arg(long, value_name = "FILE", conflicts_with = "format")]
        map: Option<PathBuf>,
    },
    /// Begin a mapping for a table of another system's: which column is which field. Edit it, look with
    /// `kijiti case import TABLE --map FILE --dry-run`, then take the table in.
    Mapping {
        /// The table: one row a patient, columns named in the first line.
        table: PathBuf,
        /// A name of the system that stays: patients are known again by it.
        #[arg(long, default_value = "another system")]
        system: String,
        /// A column by which a patient is known there: a register's number, or name and date of birth (once for each).
        #[arg(long, value_name = "COLUMN")]
        known_by: Vec<String>,
    },
}

/// How cases are written for others.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// HL7 FHIR R4 bundles: as JSON, read as XML too.
    Fhir,
    /// International Patient Summaries: FHIR R4 documents, as JSON.
    Ips,
    /// A table, one line for every word.
    Csv,
    /// Signed, and sealed for one phone.
    Archive,
}

/// Whose case it is.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A child from birth to 59 months: the rules and the model look at it.
    Child,
    /// A woman who is pregnant or gave birth within six weeks: the rules for mothers look at it.
    Pregnancy,
    /// Anybody else of ten years and more, by rules that need a clinician's signature; of five to nine years you decide.
    Adult,
}

/// How a case begins.
#[derive(Args, Debug, Clone)]
pub struct NewArgs {
    /// Findings as JSON or TOML; asked one by one on a terminal if left out.
    #[arg(long, value_name = "FILE")]
    pub findings: Option<PathBuf>,
    /// Whose case it is.
    #[arg(long, value_enum, default_value_t = Kind::Child)]
    pub kind: Kind,
    /// The level of care.
    #[arg(long, value_enum, default_value_t = ProfileArg::Iccm)]
    pub profile: ProfileArg,
    /// The patient's name, if it is kept.
    #[arg(long)]
    pub patient: Option<String>,
    /// The village.
    #[arg(long)]
    pub village: Option<String>,
    /// More of the record, such as patient.sex=female; see `kijiti case fields`.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
    /// What the patient, or the caregiver, has consented to: care, share, photo, training. Without
    /// `share` the case stays on this phone.
    #[arg(long, value_name = "USE", value_delimiter = ',')]
    pub consent: Vec<String>,
    /// The space, if this phone writes for several.
    #[arg(long)]
    pub area: Option<String>,
    /// Your decision.
    #[command(flatten)]
    pub decision: DecisionArgs,
}

/// What is added to a case.
#[derive(Args, Debug, Clone)]
pub struct AddArgs {
    /// The case's id, or its first digits.
    pub case: String,
    /// A finding, such as spo2=88 or stiff_neck=no; see `kijiti case fields`.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
    /// The answer to a question: a finding about which people differ, and what it is.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub settle: Vec<String>,
    /// What the patient, or the caregiver, consents to: care, share, photo, training.
    #[arg(long, value_name = "USE", value_delimiter = ',')]
    pub consent: Vec<String>,
    /// What is not consented to, or not any more.
    #[arg(long, value_name = "USE", value_delimiter = ',')]
    pub no_consent: Vec<String>,
    /// Words about the case.
    #[arg(long)]
    pub note: Option<String>,
    /// A dose that was given, such as "amoxicillin 250 mg".
    #[arg(long)]
    pub dose: Option<String>,
    /// By which way the dose was given, such as oral.
    #[arg(long, default_value = "", requires = "dose")]
    pub route: String,
    /// When the dose was given, such as 2026-11-24T09:30:00+03:00 or 2019-03-15 EC; without it, now.
    #[arg(long, value_name = "TIME", default_value = "", requires = "dose")]
    pub given: String,
    /// A dose that was not given after all, by its id in `kijiti case show`; say why with --reason.
    #[arg(long, value_name = "DOSE")]
    pub not_given: Option<String>,
    /// Hand the case to a colleague: the name or the device id of their phone.
    #[arg(long, value_name = "PHONE")]
    pub hand_to: Option<String>,
    /// Why it is handed over, or a dose is taken back.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Another case that is the same patient's.
    #[arg(long, value_name = "CASE")]
    pub same_as: Vec<String>,
    /// Another case that is not the same patient's.
    #[arg(long, value_name = "CASE")]
    pub not_same_as: Vec<String>,
}
