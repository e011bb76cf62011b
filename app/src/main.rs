//! The `kijiti` command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // What is written here is nobody else's on this machine, unless somebody says so.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let mut words = std::env::args_os();
    let json = words.any(|word| word == "--json");
    let ran = match app::cli::Cli::try_parse() {
        Ok(cli) => app::run::run(cli),
        Err(usage) if json && usage.use_stderr() => Err(app::cli::misused(&usage)),
        Err(usage) => usage.exit(),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            match json {
                true => app::show::failure_json(&failure),
                false => app::show::failure(&failure),
            }
            ExitCode::from(failure.code)
        }
    }
}
