//! The `kijiti-bench` command: measurements, each beside what one would use instead.

use bench::cli::{BenchCommand, Cli};
use clap::Parser;

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            app::show::failure(&failure);
            std::process::ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli) -> Result<(), app::Failure> {
    let json = cli.json;
    match cli.command {
        BenchCommand::Link { shaped: true, .. } => bench::link::shaped(json),
        BenchCommand::Link {
            megabytes,
            rounds,
            blobs,
            ..
        } => bench::link::loopback(megabytes, rounds, blobs.as_deref(), json),
        BenchCommand::Room {
            phones,
            megabytes,
            rate,
        } => bench::room::run(phones, megabytes, rate, json),
        BenchCommand::Delta {
            hidden,
            steps,
            seed,
            keep,
            adapter,
        } => match adapter.as_slice() {
            [adapter, base, models @ ..] => bench::delta::adapter(adapter, base, models),
            _ => bench::delta::run(hidden, steps, seed, keep.as_deref(), json),
        },
        BenchCommand::Couriers {
            megabytes,
            cuts,
            kills,
            seed,
        } => bench::couriers::run(megabytes, bench::couriers::Harm { cuts, kills, seed }, json),
        BenchCommand::Siege {
            strangers,
            seconds,
            seed,
        } => bench::siege::run(strangers, seconds, seed, json),
        BenchCommand::Reconcile { cases, seed } => bench::reconcile::run(cases, seed, json),
        BenchCommand::Cases { envelopes, seed } => bench::cases::run(envelopes, seed, json),
        BenchCommand::Triage {
            model,
            vision,
            cases,
            encoded,
        } => bench::triage::run(&model, vision.as_deref(), cases, encoded.as_deref(), json),
        BenchCommand::Kernels { rounds, ggml } => {
            bench::kernels::run(rounds, ggml.as_deref(), json)
        }
        BenchCommand::Bluetooth {
            adapter,
            listen,
            knock,
            kilobytes,
            rounds,
        } => bench::bluetooth::run(&adapter, (listen, knock), (kilobytes, rounds), json),
        BenchCommand::Ask { request } => bench::ask(&cli.data.unwrap_or_default(), &request),
        BenchCommand::BareReceiver { listen } => bench::link::bare_receiver(listen),
        BenchCommand::BareSender {
            id,
            address,
            bytes,
            listen,
        } => bench::link::bare_sender(&id, &address, bytes, listen),
    }
}
