//! How cases look.

use serde_json::Value;

use crate::words::phone;

use super::{flag, list, number, plain, short, size, text, urgency, wrapped};

/// The list of cases.
pub fn case_list(l: &Value) {
    let cases = list(l, "cases");
    if cases.is_empty() {
        println!("no cases that this phone can read");
    }
    for case in cases {
        let mut notes = Vec::new();
        match number(case, "questions") {
            0 => {}
            1 => notes.push("1 question".to_owned()),
            some => notes.push(format!("{some} questions")),
        }
        if flag(case, "waits") {
            notes.push("words of it are missing or set aside".to_owned());
        }
        if flag(case, "unsent") {
            notes.push("stays on this phone".to_owned());
        }
        let notes = if notes.is_empty() {
            String::new()
        } else {
            format!("  ← {}", notes.join(", "))
        };
        let who = if text(case, "title").is_empty() {
            text(case, "area")
        } else {
            text(case, "title")
        };
        println!(
            "{}  {:<9} {who}, {}, {} entries{notes}",
            short(case, "case"),
            urgency(text(case, "urgency")),
            text(case, "changed").get(..10).unwrap_or_default(),
            number(case, "entries")
        );
    }
    for sealed in list(l, "sealed") {
        println!(
            "sealed    {} envelopes ({}) for {}: carried, cannot be read here",
            number(sealed, "envelopes"),
            size(number(sealed, "bytes")),
            text(sealed, "area")
        );
    }
}

fn value_of(state: &Value) -> String {
    let value = state.get("value");
    value
        .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
        .unwrap_or_default()
}

