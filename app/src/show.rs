//! How things look: plain lines within 80 columns, a glyph and a word beside every colour, nothing
//! that needs a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::Failure;

mod cases;

pub use cases::{case, case_list, duplicates, handed_over, history, imported, set_aside};

/// Columns of the narrowest terminal.
const COLUMNS: usize = 78;

/// `error:` and `hint:`.
pub fn failure(failure: &Failure) {
    eprintln!("error: {}", failure.reason);
    if !failure.hint.is_empty() {
        eprintln!("hint: {}", failure.hint);
    }
}

/// A colour with its glyph.
pub fn urgency(name: &str) -> String {
    let (glyph, code) = match name {
        "pink" => ("▲", "35"),
        "yellow" => ("■", "33"),
        "green" => ("●", "32"),
        _ => ("?", "0"),
    };
    let word = format!(
        "{glyph} {}",
        if name.is_empty() {
            "NOT JUDGED".to_owned()
        } else {
            name.to_uppercase()
        }
    );
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[1;{code}m{word}\x1b[0m")
    } else {
        word
    }
}

/// Bars as everywhere in this program.
pub fn bar_style() -> ProgressStyle {
    let style = ProgressStyle::with_template("  {bar:30} {pos}/{len} {msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Prints text broken at words, `indent` spaces in.
pub fn wrapped(text: &str, indent: usize) {
    for paragraph in text.lines() {
        let mut line = " ".repeat(indent);
        for word in paragraph.split_whitespace() {
            if line.chars().count() + word.chars().count() > COLUMNS && line.trim() != "" {
                println!("{}", line.trim_end());
                line = " ".repeat(indent);
            }
            line.push_str(word);
            line.push(' ');
        }
        println!("{}", line.trim_end());
    }
}

/// A text field of an answer.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A number of an answer.
pub fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// A list of an answer.
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The first digits of an id.
pub fn short<'a>(value: &'a Value, key: &str) -> &'a str {
    text(value, key).get(..8).unwrap_or_default()
}

/// Whether a flag of an answer is set.
pub fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A name with its underscores taken out.
fn plain(name: &str) -> String {
    name.replace('_', " ")
}

/// An assessment as the worker sees it.
pub fn assessment(a: &Value) {
    println!("  {}", urgency(text(a, "urgency")));
    for outcome in list(a, "fired") {
        let head = format!("{} — {}", text(outcome, "class"), text(outcome, "action"));
        wrapped(&head, 4);
        let findings = outcome.get("findings").and_then(Value::as_object);
        let because: Vec<_> = findings
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                format!("{} = {}", plain(name), value.as_str().unwrap_or_default())
            })
            .collect();
        if !because.is_empty() {
            wrapped(&format!("because {}", because.join(", ")), 6);
        }
        wrapped(
            &format!(
                "rule {} ({})",
                text(outcome, "rule"),
                text(outcome, "source")
            ),
            6,
        );
    }
    open_rules(
        a,
        "cannot_clear",
        "Cannot clear",
        "Green is not offered until this is measured.",
    );
    open_rules(
        a,
        "not_ruled_out",
        "Not ruled out here",
        "Measure it if you have the means.",
    );
    if let Some(opinion) = a.get("model_opinion").filter(|o| !o.is_null()) {
        let ranked: Vec<_> = list(opinion, "differential")
            .iter()
            .take(3)
            .map(|r| {
                let p = r.get("probability").and_then(Value::as_f64).unwrap_or(0.0);
                format!(
                    "{} {:.0} % (ICD-11 {})",
                    text(r, "name"),
                    p * 100.0,
                    text(r, "icd11")
                )
            })
            .collect();
        let said = if flag(opinion, "abstained") {
            "is unsure; most likely"
        } else {
            "thinks of"
        };
        wrapped(&format!("The model {said}: {}", ranked.join("; ")), 4);
        if flag(a, "raised_by_model") {
            wrapped(
                "The model has raised the urgency above what the rules say.",
                4,
            );
        }
    }
    wrapped(
        &format!(
            "By {}; model {}. It advises, you decide.",
            text(a, "pack"),
            text(a, "model")
        ),
        4,
    );
}

