//! Cases of patients that a file describes: written down to teach a module by, and drawn to measure one on.

use std::io::{BufWriter, Write};
use std::path::Path;

use clinical::{Profile, Urgency};
use inference::RulePack;
use inference::findings::Findings;
use inference::model::Label;
use inference::model::adapter::Adapter;
use rayon::prelude::*;
use serde_json::json;
use teach::evaluate::{before, divergence_of, found_at};
use teach::learn::Fail;
use teach::patients::Posterior;
use teach::patients::described::{Case, Described};
use teach::publish::FALSE_PINK;

use crate::report::base_of;

/// The seed of cases that are measured on, which are never written down.
const REPORTED: u64 = u64::MAX / 3;

fn read(file: &Path) -> Result<Described, Fail> {
    Described::read(&std::fs::read_to_string(file)?)
        .map_err(|why| format!("{}: {why}", file.display()).into())
}

/// Writes cases with the truth of each, one a line, and says what could be known of them at best.
pub(crate) fn write(file: &Path, out: &Path, seed: u64, cases: u64) -> Result<(), Fail> {
    let described = read(file)?;
    let labels = described.labels();
    let mut lines = BufWriter::new(std::fs::File::create(out)?);
    for n in 0..cases {
        let case = described.draw(seed, n);
        let label = labels.get(case.label).ok_or("a label")?;
        let line = json!({
            "findings": case.findings,
            "label": label.name,
            "icd11": label.icd11,
            "urgency": case.urgency,
        });
        writeln!(lines, "{line}")?;
    }
    lines.flush()?;
    println!(
        "wrote {}: {cases} cases of {} diseases and states",
        out.display(),
        labels.len()
    );
    Ok(())
}

/// Measures of what is said of cases.
struct Measured {
    top1: f64,
    macro_top3: f64,
    divergence: f64,
    pink: f64,
}

fn measure(cases: &[Case], said: &[Posterior], labels: usize) -> Measured {
    let count = cases.len().max(1) as f64;
    let (mut first, mut divergence) = (0.0, 0.0);
    let mut by_label = vec![(0.0, 0.0); labels];
    for (case, said) in cases.iter().zip(said) {
        let before = before(case.label, said);
        first += f64::from(u8::from(before == 0));
        if let Some((seen, all)) = by_label.get_mut(case.label) {
            *seen += f64::from(u8::from(before < 3));
            *all += 1.0;
        }
        divergence += divergence_of(&case.best, said);
    }
    let recalls = by_label.iter().filter(|(_, all)| *all > 0.0);
    let recalls: Vec<f64> = recalls.map(|(seen, all)| seen / all).collect();
    let scores = cases.iter().zip(said).map(|(case, said)| {
        let [.., pink] = said.urgency;
        (case.urgency == Urgency::Pink, pink)
    });
    Measured {
        top1: first / count,
        macro_top3: recalls.iter().sum::<f64>() / recalls.len().max(1) as f64,
        divergence: divergence / count,
        pink: found_at(scores, FALSE_PINK).unwrap_or_default(),
    }
}

/// Of cases that deserve pink, or do not, the share that rules call pink.
fn share(cases: &[Case], rules: &[bool], wanted: bool) -> f64 {
    let pink = |case: &Case| case.urgency == Urgency::Pink;
    let of = cases
        .iter()
        .zip(rules)
        .filter(|(case, _)| pink(case) == wanted);
    let (found, all) = of.fold((0, 0), |(found, all), (_, called)| {
        (found + u32::from(*called), all + 1)
    });
    f64::from(found) / f64::from(all.max(1))
}

/// Measures a module on drawn cases, beside what could be known of them at best and the rules alone.
pub(crate) fn tried(file: &Path, base: &Path, adapter: &Path, cases: u64) -> Result<(), Fail> {
    let described = read(file)?;
    let labels = described.labels();
    let base = base_of(base)?;
    let beside = Adapter::load(&std::fs::read(adapter)?)?;
    let model = base.model.with(&beside, "adapter")?;
    let place = |label: &Label| model.labels().iter().position(|other| other == label);
    let places: Option<Vec<usize>> = labels.iter().map(place).collect();
    let places = places.filter(|places| places.len() == model.labels().len());
    let places = places.ok_or("the adapter names other diseases than the description")?;
    let pack = RulePack::built_in()?;
    let drawn: Vec<_> = (0..cases)
        .into_par_iter()
        .map(|n| {
            let case = described.draw(REPORTED, n);
            let findings = Findings::parse(&case.findings.to_string(), &pack);
            let findings = findings.map_err(|e| format!("case {n}: {e}"))?;
            let (named, urgency) = model.probabilities(&findings).map_err(|e| e.to_string())?;
            let differential = places.iter().filter_map(|place| named.get(*place).copied());
            let differential = differential.collect();
            let urgency = <[f32; 3]>::try_from(urgency).map_err(|_| "three urgencies")?;
            let pink = pack.evaluate(Profile::Imci, &findings).urgency() == Urgency::Pink;
            Ok((
                case,
                Posterior {
                    differential,
                    urgency,
                },
                pink,
            ))
        })
        .collect::<Result<_, String>>()?;
    let (mut cases, mut said, mut rules) = (Vec::new(), Vec::new(), Vec::new());
    for (case, one, pink) in drawn {
        cases.push(case);
        said.push(one);
        rules.push(pink);
    }
    let best: Vec<Posterior> = cases.iter().map(|case| case.best.clone()).collect();
    println!("{} cases, none of them learned from", cases.len());
    println!(
        "{:<16}{:>8}{:>8}{:>8}{:>14}",
        "", "top1", "top3", "KL", "pink at 5 %"
    );
    for (who, said) in [("best possible", &best), ("the module", &said)] {
        let m = measure(&cases, said, labels.len());
        println!(
            "{who:<16}{:>8.3}{:>8.3}{:>8.3}{:>14.3}",
            m.top1,
            m.macro_top3,
            m.divergence.max(0.0),
            m.pink
        );
    }
    println!(
        "rules alone: {:.3} of pink found, {:.3} false",
        share(&cases, &rules, true),
        share(&cases, &rules, false)
    );
    Ok(())
}
