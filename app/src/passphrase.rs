//! Passphrases: from the environment, or asked for on the terminal.

use std::io::IsTerminal;
use std::path::Path;

use desk::Refusal;

/// Where passphrases come from when nobody can be asked.
pub const PASSPHRASE_VARIABLE: &str = "KIJITI_PASSPHRASE";

/// Asks for a passphrase.
pub fn ask(prompt: &str) -> Result<String, Refusal> {
    if let Ok(passphrase) = std::env::var(PASSPHRASE_VARIABLE) {
        return Ok(passphrase);
    }
    let nobody = || Refusal::NoPassphrase(PASSPHRASE_VARIABLE.to_owned());
    if !std::io::stdin().is_terminal() {
        return Err(nobody());
    }
    rpassword::prompt_password(prompt).map_err(|_| nobody())
}

/// The passphrase of a key file.
pub fn of_file(path: &Path) -> Result<String, Refusal> {
    ask(&format!("Passphrase of {}: ", path.display()))
}

/// Asks for a new passphrase, twice on a terminal.
pub fn ask_new() -> Result<String, Refusal> {
    let first = ask("A new passphrase: ")?;
    if first.chars().count() < 8 {
        return Err(Refusal::PassphraseShort);
    }
    if std::env::var(PASSPHRASE_VARIABLE).is_err() && ask("The same again: ")? != first {
        return Err(Refusal::PassphrasesDiffer);
    }
    Ok(first)
}
