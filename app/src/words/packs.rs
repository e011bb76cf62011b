//! What is said of rule packs: remarks for their authors, and what one edition changes.

use desk::pack::{Change, Line, Part, Remark};

/// A part's title, and the names of its columns after the first.
pub fn heads(part: Part) -> (&'static str, &'static [&'static str]) {
    match part {
        Part::Rules => (
            "Rules",
            &["class", "colour", "when", "what to do", "source", "besides"],
        ),
        Part::Definitions => ("Words that rules use", &["meaning", "besides"]),
        Part::Doses => (
            "Doses",
            &["dose", "course", "only when", "not if", "source", "besides"],
        ),
        Part::Advice => (
            "Steps before leaving, what to tell, when to come back",
            &["when to come", "only when", "source", "besides"],
        ),
        Part::Medicines => (
            "Medicines",
            &["allergies that forbid it", "way", "counted in", "besides"],
        ),
        Part::Questions => ("Questions", &["question", "asked of", "only if", "besides"]),
        Part::Rest => ("The pack itself", &["value"]),
    }
}

fn or_nothing(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

fn told(line: &Line, head: &[&str]) -> String {
    let said = head
        .iter()
        .zip(&line.says)
        .filter(|(_, text)| !text.is_empty());
    let said = said.map(|(column, text)| format!("{column}: {text}"));
    said.collect::<Vec<_>>().join("; ")
}

/// What an edition changes: what, and before and now column by column.
pub fn change_in_words(part: Part, change: &Change) -> Vec<String> {
    let (_, head) = heads(part);
    match change {
        Change::New(line) => vec![format!("NEW {}: {}", line.key, told(line, head))],
        Change::Gone(line) => vec![format!("GONE {}: {}", line.key, told(line, head))],
        Change::Other(before, now) => {
            let mut lines = vec![format!("CHANGED {}", now.key)];
            let columns = head.iter().zip(before.says.iter().zip(&now.says));
            for (column, (before, now)) in columns.filter(|(_, (before, now))| before != now) {
                lines.push(format!("{column} was: {}", or_nothing(before)));
                lines.push(format!("{column} now: {}", or_nothing(now)));
            }
            lines
        }
    }
}

/// The same in one line, as a check of a draft shows it.
pub fn pack_change(part: Part, change: &Change) -> String {
    let (title, _) = heads(part);
    format!(
        "{}: {}",
        title.to_lowercase(),
        change_in_words(part, change).join("; ")
    )
}

/// What an author should look at.
pub fn pack_remark(remark: &Remark) -> String {
    match remark {
        Remark::NeverFires { rule, group } => {
            format!("{rule} ({group}): no golden case makes it speak; add one that does")
        }
        Remark::OneSided {
            rule,
            finding,
            bound,
        } => {
            format!(
                "{rule}: golden cases have {finding} on one side of {bound} only; add one on the other"
            )
        }
        Remark::TooMuch {
            medicine,
            rules,
            dose,
        } => {
            format!(
                "{medicine}, for {rules}: {dose} is more than anybody gives, and no phone will say it; put it right"
            )
        }
        Remark::Contradicts { rule, other, case } => {
            format!("{rule} speaks beside {other}, which it says that it excludes: {case}")
        }
    }
}
