//! The printing edge: whatever is printed passes here, so that no word of another phone moves the
//! cursor, names the window, or turns the direction of a line. Characters that do such things are
//! shown as `�`; in JSON they are escaped and keep their value.

use std::io::{IsTerminal, Write};

/// The colours of codes that a camera reads.
pub const LIGHT_ON_DARK: &str = "\u{1b}[97;40m";
/// The terminal's own colours again.
pub const PLAIN: &str = "\u{1b}[0m";
/// The colours that this program itself prints, on a terminal.
const OURS: [&str; 5] = [
    "\u{1b}[1;35m",
    "\u{1b}[1;33m",
    "\u{1b}[1;32m",
    LIGHT_ON_DARK,
    PLAIN,
];

/// Whether a terminal does something else with a character than show it: control characters but
/// line ends, and those that turn the direction of text or are not seen (Unicode TR9, TR36; tag
/// characters).
fn acts(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let unseen = matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{180e}' | '\u{e0000}'..='\u{e007f}'
    );
    (c.is_control() && c != '\n') || turns || unseen
}

/// Text that acts on no terminal.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if acts(c) { '\u{fffd}' } else { c })
        .collect()
}

/// The same of JSON, whose strings keep their value: a character that acts is written as its
/// escape.
pub fn plain_json(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match acts(c) {
            true => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| plain.push_str(&format!("\\u{unit:04x}"))),
            false => plain.push(c),
        }
    }
    plain
}

/// What is printed of a line: on a terminal our own colours stay.
fn printed(text: &str, terminal: bool) -> String {
    if !terminal || !text.contains('\u{1b}') {
        return plain(text);
    }
    let mut left = text;
    let mut said = String::new();
    while let Some(at) = left.find('\u{1b}') {
        let (before, rest) = left.split_at(at);
        said.push_str(&plain(before));
        let ours = OURS.into_iter().find(|colour| rest.starts_with(colour));
        said.push_str(ours.unwrap_or("\u{fffd}"));
        left = rest.get(ours.map_or(1, str::len)..).unwrap_or_default();
    }
    said + &plain(left)
}

/// Columns of whoever reads: of the terminal, or as `COLUMNS` says; `None`: nobody says.
fn columns_of(terminal: Option<terminal_size::Width>) -> Option<usize> {
    let said = || std::env::var("COLUMNS").ok()?.trim().parse().ok();
    let columns = terminal.map(|width| usize::from(width.0)).or_else(said)?;
    Some(columns.max(COLUMNS_MIN))
}

/// Columns of standard output.
pub fn columns() -> Option<usize> {
    columns_of(terminal_size::terminal_size_of(std::io::stdout()).map(|size| size.0))
}

/// Narrower than this nothing is made for.
const COLUMNS_MIN: usize = 24;

/// Columns that a word takes: our own colours take none.
fn width(word: &str) -> usize {
    let bare = OURS
        .iter()
        .fold(word.to_owned(), |word, colour| word.replace(colour, ""));
    bare.chars().count()
}

