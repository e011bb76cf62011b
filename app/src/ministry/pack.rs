//! A rule pack in words, for clinicians: Markdown, which prints as it is.

use std::path::Path;

use desk::pack::{self, Change, Line, Remark, Table};

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
        print(&table, &pack::remarks(&read)?);
        return Ok(());
    }
    let old = pack::table(&pack::read(against)?);
    let changes = pack::changes(&old, &table);
    println!("# {} against {}\n", table.pack, old.pack);
    if changes.is_empty() {
        println!("Nothing of rules, definitions and doses is changed.");
    }
    for change in &changes {
        match change {
            Change::New(line) => println!("* NEW {}: {}", line.key, line.says.join("; ")),
            Change::Gone(line) => println!("* GONE {}: {}", line.key, line.says.join("; ")),
            Change::Other(before, now) => {
                println!("* CHANGED {}", now.key);
                let both = before.says.iter().zip(&now.says);
                for (before, now) in both.filter(|(before, now)| before != now) {
                    println!("    was: {before}\n    now: {now}");
                }
            }
        }
    }
    Ok(())
}

fn print(table: &Table, remarks: &[Remark]) {
    println!("# {}\n", table.pack);
    part(
        "Rules",
        "| rule | class | colour | when | what to do | source |",
        &table.rules,
    );
    part(
        "Words that rules use",
        "| word | meaning |",
        &table.definitions,
    );
    part(
        "Doses",
        "| medicine, for which rules and whom | dose | source |",
        &table.doses,
    );
    println!("## To look at before anybody signs\n");
    if remarks.is_empty() {
        println!(
            "Nothing: golden cases reach every rule, from both sides of every number, and no rule contradicts another."
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
        Remark::Contradicts { rule, other, case } => {
            format!("{rule} speaks beside {other}, which it says that it excludes: {case}")
        }
    }
}

fn part(title: &str, head: &str, lines: &[Line]) {
    let columns = head.matches('|').count().saturating_sub(1);
    println!("## {title}\n\n{head}\n|{}", "---|".repeat(columns));
    for line in lines {
        let cell = |text: &String| text.replace('|', "/");
        let says: Vec<_> = line.says.iter().map(cell).collect();
        println!("| {} | {} |", cell(&line.key), says.join(" | "));
    }
    println!();
}
