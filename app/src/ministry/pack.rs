//! A rule pack in words, for clinicians: Markdown, which prints as it is.

use std::path::Path;

use desk::pack::{self, Line, Remark, Table};

use crate::Failure;
use crate::words::packs::{change_in_words, heads, pack_remark};

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
        let (now, _) = heads(*part);
        if now != title {
            println!("\n## {now}\n");
            title = now;
        }
        println!("* {}", change_in_words(*part, change).join("\n    "));
    }
    Ok(())
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
        println!("* {}", pack_remark(remark));
    }
    println!("\nRead and agreed, by name, post and date:\n\n\n______________________________");
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