/// Text in lines that fit, broken at spaces; what follows stands under what it belongs to. A word that is
/// longer than a line stays whole: an id is to be copied.
fn fit(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else {
        return text.to_owned();
    };
    let lines = text.split('\n').map(|line| {
        if width(line) <= columns {
            return line.to_owned();
        }
        let body = line.trim_start();
        let first = line.len() - body.len();
        // A label, and what it is of: "model     none: rules alone".
        let label = body.split("  ").next().unwrap_or_default();
        let rest = body.get(label.len()..).unwrap_or_default();
        let gap = rest.len() - rest.trim_start().len();
        let hangs = match rest.trim_start().is_empty() {
            true => first + 2,
            false => first + width(label) + gap,
        };
        let hangs = if hangs > columns / 2 {
            first.min(columns / 4) + 2
        } else {
            hangs
        };
        let (mut lines, mut at) = (String::new(), 0);
        for (n, word) in line.split(' ').enumerate() {
            let wide = width(word);
            match n {
                0 => {}
                _ if at + 1 + wide > columns && at > hangs && !word.is_empty() => {
                    lines.truncate(lines.trim_end_matches(' ').len());
                    lines.push('\n');
                    lines.push_str(&" ".repeat(hangs));
                    at = hangs;
                }
                _ => {
                    lines.push(' ');
                    at += 1;
                }
            }
            lines.push_str(word);
            at += wide;
        }
        lines
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Prints to standard output, in lines that fit. A reader that has seen enough (`| head`) is no fault: the program
/// ends quietly.
pub fn out(text: &str, end: &str) {
    as_it_is(&fit(text, columns()), end);
}

/// The same of what is drawn, and of what programs read.
pub fn as_it_is(text: &str, end: &str) {
    let mut stdout = std::io::stdout().lock();
    let said = printed(text, stdout.is_terminal()) + end;
    if stdout
        .write_all(said.as_bytes())
        .and_then(|()| stdout.flush())
        .is_err()
    {
        std::process::exit(0);
    }
}

/// Says what was written and what comes next; on standard error where the result itself went to standard
/// output, a pipe or a device.
pub fn wrote(to: &std::path::Path, next: &str) {
    match desk::files::is_stream(to) {
        true => err(next),
        false => out(&format!("wrote {}: {next}", to.display()), "\n"),
    }
}

/// Prints a script of this program's own to standard output, tabs and all.
pub fn script(text: &str) {
    // Who has read enough is no fault, as in [`out`].
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Prints JSON to standard output.
pub fn json(text: &str) {
    as_it_is(&plain_json(text), "\n");
}

/// Prints to standard error. If that cannot be written there is nobody to tell.
pub fn err(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let columns = columns_of(terminal_size::terminal_size_of(&stderr).map(|size| size.0));
    let said = printed(&fit(text, columns), stderr.is_terminal()) + "\n";
    let _ = stderr.write_all(said.as_bytes());
}

/// As the one of the standard library, through [`out`].
macro_rules! println {
    () => { $crate::say::out("", "\n") };
    ($($words:tt)*) => { $crate::say::out(&format!($($words)*), "\n") };
}

/// As the one of the standard library, through [`err`].
macro_rules! eprintln {
    () => { $crate::say::err("") };
    ($($words:tt)*) => { $crate::say::err(&format!($($words)*)) };
}

/// Lines of a log, written by a thread of its own: a full disk, a pipe that nobody reads and a
/// stopped terminal hold up nobody. Lines for which there is no room are counted and dropped.
pub fn log() -> std::sync::Arc<dyn Fn(&str) + Send + Sync> {
    use std::sync::atomic::{AtomicU64, Ordering};
    let (lines, written) = std::sync::mpsc::sync_channel::<String>(LINES_WAITING_MAX);
    let dropped = std::sync::Arc::new(AtomicU64::new(0));
    let counted = dropped.clone();
    let thread = std::thread::Builder::new()
        .name("log".into())
        .spawn(move || {
            while let Ok(line) = written.recv() {
                match counted.swap(0, Ordering::Relaxed) {
                    0 => {}
                    missed => err(&format!(
                        "({missed} lines of the log are missing: they could not be written in time)"
                    )),
                }
                err(&line);
            }
        });
    let writes = thread.is_ok();
    std::sync::Arc::new(move |line: &str| {
        if !writes || lines.try_send(line.to_owned()).is_err() {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Lines that may wait to be written.
const LINES_WAITING_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_a_narrow_terminal_and_ids_stay_whole() {
        let id = "ab".repeat(32);
        let line =
            format!("met       {id}: 3 meetings, the last one just now, in step at the last");
        let fitted = fit(&line, Some(40));
        assert!(fitted.contains(&id), "{fitted}");
        assert!(
            fitted
                .lines()
                .all(|l| l.contains(&id) || l.chars().count() <= 40)
        );
        assert!(
            fitted.lines().skip(1).all(|l| l.starts_with("          ")),
            "{fitted}"
        );
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        for columns in 1..120 {
            assert_eq!(
                words(&fit(&line, Some(columns.max(COLUMNS_MIN)))),
                words(&line)
            );
        }
        assert_eq!(fit(&line, None), line);
        assert_eq!(fit("a\n  b", Some(40)), "a\n  b");
    }

    #[test]
    fn names_with_control_characters_or_turned_text_are_shown_and_do_nothing() {
        let name = "Amina\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}drow\u{2066}\r\t\u{ad}\u{e0041}";
        for terminal in [false, true] {
            assert!(!printed(name, terminal).chars().any(acts), "{terminal}");
        }
        assert_eq!(
            printed("\u{1b}[1;35m▲ PINK\u{1b}[0m \u{1b}[2J", true),
            "\u{1b}[1;35m▲ PINK\u{1b}[0m \u{fffd}[2J"
        );
        let code = format!("{LIGHT_ON_DARK}▀▄{PLAIN}");
        assert_eq!(printed(&code, true), code, "a code keeps its colours");
        assert_eq!(printed("\u{1b}[1;35m▲ PINK", false), "\u{fffd}[1;35m▲ PINK");
        let json = serde_json::to_string(name).unwrap();
        let escaped = plain_json(&json);
        assert!(!escaped.chars().any(acts));
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), name);
    }
}
