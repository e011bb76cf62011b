//! A token's program for rehearsals.

use desk::files::{hex, unhex};
use protocol::DeviceKeys;

use crate::Failure;

/// What a token's program does, with a secret from the command line: for rehearsals of a ceremony,
/// never for one.
pub(super) fn soft_token(seed: &str, verb: &str) -> Result<(), Failure> {
    let seed = unhex("secret", seed)?
        .try_into()
        .map_err(|_| Failure::new("a secret has 64 digits", "").with_code(2))?;
    let keys = DeviceKeys::from_seed(seed);
    match verb {
        "id" => println!("{}", keys.id()),
        "sign" => {
            let mut line = String::new();
            std::io::stdin()
                .read_line(&mut line)
                .map_err(|e| Failure::new(e, "write one line"))?;
            println!("{}", hex(&keys.sign_raw(&unhex("message", line.trim())?)));
        }
        _ => return Err(Failure::new(format!("{verb:?} is no verb"), "id or sign").with_code(2)),
    }
    Ok(())
}
