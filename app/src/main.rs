//! The `kijiti` command.

use clap::Parser;

fn main() -> std::process::ExitCode {
    // A reader that has seen enough (`| head`) is no fault: end quietly.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let words = info.payload().downcast_ref::<String>();
        if words.is_some_and(|w| w.contains("Broken pipe")) {
            std::process::exit(0);
        }
        usual(info);
    }));
    let cli = app::cli::Cli::parse();
    match app::run::run(cli) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            app::show::failure(&failure);
            std::process::ExitCode::from(failure.code)
        }
    }
}
