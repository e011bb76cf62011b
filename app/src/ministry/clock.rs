//! Clocks at the desk: a time once signed is not taken back.

use desk::draft::{issued_s, offer_of};
use desk::files::DraftFile;
use desk::{DAY_S, wall_s};
use distribution::TrustedState;

use crate::Failure;

/// A clock that is this far from the newest signed time is asked about.
pub(super) const CLOCK_OFF_S: u64 = 200 * DAY_S;
/// When the year began in which this was written (2026): no clock that is right shows an earlier
/// time.
const WRITTEN_S: u64 = 1_767_225_600;
/// A first root is signed within so many seconds of that, or else the clock is asked about.
const FIRST_ROOT_S: u64 = 10 * 366 * DAY_S;

/// A time once signed and carried is not taken back: a beacon years ahead ends certificates in the
/// whole country. So a clock that is far from what the ministry signed last is asked about, and
/// refused where nobody can be asked.
pub(super) fn clock_is_right(trust: &TrustedState, said: bool) -> Result<(), Failure> {
    let root = trust.root().map_or(0, |root| root.issued_s);
    let list = trust.list().map_or(0, |list| list.issued_s);
    let newest = root
        .max(list)
        .max(trust.beacon().map_or(0, |beacon| beacon.time_s));
    match said || wall_s().abs_diff(newest) <= CLOCK_OFF_S {
        true => Ok(()),
        false => ask_about_clock(newest, "what the ministry signed last"),
    }
}

/// The same for a first root, with nothing before it to compare the clock with.
pub(super) fn first_clock_is_right(said: bool) -> Result<(), Failure> {
    match said || (WRITTEN_S..WRITTEN_S + FIRST_ROOT_S).contains(&wall_s()) {
        true => Ok(()),
        false => ask_about_clock(WRITTEN_S, "the year in which this program was written"),
    }
}

/// Asks whoever sits here whether the clock is right, which is far from a time that it is compared
/// with.
pub fn ask_about_clock(than_s: u64, what: &str) -> Result<(), Failure> {
    let now = wall_s();
    let way = if now > than_s { "ahead of" } else { "behind" };
    let years = now.abs_diff(than_s) as f64 / (365.25 * DAY_S as f64);
    let words = format!("this machine's clock is {years:.1} years {way} {what}");
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        eprintln!("{words}; a time once signed cannot be taken back.");
        let answer = crate::ask::line("Is the clock right? [write yes]")?;
        if answer == "yes" {
            return Ok(());
        }
    }
    Err(Failure::new(
        words,
        "set the clock; if it is right all the same, say --clock-is-right",
    )
    .with_code(2))
}

/// A document that is dated in the future was drafted by a clock that is wrong, or this one is:
/// nobody signs it before that is clear.
pub(super) fn not_ahead(draft: &DraftFile) -> Result<(), Failure> {
    let said_s = issued_s(&offer_of(draft)?);
    let ahead = said_s.saturating_sub(wall_s());
    if ahead <= DAY_S {
        return Ok(());
    }
    let days = ahead / DAY_S;
    let words = format!(
        "this {} is dated {days} days ahead of this machine's clock",
        draft.kind
    );
    Err(Failure::new(words, "set the clock that is wrong, and draft it again").with_code(2))
}
