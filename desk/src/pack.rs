//! A rule pack as a clinician reads it: every rule, definition and dose in a table to sign, and what one
//! edition changes against another.

use std::collections::BTreeMap;
use std::path::Path;

use inference::RulePack;
pub use inference::authoring::Remark;
use inference::rules::Rule;

use crate::Refusal;

/// One line of a table: what it is known by, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is known by: group, level of care and id of a rule; medicine and whom of a dose.
    pub key: String,
    /// What it says.
    pub says: Vec<String>,
}

/// A pack as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Id, edition and version.
    pub pack: String,
    /// Rules: class, urgency, condition, action, source.
    pub rules: Vec<Line>,
    /// Words that conditions use: what they mean.
    pub definitions: Vec<Line>,
    /// Doses: medicine and whom, the dose, source.
    pub doses: Vec<Line>,
}

/// What one edition changes against another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    New(Line),
    /// It is gone.
    Gone(Line),
    /// It says something else: before, and now.
    Other(Line, Line),
}

/// Reads a pack; without a file, the one that is built in.
pub fn read(path: Option<&Path>) -> Result<RulePack, Refusal> {
    let Some(path) = path else {
        return RulePack::built_in().map_err(|why| Refusal::NotAPack("built in".into(), why));
    };
    let unreadable = |e| Refusal::Unreadable(path.to_owned(), e);
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    RulePack::parse(&text).map_err(|why| Refusal::NotAPack(path.display().to_string(), why))
}

/// What its author should look at before anybody signs it.
pub fn remarks(pack: &RulePack) -> Result<Vec<Remark>, Refusal> {
    inference::authoring::remarks(pack).map_err(|why| Refusal::NotAPack(pack.named(), why))
}

/// A pack as a table.
pub fn table(pack: &RulePack) -> Table {
    let rule = |rule: &Rule| {
        let levels: Vec<_> = rule.profiles.iter().map(|p| p.name()).collect();
        Line {
            key: format!("{} ({}, {})", rule.id, rule.group, levels.join(" and ")),
            says: vec![
                rule.class.clone(),
                rule.urgency.name().to_owned(),
                rule.said.clone(),
                rule.action.clone(),
                rule.source.clone(),
            ],
        }
    };
    let define = |(name, when): (&str, &str)| Line {
        key: name.to_owned(),
        says: vec![when.to_owned()],
    };
    let dose = |[medicine, whom, dose, source]: [String; 4]| Line {
        key: format!(
            "{medicine}, for {whom}: {}",
            dose.split(": ").next().unwrap_or_default()
        ),
        says: vec![dose, source],
    };
    Table {
        pack: format!("{}, version {}", pack.named(), pack.version),
        rules: pack.all_rules().iter().map(rule).collect(),
        definitions: pack.definitions().map(define).collect(),
        doses: pack.treatments().rows().map(dose).collect(),
    }
}

/// What `new` changes against `old`, part by part.
pub fn changes(old: &Table, new: &Table) -> Vec<Change> {
    let part = |old: &[Line], new: &[Line]| {
        let named = |lines: &[Line]| -> BTreeMap<String, Line> {
            let lines = lines.iter().map(|line| (line.key.clone(), line.clone()));
            lines.collect()
        };
        let (before, after) = (named(old), named(new));
        let mut changes = Vec::new();
        for line in new {
            match before.get(&line.key) {
                None => changes.push(Change::New(line.clone())),
                Some(old) if old != line => {
                    changes.push(Change::Other(old.clone(), line.clone()));
                }
                Some(_) => {}
            }
        }
        let gone = old.iter().filter(|line| !after.contains_key(&line.key));
        changes.extend(gone.cloned().map(Change::Gone));
        changes
    };
    let mut all = part(&old.rules, &new.rules);
    all.extend(part(&old.definitions, &new.definitions));
    all.extend(part(&old.doses, &new.doses));
    all
}

#[cfg(test)]
mod tests {
    use inference::rules::BUILT_IN;

    use super::*;

    #[test]
    fn every_rule_and_dose_stands_in_the_table_once_and_a_changed_edition_says_what_it_changes() {
        let old = table(&read(None).unwrap());
        assert_eq!(changes(&old, &old), []);
        assert!(old.rules.len() > 60, "{}", old.rules.len());
        assert!(old.doses.len() > 20, "{}", old.doses.len());
        assert!(old.definitions.len() > 10);
        for lines in [&old.rules, &old.definitions, &old.doses] {
            let keys: std::collections::BTreeSet<_> = lines.iter().map(|line| &line.key).collect();
            assert_eq!(keys.len(), lines.len(), "each is known by its key");
        }
        let other = BUILT_IN
            .replace("respiratory_rate >= 50", "respiratory_rate >= 45")
            .replace("id = \"F7\"", "id = \"F7x\"")
            .replace("age = [2, 6]\namount = [0.5]", "age = [2, 6]\namount = [1]");
        let new = table(&RulePack::parse(&other).unwrap());
        let changed = changes(&old, &new);
        let said = |wanted: &str| {
            let of = |change: &&Change| match change {
                Change::New(line) => format!("new {}", line.key),
                Change::Gone(line) => format!("gone {}", line.key),
                Change::Other(_, line) => format!("other {}", line.key),
            };
            changed
                .iter()
                .map(|change| of(&change))
                .filter(|line| line.starts_with(wanted))
                .count()
        };
        assert_eq!(
            (
                said("new F7x"),
                said("gone F7 "),
                said("other fast_breathing")
            ),
            (1, 1, 1)
        );
        assert_eq!(said("other Zinc"), 1, "{changed:?}");
        assert_eq!(changed.len(), 4);
    }
}
