//! The `kijiti` command.

use clap::Parser;

fn main() -> std::process::ExitCode {
    let cli = app::cli::Cli::parse();
    match app::run::run(cli) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            app::show::failure(&failure);
            std::process::ExitCode::from(failure.code)
        }
    }
}
