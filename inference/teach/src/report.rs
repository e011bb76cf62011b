//! What `kijiti-teach` prints of a model.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use clinical::Profile;
use inference::findings::Findings;
use inference::model::adapter::Adapter;
use inference::model::{Calibration, TriageModel};
use inference::{RulePack, assess};
use teach::adapt::{self, Base, Patients, Tuning};
use teach::evaluate::{Measures, RATES, Said, Trial, apart, shifts};
use teach::learn::{Course, Fail, Folder, Plan};
use teach::net::Net;
use teach::own;
use teach::patients::{Wording, World};
use teach::publish::{self, Beside, FALSE_PINK, Stored};

/// Golden cases of a file.
const GOLDEN: usize = 48;
/// Patients that a card's figures are measured on.
const CARD: usize = 10_000;
/// The seed of patients that are reported on.
const REPORTED: u64 = 77;

fn usual() -> World {
    World {
        wording: Wording::Both,
        ..World::LEARNING
    }
}

fn read(file: &Path) -> Result<TriageModel, Fail> {
    let mut open = std::io::BufReader::new(std::fs::File::open(file)?);
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(TriageModel::read(&name, &mut open)?)
}

/// Quantizes, calibrates and writes a file.
pub(crate) fn pack(folder: &Folder, out: &Path, stored: Stored, cases: usize) -> Result<(), Fail> {
    let (course, net, steps, seconds) = folder.open()?;
    let draft = publish::write(&course, &net, stored, &publish::uncalibrated())?;
    let seed = course.plan().seed;
    eprintln!("calibrating on {cases} patients");
    let calibration = publish::calibrate(
        &TriageModel::load("draft", &draft)?,
        World::LEARNING,
        seed,
        cases,
    )?;
    let mut beside = Beside {
        calibration,
        ..publish::uncalibrated()
    };
    let model = TriageModel::load("draft", &publish::write(&course, &net, stored, &beside)?)?;
    beside.golden = publish::golden(&model, World::LEARNING, seed, GOLDEN)?;
    eprintln!("measuring on {CARD} patients");
    beside.card = card_of(&model, &beside.calibration, (course.plan(), steps, seconds))?;
    let file = publish::write(&course, &net, stored, &beside)?;
    TriageModel::load("reference", &file)?.self_test(&RulePack::built_in()?)?;
    std::fs::write(out, &file)?;
    eprintln!(
        "{} ({:.1} MB)\n{}",
        out.display(),
        file.len() as f64 / 1e6,
        beside.card
    );
    Ok(())
}

/// What people should know of a model, measured.
fn card_of(
    model: &TriageModel,
    calibration: &Calibration,
    (plan, steps, seconds): (Plan, usize, u64),
) -> Result<String, Fail> {
    let trial = Trial::new(usual(), REPORTED, CARD)?;
    let cool = [
        calibration.differential_temperature,
        calibration.urgency_temperature,
    ];
    let above = calibration.set_above;
    let (best, own) = (
        trial.measure(trial.ceiling(), above),
        trial.measure(&trial.ask_model(model, cool)?, above),
    );
    let rules = trial.by_rules();
    let after = plan
        .after
        .map_or(String::new(), |digest| format!(" from the model {digest}"));
    Ok(format!(
        "Kijiti reference triage model. NOT CLINICALLY VALIDATED: taught by synthetic patients only, to prove the path.\n\
         For: ranking a differential beside the rules, and raising urgency, for children under five years. Never for: lowering \
         urgency, other patients, or use without a health worker's decision.\n\
         {} weights; taught in {steps} steps of {} patients, {} minutes on two shared cores, by `kijiti-teach train --seed {} --steps {} --batch {} \
         --layers {} --width {} --rate {}`{after}; patients of {} diseases and states, alone or two at once, text in English, Swahili, French and Portuguese.\n\
         On {CARD} patients that it has not seen, half of their phrases not seen either; in brackets what could be known at best: right label first \
         {:.3} ({:.3}), among three, mean of labels {:.3} ({:.3}), divergence {:.3}, calibration error {:.3}.\n\
         Of patients who deserve pink, found with {:.0} in a hundred false pinks {:.3} ({:.3}); by rules alone {:.3} with {:.3} false.",
        model.network().weights(),
        plan.batch,
        seconds / 60,
        plan.seed,
        plan.steps,
        plan.batch,
        plan.layers,
        plan.width,
        plan.rate,
        teach::patients::labels().len(),
        own.top1,
        best.top1,
        own.macro_top3,
        best.macro_top3,
        own.divergence,
        own.calibration[0],
        FALSE_PINK * 100.0,
        own.pink[0],
        best.pink[0],
        rules.pink,
        rules.false_pink,
    ))
}

