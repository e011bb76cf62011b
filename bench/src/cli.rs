//! The words of `kijiti-bench`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures, side by side with what one would use instead, in one run on one machine.
#[derive(Parser, Debug)]
#[command(name = "kijiti-bench", version, about, max_term_width = 80)]
pub struct Cli {
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// A phone's data folder, for the hidden command that asks it.
    #[arg(long, global = true, hide = true, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// What to measure.
    #[command(subcommand)]
    pub command: BenchCommand,
}

/// What to measure.
#[derive(Subcommand, Debug)]
pub enum BenchCommand {
    /// A bundle between two processes, beside a bare iroh stream of as many bytes.
    Link {
        /// Megabytes.
        #[arg(long, default_value_t = 60)]
        megabytes: u64,
        /// Rounds of each.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Beside iroh-blobs too: the program built of `rigs/blobs`.
        #[arg(long, value_name = "PROGRAM")]
        blobs: Option<PathBuf>,
        /// Over links held to the rates, delays and losses of the field instead (about two
        /// minutes).
        #[arg(long, conflicts_with_all = ["megabytes", "rounds", "blobs"])]
        shaped: bool,
    },
    /// A bundle put together from seven couriers who hold a third each, while links are cut and
    /// processes killed.
    Couriers {
        /// Megabytes.
        #[arg(long, default_value_t = 60)]
        megabytes: u64,
        /// Links cut.
        #[arg(long, default_value_t = 100)]
        cuts: u32,
        /// Processes killed.
        #[arg(long, default_value_t = 50)]
        kills: u32,
        /// Seed of the thirds and of the moments.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// A clinic's phone under attack of strangers and of a hostile insider of each rank: what it
    /// takes, and whether anything is lost.
    Siege {
        /// Strangers.
        #[arg(long, default_value_t = 200)]
        strangers: u32,
        /// Seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Seed of all randomness.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Finding what two phones lack of each other's cases, beside Automerge's sync, negentropy and
    /// a flat list.
    Reconcile {
        /// Cases that both hold.
        #[arg(long, default_value_t = 10_000)]
        cases: usize,
        /// Seed of all randomness.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// A phone that holds very many sealed changes: its memory, and the time to open its list of
    /// cases.
    Cases {
        /// Sealed changes.
        #[arg(long, default_value_t = 100_000)]
        envelopes: usize,
        /// Seed of all randomness.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Phones in one room on one medium, each a process, all wanting the release that one of them
    /// brings.
    Room {
        /// Phones.
        #[arg(long, default_value_t = 30)]
        phones: usize,
        /// Megabytes of the release.
        #[arg(long, default_value_t = 25.0)]
        megabytes: f64,
        /// Megabytes that the medium carries in a second.
        #[arg(long, default_value_t = 3.0)]
        rate: f64,
    },
    /// Deltas between models that really follow each other, beside every general tool that is
    /// installed.
    Delta {
        /// Width of the models' hidden layers; a multiple of 256.
        #[arg(long, default_value_t = 1536)]
        hidden: usize,
        /// Steps of training.
        #[arg(long, default_value_t = 300)]
        steps: usize,
        /// Seed of all randomness.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Keep the model files here, and use those that are there.
        #[arg(long, value_name = "FOLDER")]
        keep: Option<PathBuf>,
        /// Instead: an adapter beside every delta of the models that do the same, merged or with all weights
        /// tuned. The first file is the adapter, the second its base.
        #[arg(long, value_name = "FILE", num_args = 3.., conflicts_with_all = ["hidden", "steps", "seed", "keep"])]
        adapter: Vec<PathBuf>,
    },
    /// One assessment by a model on one thread: its time, its memory, and how soon it is ready.
    Triage {
        /// The model.
        #[arg(long, default_value = "models/triage-reference.gguf")]
        model: PathBuf,
        /// A reader of pictures, to measure beside it.
        #[arg(long)]
        vision: Option<PathBuf>,
        /// Drawn patients.
        #[arg(long, default_value_t = 2000)]
        cases: usize,
        /// Write what the model reads of them, and says, for other programs.
        #[arg(long, value_name = "FILE")]
        encoded: Option<PathBuf>,
    },
    /// Products of quantized matrices, beside candle's own.
    Kernels {
        /// Rounds of each.
        #[arg(long, default_value_t = 30)]
        rounds: u32,
        /// Beside llama.cpp's too: a program that measures one (rigs/kernels-beside.sh builds it).
        #[arg(long, value_name = "PROGRAM")]
        ggml: Option<PathBuf>,
    },
    /// Bytes over a Bluetooth channel between two adapters, bare and secured: run it twice, once to
    /// listen.
    Bluetooth {
        /// Be a stranger for so many seconds: open channels to every phone in reach and say nothing, and say
        /// again what phones advertise.
        #[arg(long, conflicts_with = "listen", value_name = "SECONDS")]
        knock: Option<u64>,
        /// The adapter, such as `hci0`.
        #[arg(long)]
        adapter: String,
        /// Listen; without it, call who listens.
        #[arg(long)]
        listen: bool,
        /// Kilobytes of each round.
        #[arg(long, default_value_t = 500)]
        kilobytes: usize,
        /// Rounds of each.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// The receiving end of the bare stream.
    #[command(hide = true)]
    BareReceiver {
        /// Where it listens.
        listen: std::net::IpAddr,
    },
    /// Ask a running phone, and print its answer as it is.
    #[command(hide = true)]
    Ask {
        /// The request, as JSON.
        request: String,
    },
    /// The sending end.
    #[command(hide = true)]
    BareSender {
        /// Whom to call.
        id: String,
        /// Where.
        address: String,
        /// How much to send.
        bytes: u64,
        /// Where it listens.
        listen: std::net::IpAddr,
    },
}