/// One case.
pub fn case(c: &Value) {
    println!("case      {}", text(c, "case"));
    println!("space     {}", text(c, "area"));
    if let Some(begun) = c.get("begun").filter(|begun| !begun.is_null()) {
        let day = |value: &str| value.get(..10).unwrap_or_default().to_owned();
        let (when, last) = (day(text(begun, "by_their_clock")), day(text(c, "changed")));
        println!(
            "begun     {when} by {}, last changed {last} (by the phones' clocks)",
            text(begun, "by")
        );
    }
    println!("urgency   {}", urgency(text(c, "urgency")));
    if !text(c, "undecided").is_empty() {
        let urgent = urgency(text(c, "undecided"));
        let (decided, case) = (urgency(text(c, "decided")), short(c, "case"));
        let again = format!("decide again: kijiti case decide {case}");
        wrapped(
            &format!("! what is known now is {urgent}, and the decision was {decided}: {again}"),
            2,
        );
    }
    if flag(c, "waits") {
        let how = "see `kijiti status` and `kijiti enrol countersign --show`";
        wrapped(
            &format!(
                "! words that this case builds on have not come, or wait to be countersigned: {how}"
            ),
            2,
        );
    }
    if let Some(why) = c.get("unjudged").filter(|why| !why.is_null()) {
        let why = serde_json::from_value(why.clone()).map(|why| phone::findings(&why).0);
        wrapped(
            &format!(
                "! the rules cannot judge what is known now: {}",
                why.unwrap_or_default()
            ),
            2,
        );
    }
    match list(c, "cared_for_by")
        .iter()
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => {}
        some if !flag(c, "care_disputed") => println!("cared for by {}", some.join(" and ")),
        several => {
            let settle = format!(
                "settle it: kijiti case add {} --hand-to …",
                short(c, "case")
            );
            wrapped(
                &format!(
                    "? handed to {} apart: who cares for it? {settle}",
                    several.join(" and to ")
                ),
                2,
            );
        }
    }
    for other in list(c, "same_as").iter().filter_map(Value::as_str) {
        println!("same as   {}", other.get(..8).unwrap_or_default());
    }
    for other in list(c, "perhaps_same_as").iter().filter_map(Value::as_str) {
        let (case, other) = (short(c, "case"), other.get(..8).unwrap_or_default());
        let settle = format!(
            "settle it: kijiti case add {case} --same-as {other}, or --not-same-as {other}"
        );
        wrapped(
            &format!("? people differ whether case {other} is the same patient's: {settle}"),
            2,
        );
    }
    let findings = c.get("findings").and_then(Value::as_object);
    let unknown =
        |(_, state): &(&String, &Value)| value_of(state) == "unknown" && !flag(state, "disputed");
    let (unknown, known): (Vec<_>, Vec<_>) = findings.into_iter().flatten().partition(unknown);
    let unknown: Vec<_> = unknown.into_iter().map(|(name, _)| plain(name)).collect();
    for (name, state) in known {
        println!("  {:<28} {}", plain(name), value_of(state));
        if flag(state, "disputed") {
            let said: Vec<_> = list(state, "standing")
                .iter()
                .map(|word| format!("{} says {}", text(word, "by"), value_of(word)))
                .collect();
            let settle = format!(
                "settle it: kijiti case add {} --settle {name}=…",
                short(c, "case")
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
    for dose in list(c, "doses") {
        let amount = dose.get("amount").and_then(Value::as_f64).unwrap_or(0.0);
        println!(
            "gave      {} {amount} {} in {} {}",
            text(dose, "medicine"),
            text(dose, "unit"),
            number(dose, "times"),
            if number(dose, "times") == 1 {
                "dose"
            } else {
                "doses"
            }
        );
    }
    for dose in list(c, "each_dose") {
        let amount = dose.get("amount").and_then(Value::as_f64).unwrap_or(0.0);
        let more = [text(dose, "route"), text(dose, "given")]
            .into_iter()
            .filter(|words| !words.is_empty());
        let what = [format!(
            "{} {amount} {}",
            text(dose, "medicine"),
            text(dose, "unit")
        )];
        let what: Vec<_> = what.into_iter().chain(more.map(str::to_owned)).collect();
        wrapped(
            &format!(
                "dose {} {} by {}",
                text(dose, "id"),
                what.join(", "),
                text(dose, "by")
            ),
            10,
        );
        for back in list(dose, "taken_back") {
            wrapped(
                &format!(
                    "not given after all, says {}: {}",
                    text(back, "by"),
                    text(back, "why")
                ),
                12,
            );
        }
    }
    for note in list(c, "notes") {
        wrapped(&format!("noted     {}", text(note, "note")), 0);
    }
    for photo in list(c, "photos") {
        let said = [
            text(photo, "shows"),
            text(photo, "camera"),
            text(photo, "light"),
        ];
        let said: Vec<_> = said.into_iter().filter(|words| !words.is_empty()).collect();
        println!(
            "photo     {} ({})",
            said.join(", "),
            size(number(photo, "bytes"))
        );
    }
    for a in list(c, "assessments") {
        println!(
            "assessed  {} by {}; model {}",
            urgency(text(a, "urgency")),
            text(a, "rules"),
            text(a, "model")
        );
        for rule in list(a, "rules_fired").iter().filter_map(Value::as_str) {
            wrapped(rule, 4);
        }
        for ranked in list(a, "differential")
            .iter()
            .take(3)
            .filter_map(Value::as_str)
        {
            wrapped(&format!("model: {ranked}"), 4);
        }
    }
    super::decisions(c);
    for entry in list(c, "newer_entries").iter().filter_map(Value::as_str) {
        wrapped(
            &format!(
                "newer     {entry} (this kijiti does not know what it means: kept and passed on)"
            ),
            0,
        );
    }
    whereabouts(c);
}

/// Who holds a case, and whether it has reached the clinic.
fn whereabouts(c: &Value) {
    let names = |key: &str| {
        list(c, key)
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(why) = c.get("stays").and_then(Value::as_str) {
        wrapped(
            &format!(
                "stays     on this phone: {}",
                why.replace("CASE", short(c, "case"))
            ),
            0,
        );
    }
    match (number(c, "sealed"), names("held_by"), names("reached")) {
        (0, ..) => {}
        (_, held, reached) if held.is_empty() && reached.is_empty() => {
            println!("held by   this phone only, as far as it knows")
        }
        (_, held, reached) => {
            if !held.is_empty() {
                wrapped(&format!("held by   {held}"), 0);
            }
            match reached.is_empty() {
                true => println!("reached   no clinic yet, as far as this phone knows"),
                false => wrapped(&format!("reached   {reached}"), 0),
            }
        }
    }
}

/// Everything that was said.
pub fn history(h: &Value) {
    for line in list(h, "history") {
        let head = format!(
            "{:>4}  {} ({})",
            number(line, "order"),
            text(line, "by"),
            text(line, "phone")
        );
        wrapped(
            &format!("{head}, {} by their clock:", text(line, "by_their_clock")),
            0,
        );
        wrapped(text(line, "what"), 6);
    }
}

/// Cases that are a colleague's now.
pub fn handed_over(h: &Value) {
    let cases = list(h, "cases");
    for case in cases {
        println!("{}  {}", short(case, "case"), text(case, "title"));
    }
    match cases.len() {
        0 if number(h, "kept") == 0 && list(h, "disputed").is_empty() => {
            println!("there was nothing to hand over")
        }
        0 => {}
        1 => println!("{} cares for this case from here on", text(h, "to")),
        some => println!(
            "{} cares for these {some} cases from here on",
            text(h, "to")
        ),
    }
    match number(h, "kept") {
        0 => {}
        1 => println!("1 case stays yours: there is no consent to share it"),
        some => println!("{some} cases stay yours: there is no consent to share them"),
    }
    for case in list(h, "disputed").iter().filter_map(Value::as_str) {
        let case = case.get(..8).unwrap_or_default();
        wrapped(
            &format!(
                "{case} was handed to several apart: settle it with kijiti case add {case} --hand-to …"
            ),
            0,
        );
    }
}

/// What lost phones wrote late and nobody has judged yet.
pub fn set_aside(s: &Value) {
    let waiting = list(s, "waiting");
    if waiting.is_empty() {
        println!("nothing is set aside here");
    }
    for late in waiting {
        let title = if text(late, "title").is_empty() {
            "a case without a name"
        } else {
            text(late, "title")
        };
        println!(
            "{}  {} for case {} ({title})",
            text(late, "envelope"),
            text(late, "author"),
            short(late, "case")
        );
        wrapped(text(late, "why"), 4);
        for said in list(late, "adds") {
            wrapped(
                &format!(
                    "{} ({} by their clock): {}",
                    text(said, "by"),
                    text(said, "by_their_clock"),
                    text(said, "what")
                ),
                4,
            );
        }
        if list(late, "adds").is_empty() {
            wrapped(
                "what it would add cannot be shown here: its key is not on this phone, or it does not fit",
                4,
            );
        }
    }
}

/// Cases that may be one patient's.
pub fn duplicates(d: &Value) {
    if list(d, "pairs").is_empty() {
        println!("no two cases here look like one patient's");
    }
    for pair in list(d, "pairs") {
        let (a, b) = (short(pair, "a"), short(pair, "b"));
        println!(
            "{a} {}  ~  {b} {}  ({} of 100)",
            text(pair, "a_title"),
            text(pair, "b_title"),
            number(pair, "alike")
        );
        println!("      kijiti case add {a} --same-as {b}    or    --not-same-as {b}");
    }
}

/// What was taken in from a file.
pub fn imported(i: &Value) {
    for case in list(i, "cases").iter().filter_map(Value::as_str) {
        println!("case {case}");
    }
    let left_out = list(i, "left_out");
    if !left_out.is_empty() {
        println!("not taken in as it stands there, or not at all:");
        left_out
            .iter()
            .take(20)
            .filter_map(Value::as_str)
            .for_each(|what| wrapped(what, 4));
    }
}