/// Quantizes a course's weights and writes a draft.
pub(crate) fn quantize(folder: &Folder, out: &Path, stored: Stored) -> Result<(), Fail> {
    let (course, net, ..) = folder.open()?;
    let file = publish::write(&course, &net, stored, &publish::uncalibrated())?;
    std::fs::write(out, &file)?;
    let size = file.len() as f64 / 1e6;
    eprintln!("{} ({size:.1} MB): calibrate it next", out.display());
    Ok(())
}

/// Sets temperatures and thresholds of a model anew.
pub(crate) fn calibrate(
    file: &Path,
    (district, own): (Option<&Path>, Option<&Path>),
    (seed, cases): (u64, usize),
    out: &Path,
) -> Result<(), Fail> {
    let bytes = bytes_of(file)?;
    let model = TriageModel::load("model", &bytes)?;
    let world = match district {
        Some(district) => adapt::read_district(&text_of(district)?)?,
        None => World::LEARNING,
    };
    let (calibration, by) = match own {
        Some(own) => {
            let own = own::read(&text_of(own)?, &model)?;
            if own.labels != model.labels() {
                return Err("the cases have labels that the model does not have".into());
            }
            let by = format!("{} cases of a district's own", own.known.len());
            (
                publish::calibrate_on(&model, &own.known, model.calibration())?,
                by,
            )
        }
        None => {
            let calibration = publish::calibrate(&model, world, seed, cases)?;
            (calibration, format!("{cases} drawn patients"))
        }
    };
    let mut beside = Beside {
        calibration,
        card: format!("{}\nCalibrated anew on {by}.", model.card()),
        ..publish::uncalibrated()
    };
    let draft = publish::with_beside(&bytes, &beside)?;
    beside.golden = publish::golden(&TriageModel::load("draft", &draft)?, world, seed, GOLDEN)?;
    let made = publish::with_beside(&bytes, &beside)?;
    TriageModel::load("model", &made)?.self_test(&RulePack::built_in()?)?;
    std::fs::write(out, &made)?;
    println!("{}", serde_json::to_string_pretty(&beside.calibration)?);
    Ok(())
}

/// One line of the report.
#[derive(Serialize)]
struct Row {
    who: String,
    measures: Measures,
}

fn line(row: &Row) {
    let m = &row.measures;
    let [a, b, c] = m.pink;
    let both = m
        .pink_with_rules
        .map(|p| p.map_or("    -".to_owned(), |p| format!("{p:.3}")))
        .join(" ");
    println!(
        "{:28} {:.3}  {:.3}   {:.3}   {a:.3} {b:.3} {c:.3}   {both}   {:.3} {:.3}",
        row.who, m.top1, m.macro_top3, m.divergence, m.calibration[0], m.calibration[1]
    );
}

fn head(title: &str, trial: &Trial) {
    let rules = trial.by_rules();
    println!(
        "\n{title}: {} patients; by rules alone {:.3} of pink found, {:.3} false",
        trial.patients().len(),
        rules.pink,
        rules.false_pink
    );
    let rates = RATES.map(|rate| format!("{:.0}%", rate * 100.0)).join(" ");
    println!(
        "{:28} top1   top3    KL      pink at {rates}   with rules at {rates}   error: label, pink",
        ""
    );
}

/// Cases by which a file is known as that of a course, and how far, on average, the chances of one and
/// the same network may lie apart, as f32 and as it ships (0 to 1; another network's lie far beyond).
const KNOWN_BY: usize = 64;
const APART: f32 = 0.15;

/// Refuses a file that was not made of this course: what it says would be printed as its network's.
fn same_model(course: &Course, net: &Net, model: &TriageModel, cool: [f64; 2]) -> Result<(), Fail> {
    let trial = Trial::new(usual(), REPORTED, KNOWN_BY)?;
    let (ours, theirs) = (
        trial.ask_net(course, net, cool)?,
        trial.ask_model(model, cool)?,
    );
    let apart = apart(&ours, &theirs);
    match apart <= APART {
        true => Ok(()),
        false => Err(format!(
            "the file is not of this course: on {KNOWN_BY} patients their chances lie {apart:.2} apart; \
             name the folder that it was packed from, or pack this one (kijiti-teach pack)"
        )
        .into()),
    }
}

