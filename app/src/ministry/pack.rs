//! A rule pack in words, for clinicians: Markdown, which prints as it is.

use std::path::Path;

use desk::pack::{self, Change, Line, Part, Remark, Table};

use crate::Failure;

/// Prints a pack as a table, or what it changes against another.
pub(super) fn run(
    file: Option<&Path>,
    against: Option<&Path>,
    against_built_in: bool,
) -> Result<(), Failure> {
    let read = pack::read(file)?;
    let table = pack::table(&read);
    if against.is_none() && !against_built_in {
        print(&table, &pack::remarks(&read.pack)?);
        return Ok(());
    }
    let old = pack::table(&pack::read(against)?);
    let changes = pack::changes(&old, &table);
    println!("# {} against {}", table.pack, old.pack);
    if table.id != old.id {
        println!(
            "\nIt runs beside {}: what it does not speak of stays as it is.",
            old.id
        );
    }
    if changes.is_empty() {
        println!("\nNothing is changed.");
    }
    let mut title = "";
    for (part, change) in &changes {
        let (now, head) = heads(*part);
        if now != title {
            println!("\n## {now}\n");
            title = now;
        }
        match change {
            Change::New(line) => println!("* NEW {}: {}", line.key, told(line, head)),
            Change::Gone(line) => println!("* GONE {}: {}", line.key, told(line, head)),
            Change::Other(before, now) => {
                println!("* CHANGED {}", now.key);
                let columns = head.iter().zip(before.says.iter().zip(&now.says));
                for (column, (before, now)) in columns.filter(|(_, (before, now))| before != now) {
                    println!("    {column} was: {}", or_nothing(before));
                    println!("    {column} now: {}", or_nothing(now));
                }
            }
        }
    }
    Ok(())
}

/// A part's title, and the names of its columns after the first.
fn heads(part: Part) -> (&'static str, &'static [&'static str]) {
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

fn print(table: &Table, remarks: &[Remark]) {
    println!("# {}\n", table.pack);
    for (part_of, lines) in &table.parts {
        let (title, head) = heads(*part_of);
        part(title, head, lines);
    }
    println!("## To look at before anybody signs\n");
    if remarks.is_empty() {
        println!(
            "Nothing: golden cases reach every rule, from both sides of every number, no rule contradicts another, and no dose is more than anybody gives."
        );
    }
    for remark in remarks {
        println!("* {}", words(remark));
    }
    println!("\nRead and agreed, by name, post and date:\n\n\n______________________________");
}

fn words(remark: &Remark) -> String {
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

fn part(title: &str, head: &[&str], lines: &[Line]) {
    println!(
        "## {title}\n\n| which | {} |\n|---|{}",
        head.join(" | "),
        "---|".repeat(head.len())
    );
    for line in lines {
        let cell = |text: &String| text.replace('|', "/");
        let says: Vec<_> = line.says.iter().map(cell).collect();
        println!("| {} | {} |", cell(&line.key), says.join(" | "));
    }
    println!();
}
