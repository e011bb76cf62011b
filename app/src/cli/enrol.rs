//! The words of `kijiti enrol`.

use std::path::PathBuf;

use clap::Subcommand;
use protocol::limits::CERTIFICATE_DAYS;

/// Steps of enrolment.
#[derive(Subcommand, Debug)]
pub enum EnrolCommand {
    /// Write this phone's request.
    Request {
        /// A name for the phone: a post, not a patient.
        #[arg(long)]
        name: String,
        /// Where to write it.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Draw it as codes too, for the other phone's camera.
        #[arg(long)]
        qr: bool,
    },
    /// Certify a phone: with the ministry's keys, or as this phone if it may enrol. Where more keys
    /// must sign than the folder holds, what is written is a draft: sign that at the next desk.
    Sign {
        /// The request, or a draft of another desk's: its file, a file with the text of its codes, or `-`
        /// for the standard input.
        request: PathBuf,
        /// Where it holds; a draft says so itself.
        #[arg(long)]
        area: Option<String>,
        /// What it may do: carry, read, write, enrol, grant, revoke. [default: carry,read,write]
        #[arg(long)]
        rights: Option<String>,
        /// What it may let others do, if it may enrol.
        #[arg(long)]
        passes_on: Option<String>,
        /// Days after which it is given no new keys and may certify nobody; it goes on working with
        /// what it has. 0: without an end. Whoever signed it renews it at a meeting before it ends. [default: 400]
        #[arg(long, value_name = "DAYS")]
        valid_days: Option<u64>,
        /// The ministry's folder of keys and root, to sign as the ministry.
        #[arg(long, value_name = "FOLDER")]
        ministry: Option<PathBuf>,
        /// This machine's clock is right, though it is far from what the ministry signed last.
        #[arg(long)]
        clock_is_right: bool,
        /// Where to write the answer.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Draw it as codes too, for the other phone's camera.
        #[arg(long)]
        qr: bool,
    },
    /// Make the ministry's own certificates anew that a distrusted key has signed or that end soon,
    /// of all that this phone has seen. Without `--out` they are only listed: look at the names
    /// first, for a thief may have certified some.
    Renew {
        /// The ministry's folder of keys and root.
        #[arg(long, value_name = "FOLDER")]
        ministry: PathBuf,
        /// Those that hold for long yet, too.
        #[arg(long)]
        all: bool,
        /// A phone that shall not have one, by its name or id.
        #[arg(long, value_name = "DEVICE")]
        without: Vec<String>,
        /// As for `sign`.
        #[arg(long, value_name = "DAYS", default_value_t = CERTIFICATE_DAYS)]
        valid_days: u64,
        /// As for `sign`.
        #[arg(long)]
        clock_is_right: bool,
        /// Where to write them, in one file. Phones that `accept` it show them to the phones they
        /// are for.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Take the answer to this phone's request, a grant, or certificates for others that were made
    /// anew.
    Accept {
        /// The answer: its file, a file with the text of its codes, or `-` for the standard input.
        answer: PathBuf,
    },
    /// Begin the space of an area: make its key on this phone.
    Space {
        /// Where.
        #[arg(long)]
        area: String,
    },
    /// Let a certified phone read a space.
    Grant {
        /// The answer file with its certificates.
        certificates: PathBuf,
        /// Which space.
        #[arg(long)]
        area: String,
        /// Where to write the grant.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Draw it as codes too, for the other phone's camera.
        #[arg(long)]
        qr: bool,
    },
    /// Change the key of a space, so that phones that are lost or have left cannot read what is
    /// written from now on.
    Rotate {
        /// Which space.
        #[arg(long)]
        area: String,
        /// A phone that shall not have the new key, by its name or id.
        #[arg(long, value_name = "DEVICE")]
        without: Vec<String>,
    },
    /// Lease the keys of a space: phones lock them away after so many days of use, until you say a
    /// code or share them anew.
    Lease {
        /// Which space.
        #[arg(long)]
        area: String,
        /// Days of use (30 to 90 is usual); 0 for no end.
        #[arg(long)]
        days: u32,
    },
    /// Unlock a space on this phone with the code that its keeper has read out.
    Unlock {
        /// The code.
        code: String,
        /// Which space.
        #[arg(long)]
        area: String,
    },
    /// The code to read out to a worker whose phone has locked a space. It serves once; after that,
    /// `lease` shares the keys anew.
    UnlockCode {
        /// The phone: its name, its id, or the beginning of that.
        device: String,
        /// Which space.
        #[arg(long)]
        area: String,
    },
    /// Say that a phone is lost: others meet it no more, and spaces that it could read get new
    /// keys.
    Revoke {
        /// The phone: its name, its id, or the beginning of that.
        device: String,
        /// Where it was certified.
        #[arg(long)]
        area: String,
        /// Why, for people.
        #[arg(long, default_value = "lost")]
        reason: String,
    },
    /// Let in what lost phones wrote and others carried here late; see `kijiti status`.
    Countersign {
        /// Which envelopes; without any, all that wait.
        envelopes: Vec<String>,
        /// Only show what they would add to which cases.
        #[arg(long)]
        show: bool,
    },
    /// End the older keys of a space: closed cases that they sealed go from every phone for good.
    Retire {
        /// Which space.
        #[arg(long)]
        area: String,
        /// Closed cases that changed in the so many days before the newest time that the ministry
        /// has signed stay; 0: none.
        #[arg(long, value_name = "DAYS", default_value_t = 90)]
        keep_days: u64,
    },
}