fn open_rules(a: &Value, key: &str, head: &str, tail: &str) {
    let open = list(a, key);
    if open.is_empty() {
        return;
    }
    let mut measure: Vec<String> = open
        .iter()
        .flat_map(|o| list(o, "measure"))
        .filter_map(Value::as_str)
        .map(plain)
        .collect();
    measure.sort();
    measure.dedup();
    let classes: Vec<_> = open.iter().map(|o| text(o, "class")).collect();
    wrapped(
        &format!(
            "{head}: {}. Measure: {}. {tail}",
            classes.join("; "),
            measure.join(", ")
        ),
        4,
    );
}

/// An age that needs no clock.
fn ago(meetings: u64) -> String {
    match meetings {
        0 => "at this phone's last meeting".to_owned(),
        1 => "one meeting before the last".to_owned(),
        some => format!("{some} meetings before the last"),
    }
}

/// A phone's status.
pub fn status(s: &Value) {
    println!("device    {}", text(s, "device"));
    for address in list(s, "listening").iter().filter_map(Value::as_str) {
        println!("address   {address}");
        println!("meet it   kijiti meet {}@{address}", text(s, "device"));
    }
    println!("data      {}", text(s, "data"));
    if !text(s, "restored_from").is_empty() {
        println!(
            "restored  from a backup of phone {}",
            short(s, "restored_from")
        );
    }
    match text(s, "ministry") {
        "" => println!("ministry  none yet: enrol this phone"),
        name => println!(
            "ministry  {name}, root {}, release list {}",
            number(s, "root"),
            number(s, "release_list")
        ),
    }
    match text(s, "name") {
        "" => println!("enrolled  no"),
        name => println!(
            "enrolled  {name}, {} ({})",
            text(s, "area"),
            text(s, "rights")
        ),
    }
    println!("rules     {}", text(s, "rules"));
    println!(
        "model     {}",
        s.get("model")
            .and_then(Value::as_str)
            .unwrap_or("none: rules alone")
    );
    println!(
        "cases     {}, bundles {}",
        number(s, "cases"),
        size(number(s, "bundle_bytes"))
    );
    if number(s, "unsent") > 0 {
        let changes = if number(s, "unsent") == 1 {
            "change stays"
        } else {
            "changes stay"
        };
        println!(
            "          {} {changes} on this phone: see `kijiti case show`",
            number(s, "unsent")
        );
    }
    for set_aside in list(s, "quarantined") {
        wrapped(
            &format!(
                "set aside {}: {}",
                text(set_aside, "author"),
                text(set_aside, "why")
            ),
            10,
        );
    }
    for space in list(s, "spaces") {
        let readable = if flag(space, "readable") {
            "readable"
        } else {
            "sealed, carried for others"
        };
        println!(
            "space     {}: {} envelopes, {readable}",
            text(space, "area"),
            number(space, "envelopes")
        );
    }
    for peer in list(s, "peers") {
        let step = if flag(peer, "in_step") {
            "in step at the last"
        } else {
            "not in step at the last"
        };
        let ago = ago(number(peer, "meetings_ago"));
        let name = if text(peer, "name").is_empty() {
            "a phone without a certificate"
        } else {
            text(peer, "name")
        };
        println!(
            "met       {name}: {} meetings, the last {ago}, {step}",
            number(peer, "meetings")
        );
    }
    for village in list(s, "villages") {
        println!(
            "heard of  {}: cases came last {}",
            text(village, "area"),
            ago(number(village, "meetings_ago"))
        );
    }
    for lost in list(s, "lost") {
        println!(
            "lost      {} ({}): {}",
            text(lost, "name"),
            short(lost, "device"),
            text(lost, "why")
        );
    }
    for warning in list(s, "warnings") {
        wrapped(&format!("! {}", warning.as_str().unwrap_or_default()), 2);
    }
}