/// Measures a course and its file beside the ceiling and other courses.
pub(crate) fn evaluate(
    folder: &Folder,
    file: &Path,
    beside: &[Folder],
    [cases, shifted]: [usize; 2],
    json: bool,
) -> Result<(), Fail> {
    let (course, net, ..) = folder.open()?;
    let model = read(file)?;
    let cool = [
        model.calibration().differential_temperature,
        model.calibration().urgency_temperature,
    ];
    same_model(&course, &net, &model, cool)?;
    let above = model.calibration().set_above;
    let mut all = Vec::new();
    let worlds = std::iter::once(("as taught, half of the phrases unseen", usual(), cases));
    for (title, world, cases) in worlds.chain(
        shifts()
            .into_iter()
            .map(|(title, world)| (title, world, shifted)),
    ) {
        if cases == 0 {
            continue;
        }
        let trial = Trial::new(world, REPORTED, cases)?;
        let row = |who: String, said: &Said| Row {
            who,
            measures: trial.measure(said, above),
        };
        let mut rows = vec![
            row("best possible".into(), trial.ceiling()),
            row("model, f32".into(), &trial.ask_net(&course, &net, cool)?),
            row("model, as it ships".into(), &trial.ask_model(&model, cool)?),
        ];
        for other in beside {
            let (course, net, ..) = other.open()?;
            let who = format!("{} layers of {}", net.shape.layers, net.shape.width);
            rows.push(row(who, &trial.ask_net(&course, &net, [1.0, 1.0])?));
        }
        if !json {
            head(title, &trial);
            rows.iter().for_each(line);
            if let Some(shipped) = rows.get(2).filter(|_| all.is_empty()) {
                let [right, shown] = shipped.measures.sets;
                println!(
                    "\nof the labels that the file shows, five at most: the right one is among them {right:.3}, and they are {shown:.1} on average"
                );
                println!(
                    "\nthe file by group:              top1   of     KL      calibration error: label, pink"
                );
                for group in &shipped.measures.groups {
                    let [label, pink] = group.calibration;
                    println!(
                        "  {:20} {:6}   {:.3}  {:.3}  {:.3}   {label:.3} {pink:.3}",
                        group.name, group.count, group.top1, group.best_top1, group.divergence
                    );
                }
            }
        }
        all.push((title, rows));
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    }
    Ok(())
}

/// A fine-tune as it was asked for.
pub(crate) struct Asked {
    pub base: PathBuf,
    pub district: Option<PathBuf>,
    pub own: Option<PathBuf>,
    pub tuning: Tuning,
}

/// A model that phones have.
pub(crate) fn base_of(path: &Path) -> Result<Base, Fail> {
    Base::new(bytes_of(path)?)
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, Fail> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()).into())
}

fn text_of(path: &Path) -> Result<String, Fail> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()).into())
}

/// Tunes a model and writes what came of it.
pub(crate) fn tune(asked: &Asked, out: &Path, merged: Option<&Path>) -> Result<(), Fail> {
    let base = Base::new(bytes_of(&asked.base)?)?;
    if merged.is_some() && asked.own.is_some() {
        return Err(
            "what own cases taught is not merged: name a district, or leave out --merged".into(),
        );
    }
    let patients = match (&asked.own, &asked.district) {
        (Some(file), _) => Patients::Own(own::read(&text_of(file)?, &base.model)?),
        (None, Some(district)) => {
            Patients::Drawn(Box::new(adapt::read_district(&text_of(district)?)?))
        }
        (None, None) => return Err("name a district, or its own cases".into()),
    };
    let others = matches!(&patients, Patients::Own(own) if own.labels != base.model.labels());
    if others && asked.tuning.ranks.is_none() {
        return Err("a whole model keeps its labels: cases with others make an adapter".into());
    }
    let mut tell = crate::teller();
    let tuned = adapt::tune(&base, &patients, asked.tuning, &mut tell)?;
    eprintln!("calibrating");
    let file = match asked.tuning.ranks {
        Some(_) => tuned.adapter(&base)?,
        None => tuned.whole(&base)?,
    };
    std::fs::write(out, &file)?;
    eprintln!("{} ({:.3} MB)", out.display(), file.len() as f64 / 1e6);
    if let Some(merged) = merged {
        std::fs::write(merged, tuned.whole(&base)?)?;
        eprintln!("{} is the same, merged", merged.display());
    }
    Ok(())
}

