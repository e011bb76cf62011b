//! How cases look.

use node::api::views::case::{Case, Dose, Finding, History, Said};
use node::api::views::cases::{Cases, Duplicates, HandedOver};
use node::api::views::exchange::Imported;
use node::api::views::status::SetAside;
use protocol::CaseId;
use serde::Serialize;

use clinical::FindingValue;

use super::{dated, plain, size, urgency, value, wrapped};
use crate::words::shown;

/// The day of an instant.
fn day(instant: &str) -> &str {
    instant.get(..10).unwrap_or_default()
}

/// A page of the list of cases: those of `find`, from the `after`th on.
pub fn case_list(l: &Cases, find: &str, after: usize) {
    match (l.matching, l.cases.is_empty(), find.is_empty()) {
        (0, _, true) => println!("no cases that this phone can read"),
        (0, _, false) => println!("no case here whose name or village has {find:?} in it"),
        (some, true, _) => println!("no case on this page: there are {some} in all"),
        (_, false, _) => {}
    }
    for case in &l.cases {
        let mut notes = Vec::new();
        match case.questions {
            0 => {}
            1 => notes.push("1 question".to_owned()),
            some => notes.push(format!("{some} questions")),
        }
        if case.waits {
            notes.push("words of it are missing or set aside".to_owned());
        }
        if case.unsent {
            notes.push("stays on this phone".to_owned());
        }
        if let [_, ..] = case.same_as.as_slice() {
            notes.push(format!(
                "{} cases that are one patient's",
                1 + case.same_as.len()
            ));
        }
        let notes = match notes.is_empty() {
            true => String::new(),
            false => format!("  ← {}", notes.join(", ")),
        };
        let who = if case.title.is_empty() {
            case.area.as_str()
        } else {
            &case.title
        };
        println!(
            "{}  {:<9} {who}, {}, {} entries{notes}",
            case.case.short(),
            urgency(case.urgency),
            day(&case.changed),
            case.entries
        );
    }
    let (shown, more) = (
        after + l.cases.len(),
        l.matching.saturating_sub(after + l.cases.len()),
    );
    if more > 0 && !l.cases.is_empty() {
        println!("{more} more: `--after {shown}` shows them");
    }
    for sealed in &l.sealed {
        let (envelopes, bytes) = (sealed.envelopes, size(sealed.bytes));
        println!(
            "sealed    {envelopes} envelopes ({bytes}) for {}: carried, cannot be read here",
            sealed.area
        );
    }
}

