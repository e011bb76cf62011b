//! The `kijiti` command.

use clap::Parser;

fn main() -> std::process::ExitCode {
    // What is written here is nobody else's on this machine, unless somebody says so.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = app::cli::Cli::parse();
    match app::run::run(cli) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            app::show::failure(&failure);
            std::process::ExitCode::from(failure.code)
        }
    }
}
