//! The words of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod cases;
mod enrol;
mod ministry;

pub use cases::{AddArgs, CaseCommand, Format, Kind, NewArgs};
pub use enrol::EnrolCommand;
pub use ministry::{
    DelegateArgs, DraftArgs, DraftTo, MinistryCommand, ReleaseCommand, RootCommand,
};

/// Carries ministry-signed releases out to villages and sealed cases back, phone to phone.
#[derive(Parser, Debug)]
#[command(
    name = "kijiti",
    version,
    propagate_version = true,
    max_term_width = 80
)]
pub struct Cli {
    /// The phone's data folder.
    #[arg(long, global = true, env = "KIJITI_DATA", value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Print JSON, where the command reads.
    #[arg(long, global = true)]
    pub json: bool,
    /// Show dates by another calendar too.
    #[arg(long, global = true, env = "KIJITI_CALENDAR", value_enum)]
    pub calendar: Option<Calendar>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A calendar besides the Gregorian.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calendar {
    /// The Ethiopian calendar: 2019-03-20 EC.
    Ethiopian,
    /// Bikram Sambat: 2083-08-13 BS.
    Nepali,
}

impl From<Calendar> for clinical::calendar::Calendar {
    fn from(calendar: Calendar) -> Self {
        match calendar {
            Calendar::Ethiopian => Self::Ethiopian,
            Calendar::Nepali => Self::BikramSambat,
        }
    }
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show the whole road on this machine: four phones, one release out, one case back.
    Demo(DemoArgs),
    /// Run this phone until told to stop (Ctrl-C).
    Start {
        /// Where to listen; by default on every interface, any port.
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Option<SocketAddr>,
        /// Neither look for neighbours nor be found.
        #[arg(long)]
        no_discovery: bool,
        /// A folder to watch, such as an SD card's: what others put there is taken in; what is new here
        /// is put there once `kijiti carry out` was run on it.
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
        /// Which radios it uses.
        #[command(flatten)]
        radios: RadioArgs,
    },
    /// Who and how this phone is.
    Status,
    /// The last meetings of this phone.
    Meetings,
    /// How much of this phone's space bundles may take.
    Quota {
        /// Megabytes; 0 for no limit.
        megabytes: u64,
    },
    /// How much of this phone's space sealed cases may take that have reached their readers
    /// already.
    CarryQuota {
        /// Megabytes; 0 for no limit.
        megabytes: u64,
    },
    /// Carry sealed cases and releases by an SD card, a folder, or a file sent by any app.
    Carry {
        /// Which way.
        #[command(subcommand)]
        command: CarryCommand,
    },
    /// Copy this phone, such as to an SD card; it may be running.
    Backup {
        /// A folder that is new or empty.
        to: PathBuf,
    },
    /// Make a phone in the data folder out of a backup. It has a key of its own and is enrolled
    /// anew.
    Restore {
        /// The folder that `kijiti backup` has written.
        from: PathBuf,
    },
    /// Read through everything that this phone keeps, while it does not run, and say what is damaged.
    Check {
        /// Mend it: what can be read stays, what others hold is fetched from them anew. Nothing is thrown away.
        #[arg(long)]
        repair: bool,
    },
    /// Seal this phone's key with a passphrase, or change it.
    Passphrase {
        /// Leave the key open instead.
        #[arg(long)]
        remove: bool,
    },
    /// The ministry's desk: keys and releases.
    Ministry {
        /// Which part of the desk.
        #[command(subcommand)]
        command: MinistryCommand,
    },
    /// Certify phones, and let them read a space.
    Enrol {
        /// Which step.
        #[command(subcommand)]
        command: EnrolCommand,
    },
    /// Cases on this phone.
    Case {
        /// What to do with them.
        #[command(subcommand)]
        command: CaseCommand,
    },
    /// Assess findings without keeping anything.
    Triage {
        /// Findings as JSON or TOML; asked one by one on a terminal if left out.
        #[arg(long, value_name = "FILE")]
        findings: Option<PathBuf>,
        /// A photograph for the model, and what it is of: rapid_test, slide, muac_tape, eye, mouth or skin. Needs a
        /// reader of pictures that your ministry has released; none is clinically validated.
        #[arg(long = "photo", value_name = "OF=FILE", requires = "findings")]
        photos: Vec<String>,
        /// The level of care.
        #[arg(long, value_enum, default_value_t = ProfileArg::Iccm)]
        profile: ProfileArg,
    },
    /// Meet a phone at an address.
    Meet {
        /// DEVICE@ADDRESS:PORT, as the other's `kijiti status` shows it; a name will do for a phone known here.
        who: String,
    },
    /// Releases on this phone, and training.
    Model {
        /// What to do with them.
        #[command(subcommand)]
        command: ModelCommand,
    },
    /// Publish to, and fetch from, a folder, an SD card, a web server or an S3 store.
    Mirror {
        /// Which way.
        #[command(subcommand)]
        command: MirrorCommand,
    },
    /// Simulate a district.
    Sim {
        /// What to simulate.
        #[command(subcommand)]
        command: SimCommand,
    },
    /// Measure, side by side with what one would use instead (runs `kijiti-bench`)
    Bench {
        /// What to measure: see `kijiti-bench --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<std::ffi::OsString>,
    },
    /// Raise a Wi-Fi hotspot that others join by scanning a code, or join one; it stays until Ctrl-C.
    Hotspot {
        /// Join the network of this code instead, as it was scanned: WIFI:T:WPA;S:…;P:…;;
        #[arg(long, value_name = "CODE")]
        join: Option<String>,
        /// The Wi-Fi interface, such as wlan0; by default the machine's first.
        #[arg(long, value_name = "NAME")]
        interface: Option<String>,
    },
    /// Print what completes this command's words in a shell, to be put where that shell looks for it.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Look this installation over.
    Doctor {
        /// Follow what the running phone costs: wake-ups, packets and scanning, by the hour.
        #[arg(long)]
        watch: bool,
        /// Seconds between two lines.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600), requires = "watch")]
        every: u64,
        /// Stop after so many lines.
        #[arg(long, requires = "watch")]
        lines: Option<u64>,
    },
}

/// How the demo runs.
#[derive(Args, Debug, Clone)]
pub struct DemoArgs {
    /// Where the four phones keep their data; emptied first.
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// Kill a phone's process (as a dead battery would) so many times on the way, and start it
    /// again.
    #[arg(long, default_value_t = 0)]
    pub kills: u32,
    /// Seed of the moments to kill at.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// The level of care.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileArg {
    /// Community health workers.
    Iccm,
    /// First-level facilities.
    Imci,
}

/// A decision on the command line.
#[derive(Args, Debug, Clone)]
pub struct DecisionArgs {
    /// Your decision: pink, yellow or green.
    #[arg(long)]
    pub decide: Option<String>,
    /// What is to be done.
    #[arg(long, default_value = "")]
    pub plan: String,
    /// Why, if you decide otherwise than the assessment.
    #[arg(long, default_value = "")]
    pub reason: String,
}

/// What to do with models.
#[derive(Subcommand, Debug)]
pub enum ModelCommand {
    /// Releases in the list, and what is active.
    List,
    /// What runs, what was checked, and its card.
    Show {
        /// The module.
        #[arg(default_value = "triage-model")]
        module: String,
    },
    /// Check what runs again, from the signatures down.
    Verify {
        /// The module.
        #[arg(default_value = "triage-model")]
        module: String,
    },
    /// Return to the release before.
    Back {
        /// The module.
        #[arg(default_value = "triage-model")]
        module: String,
    },
}

/// Which way things are carried.
#[derive(Subcommand, Debug)]
pub enum CarryCommand {
    /// Put what this phone holds there, sealed, as far as it is not there yet. Each file in
    /// FOLDER/kijiti/cases may also be sent by mail or a message app.
    Out {
        /// A folder, such as a card's.
        #[arg(value_name = "FOLDER")]
        to: PathBuf,
    },
    /// Take in what others put there.
    In {
        /// The folder, or one file that somebody sent.
        #[arg(value_name = "FOLDER")]
        from: PathBuf,
    },
}

/// Which way things go.
#[derive(Subcommand, Debug)]
pub enum MirrorCommand {
    /// Copy this phone's releases and the ministry's documents there.
    Push {
        /// A folder, or s3://BUCKET/PREFIX (with AWS_… in the environment).
        target: String,
        /// Only say what would be copied.
        #[arg(long)]
        dry_run: bool,
        /// Read through what is there in a bucket, too, and put anew what is damaged (a folder is always
        /// read through).
        #[arg(long)]
        check: bool,
    },
    /// Take what is newer there. Cut off, it goes on where it stopped.
    Pull {
        /// A folder, https://…, or s3://BUCKET/PREFIX.
        source: String,
    },
}

/// What to simulate.
#[derive(Subcommand, Debug)]
pub enum SimCommand {
    /// Run a scenario.
    Run {
        /// The scenario: village, or hostile (as many attackers as phones).
        scenario: String,
        /// Phones in it.
        #[arg(long, default_value_t = 200)]
        phones: usize,
        /// Seed of all randomness.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Run it twice and compare the traces.
        #[arg(long)]
        twice: bool,
    },
}

/// Which radios a running phone uses.
#[derive(Debug, Clone, clap::Args)]
pub struct RadioArgs {
    /// Over what it meets others; what this machine has not is left out.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "ip,bluetooth,wifi-direct"
    )]
    pub links: Vec<LinkKind>,
    /// The Bluetooth adapter, such as hci0; by default the machine's first.
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// The Wi-Fi interface, such as wlan0; by default the machine's first.
    #[arg(long, value_name = "NAME")]
    pub wifi_interface: Option<String>,
    /// Which Bluetooth channels it offers and takes.
    #[arg(long, value_name = "CHANNELS", default_value = "any")]
    pub bluetooth: BluetoothChannels,
}

/// A kind of link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LinkKind {
    /// Any IP network: LAN, hotspot.
    Ip,
    /// Bluetooth LE (Linux, with BlueZ).
    Bluetooth,
    /// Wi-Fi networks of two phones alone (Linux, with wpa_supplicant), which it raises where much is
    /// left to carry over Bluetooth; without Bluetooth, it finds others by them.
    WifiDirect,
}

/// Bluetooth channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BluetoothChannels {
    /// L2CAP, and GATT where that cannot be had.
    Any,
    /// L2CAP alone.
    L2cap,
    /// GATT alone.
    Gatt,
}

/// What is wrong with the words of a command, as any other failure.
pub fn misused(usage: &clap::Error) -> crate::Failure {
    let text = usage.to_string();
    let mut parts = text.trim().splitn(2, "\n\n");
    let mut part = || parts.next().unwrap_or_default().trim().to_owned();
    let reason = part();
    let reason = reason.strip_prefix("error: ").unwrap_or(&reason).to_owned();
    crate::Failure::new(reason, part()).with_code(2)
}