/// A phone that was made out of a backup, and what to do with it.
pub fn restored(r: &Value) {
    println!(
        "phone {} stands where {} was: {} cases",
        short(r, "device"),
        short(r, "from"),
        number(r, "cases")
    );
    if number(r, "unsent") > 0 {
        println!(
            "{} changes have not left yet: they go out when it is enrolled",
            number(r, "unsent")
        );
    }
    wrapped(
        "next: `kijiti enrol request`, have it signed, `kijiti enrol accept`",
        0,
    );
    wrapped(
        &format!(
            "is the old phone lost? then its supervisor says so: kijiti enrol revoke {} --area …",
            text(r, "from")
        ),
        0,
    );
    let [from, to] = ["from", "device"].map(|phone| short(r, phone));
    wrapped(
        &format!("its open cases are yours with: kijiti case hand-over --from {from} --to {to}"),
        0,
    );
}

/// The decisions of a case.
pub fn decisions(c: &Value) {
    for d in list(c, "decisions") {
        let agrees = match (text(d, "rules"), flag(d, "agrees")) {
            ("none", _) => "without an assessment",
            (_, true) => "as assessed",
            (_, false) => "otherwise than assessed",
        };
        let by = d
            .get("said")
            .map(|s| text(s, "by").to_owned())
            .unwrap_or_default();
        println!(
            "decided   {} {agrees}, by phone {by}",
            urgency(text(d, "urgency"))
        );
        for (word, key) in [("plan", "plan"), ("why", "reason")] {
            if !text(d, key).is_empty() {
                wrapped(&format!("{word}: {}", text(d, key)), 4);
            }
        }
    }
}

/// Releases.
pub fn model_list(l: &Value) {
    if list(l, "releases").is_empty() {
        println!("no releases in the list of this phone");
    }
    for r in list(l, "releases") {
        println!(
            "{:<14} version {:<3} {:<9} {:<10} {}  {}",
            text(r, "module"),
            number(r, "version"),
            size(number(r, "bytes")),
            text(r, "area"),
            text(r, "digest").get(..8).unwrap_or_default(),
            text(r, "state")
        );
    }
}

/// A list of checks that passed.
pub fn checks(m: &Value) {
    for check in list(m, "checks").iter().filter_map(Value::as_str) {
        wrapped(&format!("✓ {check}"), 2);
    }
}

/// What a meeting did.
pub fn meeting(m: &Value) {
    let with = match text(m, "name") {
        "" => "a phone without a certificate",
        name => name,
    };
    println!("met {with}: {}", text(m, "reason"));
    println!(
        "  sealed changes and notices: {} given, {} taken{}",
        number(m, "envelopes_sent"),
        number(m, "envelopes_taken"),
        if flag(m, "in_step") { "; in step" } else { "" }
    );
    if !text(m, "not_in_step").is_empty() {
        wrapped(&format!("not in step: {}", text(m, "not_in_step")), 2);
    }
    println!(
        "  bundles: {} given, {} taken; {} over the link",
        size(number(m, "bundle_bytes_sent")),
        size(number(m, "bundle_bytes_taken")),
        size(number(m, "bytes_sent") + number(m, "bytes_received"))
    );
}

/// Shows the progress of a meeting: a bar where there is a terminal, nothing where there is none.
pub struct MeetingBar {
    bar: ProgressBar,
}

impl Default for MeetingBar {
    fn default() -> Self {
        let bar = ProgressBar::new(0);
        bar.set_style(bar_style());
        Self { bar }
    }
}

impl MeetingBar {
    /// One word of progress.
    pub fn update(&self, p: &Value) {
        let total = number(p, "total");
        if total > 0 {
            self.bar.set_length(total);
            self.bar.set_position(number(p, "done"));
            self.bar.set_message(match text(p, "lane") {
                "cases" => "sealed changes",
                _ => "bytes of releases",
            });
        }
        if !text(p, "refused").is_empty() {
            self.bar
                .suspend(|| eprintln!("refused: {}", text(p, "refused")));
        }
    }

    /// The end of it. The bar stays where there was something to show.
    pub fn finish(&self) {
        match self.bar.length() {
            Some(1..) => self.bar.finish(),
            _ => self.bar.finish_and_clear(),
        }
    }
}