/// One case.
pub fn case(c: &Case) {
    println!("case      {}", c.case);
    println!("space     {}", c.area);
    if let Some(begun) = &c.begun {
        let (when, last) = (day(&begun.by_their_clock), day(&c.changed));
        let by = &begun.by;
        println!("begun     {when} by {by}, last changed {last} (by the phones' clocks)");
    }
    println!("urgency   {}", urgency(c.urgency));
    attention(c);
    care(c);
    findings(c);
    given(c);
    for note in &c.notes {
        wrapped(&format!("noted     {}", note.note), 0);
    }
    for photo in &c.photos {
        let said = [&photo.shows, &photo.camera, &photo.light];
        let said: Vec<_> = said.into_iter().filter(|words| !words.is_empty()).collect();
        let said = said
            .iter()
            .map(|words| words.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        println!("photo     {said} ({})", size(photo.bytes));
    }
    for a in &c.assessments {
        println!(
            "assessed  {} by {}; model {}",
            urgency(Some(a.urgency)),
            a.rules,
            a.model
        );
        a.rules_fired.iter().for_each(|rule| wrapped(rule, 4));
        let ranked = a.differential.iter().take(3);
        ranked.for_each(|ranked| wrapped(&format!("model: {ranked}"), 4));
    }
    super::decisions(c);
    let newer = "this kijiti does not know what it means: kept and passed on";
    c.newer_entries
        .iter()
        .for_each(|entry| wrapped(&format!("newer     {entry} ({newer})"), 0));
    whereabouts(c);
}

/// What a person should look at first.
fn attention(c: &Case) {
    if let Some(undecided) = c.undecided {
        let (urgent, decided) = (urgency(Some(undecided)), urgency(c.decided));
        let again = format!("decide again: kijiti case decide {}", c.case.short());
        wrapped(
            &format!("! what is known now is {urgent}, and the decision was {decided}: {again}"),
            2,
        );
    }
    if c.waits {
        let how = "see `kijiti status` and `kijiti enrol countersign --show`";
        let what = "words that this case builds on have not come, or wait to be countersigned";
        wrapped(&format!("! {what}: {how}"), 2);
    }
    if let Some(why) = &c.unjudged {
        let why = shown::findings(why).0;
        wrapped(
            &format!("! the rules cannot judge what is known now: {why}"),
            2,
        );
    }
}

/// Whose word something is: of a file it is nobody's here.
fn whose(by: &str, from_file: bool) -> String {
    match from_file {
        true => format!("a file that {by} took in"),
        false => by.to_owned(),
    }
}

fn care(c: &Case) {
    let case = c.case.short();
    match (c.cared_for_by.as_slice(), c.care_disputed) {
        ([], _) => {}
        (some, false) => println!("cared for by {}", some.join(" and ")),
        (several, true) => {
            let (names, settle) = (several.join(" and to "), "settle it: kijiti case add");
            wrapped(
                &format!(
                    "? handed to {names} apart: who cares for it? {settle} {case} --hand-to …"
                ),
                2,
            );
        }
    }
    c.same_as
        .iter()
        .for_each(|other| println!("same as   {}", other.short()));
    for other in c.perhaps_same_as.iter().map(CaseId::short) {
        let settle = format!(
            "settle it: kijiti case add {case} --same-as {other}, or --not-same-as {other}"
        );
        wrapped(
            &format!("? people differ whether case {other} is the same patient's: {settle}"),
            2,
        );
    }
}

fn findings(c: &Case) {
    let unknown =
        |(_, state): &(&String, &Finding)| state.value == FindingValue::Unknown && !state.disputed;
    let (unknown, known): (Vec<_>, Vec<_>) = c.findings.iter().partition(unknown);
    let unknown: Vec<_> = unknown.into_iter().map(|(name, _)| plain(name)).collect();
    for (name, state) in known {
        println!("  {:<28} {}", plain(name), value(&state.value));
        if state.disputed {
            let said = state.standing.iter();
            let said: Vec<_> = said
                .map(|word| {
                    format!(
                        "{} says {}",
                        whose(&word.by, word.from_file),
                        value(&word.value)
                    )
                })
                .collect();
            let settle = format!(
                "settle it: kijiti case add {} --settle {name}=…",
                c.case.short()
            );
            wrapped(
                &format!("? people differ: {}; {settle}", said.join(", ")),
                6,
            );
        }
    }
    if !unknown.is_empty() {
        wrapped(&format!("not known: {}", unknown.join(", ")), 2);
    }
}

fn given(c: &Case) {
    for dose in &c.doses {
        let (medicine, amount, unit) = (&dose.medicine, dose.amount, &dose.unit);
        let doses = if dose.times == 1 { "dose" } else { "doses" };
        println!(
            "gave      {medicine} {amount} {unit} in {} {doses}",
            dose.times
        );
    }
    for dose in &c.each_dose {
        wrapped(
            &format!(
                "dose {} {} by {}",
                dose.id,
                what(dose),
                whose(&dose.by, dose.from_file)
            ),
            10,
        );
        for back in &dose.taken_back {
            wrapped(
                &format!("not given after all, says {}: {}", back.by, back.why),
                12,
            );
        }
    }
}

fn what(dose: &Dose) -> String {
    let what = format!("{} {} {}", dose.medicine, dose.amount, dose.unit);
    let more = [dose.route.clone(), dated(&dose.given)];
    let more = more.into_iter().filter(|words| !words.is_empty());
    std::iter::once(what)
        .chain(more)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Who holds a case, and whether it has reached the clinic.
fn whereabouts(c: &Case) {
    if let Some(why) = &c.stays {
        let why = shown::stays(why, &c.case.short());
        wrapped(&format!("stays     on this phone: {why}"), 0);
    }
    let (held, reached) = (c.held_by.join(", "), c.reached.join(", "));
    if !c.held_in_part.is_empty() {
        let some = c.held_in_part.join(", ");
        wrapped(&format!("held by   {some}, without what was added last"), 0);
    }
    let nobody = held.is_empty() && c.held_in_part.is_empty();
    match (c.sealed, nobody, reached.is_empty()) {
        (0, ..) => {}
        (_, true, true) => println!("held by   this phone only, as far as it knows"),
        (_, _, nowhere) => {
            if !held.is_empty() {
                wrapped(&format!("held by   {held}"), 0);
            }
            match nowhere {
                true => println!("reached   no clinic yet, as far as this phone knows"),
                false => wrapped(&format!("reached   {reached}"), 0),
            }
        }
    }
}

/// One thing that was said.
fn said(said: &Said) -> String {
    shown::said(said)
}

/// Everything that was said.
pub fn history(h: &History) {
    for line in &h.history {
        let by = whose(&line.by, line.from_file);
        let head = format!("{:>4}  {by} ({})", line.order, line.phone);
        wrapped(
            &format!("{head}, {} by their clock:", dated(&line.by_their_clock)),
            0,
        );
        wrapped(&said(&line.said), 6);
    }
}

/// Cases that are a colleague's now.
pub fn handed_over(h: &HandedOver) {
    for case in &h.cases {
        println!("{}  {}", case.case.short(), case.title);
    }
    match h.cases.len() {
        0 if h.kept == 0 && h.disputed.is_empty() => println!("there was nothing to hand over"),
        0 => {}
        1 => println!("{} cares for this case from here on", h.to),
        some => println!("{} cares for these {some} cases from here on", h.to),
    }
    match h.kept {
        0 => {}
        1 => println!("1 case stays yours: there is no consent to share it"),
        some => println!("{some} cases stay yours: there is no consent to share them"),
    }
    for case in h.disputed.iter().map(CaseId::short) {
        let settle = format!("settle it with kijiti case add {case} --hand-to …");
        wrapped(&format!("{case} was handed to several apart: {settle}"), 0);
    }
}

/// What lost phones wrote late and nobody has judged yet.
pub fn set_aside(s: &SetAside) {
    if s.waiting.is_empty() {
        println!("nothing is set aside here");
    }
    for late in &s.waiting {
        let title = late.title.as_deref().filter(|title| !title.is_empty());
        let title = title.unwrap_or("a case without a name");
        let author = late.author.as_deref().unwrap_or_default();
        let case = late.case.map(|case| case.short()).unwrap_or_default();
        println!("{}  {author} for case {case} ({title})", late.envelope);
        wrapped(&shown::aside(&late.why), 4);
        for added in &late.adds {
            let (by, when) = (&added.by, &added.by_their_clock);
            wrapped(
                &format!("{by} ({when} by their clock): {}", said(&added.said)),
                4,
            );
        }
        if late.adds.is_empty() {
            wrapped(
                "what it would add cannot be shown here: its key is not on this phone, or it does not fit",
                4,
            );
        }
    }
}

/// Cases that may be one patient's.
pub fn duplicates(d: &Duplicates) {
    if d.pairs.is_empty() {
        println!("no two cases here look like one patient's");
    }
    for pair in &d.pairs {
        let (a, b) = (pair.a.short(), pair.b.short());
        println!(
            "{a} {}  ~  {b} {}  ({} of 100)",
            pair.a_title, pair.b_title, pair.alike
        );
        println!("      kijiti case add {a} --same-as {b}    or    --not-same-as {b}");
    }
}

/// What was taken in from a file.
pub fn imported(i: &Imported) {
    const SHOWN: usize = 20;
    i.cases.iter().for_each(|case| println!("case {case}"));
    let left_out = i.left_out.len();
    println!(
        "{}{} cases begun, {} added to, {} here already; {left_out} things left out",
        if i.dry_run { "would be: " } else { "" },
        i.new,
        i.added_to,
        i.unchanged
    );
    let list = |head: &str, what: &[String]| {
        if what.is_empty() {
            return;
        }
        println!("{head}");
        what.iter().take(SHOWN).for_each(|what| wrapped(what, 4));
        if let Some(more) = what.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            println!("    and {more} more (--json lists all {})", what.len());
        }
    };
    list(
        "not taken in as it stands there, or not at all:",
        &i.left_out,
    );
    list("kept in words:", &i.in_words);
}

/// Every field that a case may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "schema", rename = "kijiti.case-fields/1")]
pub struct Fields {
    /// In the catalogue's order.
    pub fields: Vec<FieldSaid>,
}

/// A field, and what can be written into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldSaid {
    /// Its name.
    pub name: String,
    /// What can be written, in words.
    pub written: String,
}

/// Every field, and what can be written into it.
pub fn fields(all: &Fields) {
    for field in &all.fields {
        wrapped(&format!("{:<28} {}", field.name, field.written), 0);
    }
}
