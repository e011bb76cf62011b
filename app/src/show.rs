//! How things look: plain lines within 80 columns, a glyph and a word beside every colour, nothing
//! that needs a terminal.

use std::io::IsTerminal;
use std::sync::OnceLock;

use clinical::assessment::{Fired, Open};
use clinical::calendar::Calendar;
use clinical::{Assessment, FindingValue, Urgency};
use indicatif::{ProgressBar, ProgressStyle};
use node::api::decide::UNJUDGED;
use node::api::views::case::Case;
use node::api::views::meetings::{Meeting, Meetings, Progress};
use node::api::views::releases::{Check, Releases};
use node::api::views::status::Status;
use node::host::backup::Restored;
use node::host::repair::Checked;
use protocol::frame::Lane;

use crate::Failure;
use crate::words::shown;

mod cases;
mod plan;

pub use cases::{
    FieldSaid, Fields, case, case_list, duplicates, fields, handed_over, history, imported,
    set_aside,
};
pub use plan::{note, plan};

/// Columns of text where nobody says how many there are, and at most.
const COLUMNS: usize = 78;

/// The same for programs, in a line: [`Failure`] under the schema `kijiti.failure/1`.
pub fn failure_json(failure: &Failure) {
    let said = serde_json::json!({
        "schema": "kijiti.failure/1",
        "code": failure.code,
        "reason": failure.reason,
        "hint": failure.hint,
    });
    crate::say::err(&crate::say::plain_json(&said.to_string()));
}

/// `error:` and `hint:`.
pub fn failure(failure: &Failure) {
    eprintln!("error: {}", failure.reason);
    if !failure.hint.is_empty() {
        eprintln!("hint: {}", failure.hint);
    }
}

/// An urgency with its glyph.
pub fn urgency(urgency: Option<Urgency>) -> String {
    let (glyph, code, word) = match urgency {
        Some(Urgency::Pink) => ("▲", "35", "PINK"),
        Some(Urgency::Yellow) => ("■", "33", "YELLOW"),
        Some(Urgency::Green) => ("●", "32", "GREEN"),
        None => ("?", "0", "NOT JUDGED"),
    };
    match std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => format!("\x1b[1;{code}m{glyph} {word}\x1b[0m"),
        false => format!("{glyph} {word}"),
    }
}

static BESIDE: OnceLock<Calendar> = OnceLock::new();

/// From now on dates are shown by this calendar too.
pub fn by_calendar(calendar: Option<Calendar>) {
    if let Some(calendar) = calendar {
        let _ = BESIDE.set(calendar);
    }
}

/// A date, or a time, by the calendar that is shown beside, too; any other words as they are.
pub(crate) fn dated(words: &str) -> String {
    let date = words
        .get(..10)
        .filter(|_| clinical::date::is_instant(words));
    let date = date.and_then(|date| BESIDE.get()?.write(date));
    date.map_or_else(|| words.to_owned(), |date| format!("{words} ({date})"))
}

/// A value; a date by the calendar that is shown beside, too.
pub(crate) fn value(value: &FindingValue) -> String {
    dated(&value.words())
}