/// What an adapter regains of what a fine-tune of all weights regains.
pub(crate) fn compare(
    base: &Path,
    district: &Path,
    [adapter, full]: [&Path; 2],
    cases: usize,
) -> Result<(), Fail> {
    let base = Base::new(bytes_of(base)?)?;
    let world = World {
        wording: Wording::Both,
        ..adapt::read_district(&text_of(district)?)?
    };
    let beside = Adapter::load(&bytes_of(adapter)?)?;
    if beside.base() != base.digest {
        return Err("the adapter was made for another base".into());
    }
    let adapted = base.model.with(&beside, "adapter")?;
    let full = read(full)?;
    let trial = Trial::new(world, REPORTED, cases)?;
    head("In the district, half of the phrases unseen", &trial);
    let best = Row {
        who: "best possible".into(),
        measures: trial.measure(trial.ceiling(), 0.0),
    };
    line(&best);
    let mut measured = Vec::new();
    for (who, model) in [
        ("base", &base.model),
        ("all weights tuned", &full),
        ("with the adapter", &adapted),
    ] {
        let calibration = model.calibration();
        let cool = [
            calibration.differential_temperature,
            calibration.urgency_temperature,
        ];
        let said = trial.ask_model(model, cool)?;
        let row = Row {
            who: who.into(),
            measures: trial.measure(&said, calibration.set_above),
        };
        line(&row);
        measured.push(row.measures);
    }
    let [before, full, adapted] = measured.as_slice() else {
        return Err("three were measured".into());
    };
    /// Below it, a gain on these patients is noise.
    const NOISE: f64 = 0.01;
    let share = |of: fn(&Measures) -> f64| {
        let gain = |m: &Measures| of(m) - of(before);
        match gain(full) > NOISE {
            true => format!("{:.0} %", 100.0 * gain(adapted) / gain(full)),
            false => "(nothing to regain)".to_owned(),
        }
    };
    println!(
        "\nof what all weights regain the adapter regains: top1 {}, top3 {}, KL {}",
        share(|m| m.top1),
        share(|m| m.macro_top3),
        share(|m| -m.divergence)
    );
    Ok(())
}

#[derive(Deserialize)]
struct Emergencies {
    emergency: Vec<Emergency>,
}

#[derive(Deserialize)]
struct Emergency {
    language: String,
    age: String,
    kind: String,
    text: String,
}

/// Asks a model about emergencies in people's own words and nothing else.
pub(crate) fn emergencies(file: &Path) -> Result<(), Fail> {
    let (model, pack) = (read(file)?, RulePack::built_in()?);
    let all: Emergencies = toml::from_str(include_str!("../phrases/emergencies.toml"))?;
    let (mut raised, mut unsure, mut little) = (0, 0, 0);
    for Emergency {
        language,
        age,
        kind,
        text,
    } in &all.emergency
    {
        let said = format!("{age}\ntext = {}", serde_json::to_string(text)?);
        let findings = Findings::parse(&said, &pack).map_err(|e| e.to_string())?;
        let judged = assess(&findings, &pack, Profile::Iccm, Some(&model));
        let opinion = judged.opinion.as_ref().ok_or("the model failed")?;
        let is_pink = opinion.raises_to() == Some(clinical::Urgency::Pink);
        raised += usize::from(is_pink);
        let abstains = opinion.abstained && !is_pink;
        unsure += usize::from(abstains && !opinion.understands());
        little += usize::from(abstains && opinion.understands());
        let what = match (is_pink, opinion.abstained, opinion.understands()) {
            (true, ..) => "PINK",
            (_, true, false) => "unsure",
            (_, true, true) => "little",
            _ => "missed",
        };
        let first = opinion
            .differential
            .first()
            .map_or("", |(label, _)| label.name.as_str());
        println!(
            "{what:9} {:.2}  {language} {kind:18} {text}  [{first}]",
            opinion.urgency[2]
        );
    }
    println!(
        "of {}: {raised} raised to pink; it abstains on {unsure} whose words it is not sure of, and on {little} because nothing but words is known",
        all.emergency.len()
    );
    Ok(())
}