/// Bars as everywhere in this program.
pub fn bar_style() -> ProgressStyle {
    let style = ProgressStyle::with_template("  {bar:30} {pos}/{len} {msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Prints text broken at words, `indent` spaces in.
pub fn wrapped(text: &str, indent: usize) {
    let columns = crate::say::columns().map_or(COLUMNS, |columns| columns.min(COLUMNS));
    for paragraph in text.lines() {
        let mut line = " ".repeat(indent);
        for word in paragraph.trim().split(' ') {
            if line.chars().count() + word.chars().count() > columns && line.trim() != "" {
                println!("{}", line.trim_end());
                line = " ".repeat(indent);
            }
            line.push_str(word);
            line.push(' ');
        }
        println!("{}", line.trim_end());
    }
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
pub fn assessment(a: &Assessment) {
    println!("  {}", urgency(Some(a.urgency)));
    // Several dangers are one referral: nobody reads under it what to do at home (clinical rules, 2.8).
    let pink = a.urgency == Urgency::Pink;
    let told = |fired: &&Fired| !pink || fired.urgency != Urgency::Green;
    for fired in a.fired.iter().filter(told) {
        wrapped(&format!("{} — {}", fired.class, fired.action), 4);
        let because = fired.findings.iter();
        let because: Vec<_> = because
            .map(|(name, value)| format!("{} = {}", plain(name), value.spoken()))
            .collect();
        if !because.is_empty() {
            wrapped(&format!("because {}", because.join(", ")), 6);
        }
        wrapped(&format!("rule {} ({})", fired.rule, fired.source), 6);
    }
    let green = "Green is not offered until this is known.";
    open_rules(&a.cannot_clear, "Cannot clear", green);
    open_rules(
        &a.not_ruled_out,
        "Not ruled out here",
        "Measure it if you have the means.",
    );
    if a.cannot_clear
        .iter()
        .any(|open| open.measure.iter().any(|name| name == clinical::TEXT))
    {
        wrapped(
            "No rule reads free words, and nothing here clears these. Read them again yourself: what they say may be an emergency. What they mean, say as findings.",
            4,
        );
    }
    if let Some(opinion) = &a.model_opinion {
        let ranked = opinion.differential.iter().take(3);
        let ranked: Vec<_> = ranked
            .map(|r| {
                format!(
                    "{} {:.0} % (ICD-11 {})",
                    r.name,
                    r.probability * 100.0,
                    r.icd11
                )
            })
            .collect();
        let said = if opinion.abstained {
            "is unsure; most likely"
        } else {
            "thinks of"
        };
        wrapped(&format!("The model {said}: {}", ranked.join("; ")), 4);
        if opinion.abstained && !a.raised_by_model {
            wrapped(
                "It does not know what to make of this patient: colour and plan are the rules' alone.",
                4,
            );
        }
        if a.raised_by_model {
            wrapped(
                "The model has raised the urgency above what the rules say.",
                4,
            );
        }
    }
    wrapped(
        &format!("By {}; model {}. It advises, you decide.", a.pack, a.model),
        4,
    );
}

fn open_rules(open: &[Open], head: &str, tail: &str) {
    if open.is_empty() {
        return;
    }
    let mut measure: Vec<String> = open
        .iter()
        .flat_map(|o| &o.measure)
        .filter(|name| *name != clinical::TEXT)
        .map(|name| plain(name))
        .collect();
    measure.sort();
    measure.dedup();
    let classes: Vec<_> = open.iter().map(|o| o.class.as_str()).collect();
    let classes = classes.join("; ");
    let measure = match measure.is_empty() {
        true => String::new(),
        false => format!("Measure: {}. ", measure.join(", ")),
    };
    wrapped(&format!("{head}: {classes}. {measure}{tail}"), 4);
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
pub fn status(s: &Status) {
    println!("device    {}", s.device);
    for address in &s.listening {
        println!("address   {address}");
        println!("meet it   kijiti meet {}@{address}", s.device);
    }
    println!("data      {}", s.data);
    if let Some(from) = &s.restored_from {
        println!("restored  from a backup of phone {}", from.short());
    }
    match &s.ministry {
        None => println!("ministry  none yet: enrol this phone"),
        Some(name) => println!(
            "ministry  {name}, root {}, release list {}",
            s.root.unwrap_or_default(),
            s.release_list.unwrap_or_default()
        ),
    }
    match &s.name {
        None => println!("enrolled  no"),
        Some(name) => {
            let area = s.area.clone().unwrap_or_default();
            println!(
                "enrolled  {name}, {area} ({})",
                s.rights.clone().unwrap_or_default()
            );
        }
    }
    println!("rules     {}", s.rules);
    println!(
        "model     {}",
        s.model.as_deref().unwrap_or("none: rules alone")
    );
    println!("cases     {}, bundles {}", s.cases, size(s.bundle_bytes));
    if s.unsent > 0 {
        let changes = if s.unsent == 1 {
            "change stays"
        } else {
            "changes stay"
        };
        println!(
            "          {} {changes} on this phone: see `kijiti case show`",
            s.unsent
        );
    }
    for aside in &s.quarantined {
        let author = aside.author.as_deref().unwrap_or_default();
        wrapped(
            &format!("set aside {author}: {}", shown::aside(&aside.why)),
            10,
        );
    }
    for space in &s.spaces {
        let readable = if space.readable {
            "readable"
        } else {
            "sealed, carried for others"
        };
        println!(
            "space     {}: {} envelopes, {readable}",
            space.area, space.envelopes
        );
    }
    near(s);
    for peer in &s.peers {
        let not = if peer.in_step { "" } else { "not " };
        let name = nameless(&peer.name);
        let (meetings, ago) = (peer.meetings, ago(peer.meetings_ago));
        let behind = |theirs: u64, ours: Option<u64>| theirs > 0 && Some(theirs) < ours;
        let older = behind(peer.root, s.root) || behind(peer.release_list, s.release_list);
        let older = if older {
            "; it held older documents then"
        } else {
            ""
        };
        let step = format!("{not}in step at the last{older}");
        println!("met       {name}: {meetings} meetings, the last {ago}, {step}");
    }
    for village in &s.villages {
        println!(
            "heard of  {}: cases came last {}",
            village.area,
            ago(village.meetings_ago)
        );
    }
    for lost in &s.lost {
        println!(
            "lost      {} ({}): {}",
            lost.name,
            lost.device.short(),
            lost.why
        );
    }
    s.warnings
        .iter()
        .for_each(|warning| wrapped(&format!("! {}", shown::warning(warning)), 2));
}

/// Who is near, and why it is not met.
fn near(s: &Status) {
    for near in &s.near {
        let over = if near.bluetooth {
            ", over Bluetooth"
        } else {
            ""
        };
        let (seconds, why) = (near.noticed_s, shown::standing(near.standing));
        println!(
            "near      {}: {why} (noticed {seconds} s ago{over})",
            near.name
        );
    }
    let Some(strangers) = s.strangers_heard else {
        return;
    };
    if s.name.is_none() {
        println!("near      this phone is not enrolled: it looks for nobody, and nobody knows it");
        return;
    }
    if strangers > 0 {
        println!(
            "near      phones of another ministry, or not enrolled, were heard {strangers} times: this phone cannot meet them"
        );
    } else if s.near.is_empty() && s.ministry.is_some() {
        println!(
            "near      nobody is heard. If a phone is here: is it started, and on the same network? Some access points keep phones apart; a hotspot (kijiti hotspot) does not"
        );
    }
}

fn nameless(name: &str) -> &str {
    if name.is_empty() {
        "a phone without a certificate"
    } else {
        name
    }
}

/// A phone that was made out of a backup, and what to do with it.
pub fn checked(c: &Checked) {
    match (c.store_sound, c.repaired) {
        (true, _) => println!("cases and settings hold together"),
        (false, false) => println!("the store of cases and settings (phone.sqlite) is damaged"),
        (false, true) => println!(
            "the store of cases and settings was damaged: {} entries of it were saved",
            c.rows_saved
        ),
    }
    println!("{} releases and photos were read through", c.bundles);
    for file in &c.damaged {
        match c.repaired {
            true => {
                println!("  {file} was damaged: it is fetched anew when a phone is met that has it")
            }
            false => println!("  {file} is damaged"),
        }
    }
    if let Some(aside) = &c.set_aside {
        println!("the damaged store lies in {aside}: keep it until your cases are there again");
    }
    if c.is_another {
        wrapped(
            &format!(
                "Something of the store is gone, so this phone goes on as another one, {}: enrol it anew (`kijiti enrol request`), and tell your supervisor. What other phones hold comes back when it meets them.",
                c.device.short()
            ),
            0,
        );
    }
}

/// What a restored phone begins with.
pub fn restored(r: &Restored) {
    let (from, to) = (r.from.short(), r.device.short());
    println!("phone {to} stands where {from} was: {} cases", r.cases);
    if r.missing > 0 {
        let what = format!(
            "! {} photos or releases of the backup are damaged or gone: they come again from whoever has them, at a meeting",
            r.missing
        );
        wrapped(&what, 2);
    }
    if r.unsent > 0 {
        println!(
            "{} changes have not left yet: they go out when it is enrolled",
            r.unsent
        );
    }
    wrapped(
        "next: `kijiti enrol request`, have it signed, `kijiti enrol accept`",
        0,
    );
    let lost = "is the old phone lost? then its supervisor says so";
    wrapped(
        &format!("{lost}: kijiti enrol revoke {} --area …", r.from),
        0,
    );
    wrapped(
        &format!("its open cases are yours with: kijiti case hand-over --from {from} --to {to}"),
        0,
    );
}

/// The decisions of a case.
pub fn decisions(c: &Case) {
    for d in &c.decisions {
        let agrees = match (d.rules.as_str(), d.agrees) {
            (UNJUDGED, _) => "without an assessment",
            (_, true) => "as assessed",
            (_, false) => "otherwise than assessed",
        };
        println!(
            "decided   {} {agrees}, by phone {}",
            urgency(Some(d.urgency)),
            d.said.by
        );
        for (word, said) in [("plan", &d.plan), ("why", &d.reason)] {
            if !said.is_empty() {
                wrapped(&format!("{word}: {said}"), 4);
            }
        }
    }
}

/// Releases.
pub fn model_list(l: &Releases) {
    if l.releases.is_empty() {
        println!("no releases in the list of this phone");
    }
    for r in &l.releases {
        println!(
            "{:<14} version {:<3} {:<9} {:<10} {}  {}",
            r.module,
            r.version,
            size(r.bytes),
            r.area.to_string(),
            r.digest.short(),
            shown::state(&r.state)
        );
    }
}

/// A list of checks that passed.
pub fn checks(checks: &[Check]) {
    checks
        .iter()
        .for_each(|check| wrapped(&format!("✓ {}", shown::check(check)), 2));
}

/// What a meeting did.
pub fn meeting(m: &Meeting) {
    println!("met {}: {}", nameless(&m.name), m.reason);
    println!(
        "  sealed changes and notices: {} given, {} taken{}",
        m.envelopes_sent,
        m.envelopes_taken,
        if m.in_step { "; in step" } else { "" }
    );
    if let Some(why) = &m.not_in_step {
        wrapped(&format!("not in step: {}", shown::not_in_step(why)), 2);
    }
    println!(
        "  bundles: {} given, {} taken; {} over the link",
        size(m.bundle_bytes_sent),
        size(m.bundle_bytes_taken),
        size(m.bytes_sent + m.bytes_received)
    );
}

/// The last meetings.
pub fn meetings(kept: &Meetings) {
    if kept.meetings.is_empty() {
        println!("no meetings yet");
    }
    for m in &kept.meetings {
        let when = clinical::date::instant(m.at_s);
        let step = if m.in_step { "in step" } else { "not in step" };
        let (given, taken) = (m.envelopes_sent, m.envelopes_taken);
        println!(
            "{when}  {}: {step}; {} over the link",
            nameless(&m.name),
            size(m.bytes)
        );
        wrapped(
            &format!(
                "sealed changes {given} given, {taken} taken; bundles {} given, {} taken; {}",
                size(m.bundle_bytes_sent),
                size(m.bundle_bytes_taken),
                m.reason
            ),
            4,
        );
    }
}

/// Shows the progress of a meeting or of a file of cases: a bar where there is a terminal; where there is none,
/// a line for every thousand cases.
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
    pub fn update(&self, p: &Progress) {
        match p {
            Progress::Began(_) => {}
            Progress::Lane { lane, done, total } => {
                self.bar.set_length(*total);
                self.bar.set_position(*done);
                self.bar.set_message(match lane {
                    Lane::Cases => "sealed changes",
                    Lane::Meeting | Lane::Trust | Lane::Bundles => "bytes of releases",
                });
            }
            Progress::Cases { done, total } => {
                self.bar.set_length(*total);
                self.bar.set_position(*done);
                self.bar.set_message("cases");
                // Into a log or a pipe goes a line now and then.
                if self.bar.is_hidden() && done.is_multiple_of(1000) && *done > 0 {
                    eprintln!("{done} of {total} cases");
                }
            }
            Progress::Refused(why) => self.bar.suspend(|| eprintln!("refused: {why}")),
        }
    }

    /// The end of it, where the answer says everything.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// The end of it. The bar stays where there was something to show.
    pub fn finish(&self) {
        match self.bar.length() {
            Some(1..) => self.bar.finish(),
            _ => self.bar.finish_and_clear(),
        }
    }
}
