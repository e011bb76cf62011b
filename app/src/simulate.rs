//! `kijiti sim run`.

use sim::{Village, VillageReport};

use crate::Failure;

/// Runs a scenario and shows its coverage curve.
pub fn run(
    scenario: &str,
    phones: usize,
    seed: u64,
    twice: bool,
    json: bool,
) -> Result<(), Failure> {
    let hostile = match scenario {
        "village" => 0,
        "hostile" => phones,
        _ => {
            let hint = "there are: village, hostile (as many attackers as phones)";
            return Err(Failure::new(format!("no scenario {scenario:?}"), hint).with_code(2));
        }
    };
    if !(2..=5000).contains(&phones) {
        return Err(
            Failure::new(format!("{phones} phones cannot be"), "choose 2 to 5000").with_code(2),
        );
    }
    let village = Village {
        phones,
        seed,
        hostile,
        ..Village::default()
    };
    let failed = |e: sim::world::SimError| {
        Failure::new(
            format!("seed {seed}: {e}"),
            "this is a fault of kijiti: report the seed",
        )
    };
    let report = village.run().map_err(failed)?;
    if twice && village.run().map_err(failed)? != report {
        return Err(Failure::new(
            format!("seed {seed} gave two traces"),
            "this is a fault of kijiti: report the seed",
        ));
    }
    if json {
        let curve: Vec<_> = report
            .curve
            .iter()
            .map(|c| serde_json::json!({ "hour": c.hour, "phones": c.phones }))
            .collect();
        println!(
            "{}",
            serde_json::json!({
                "schema": "kijiti.coverage/1", "phones": report.phones, "seed": seed, "curve": curve,
                "meetings": report.meetings, "cut": report.cut, "bytes": report.bytes,
                "attacks": report.attacks, "refused": report.refused, "misled": report.misled,
                "trace": desk::files::hex(&report.trace),
            })
        );
        return Ok(());
    }
    draw(&report);
    let day = |share: f64| match report.hour_of_share(share) {
        Some(hour) => format!("{:.1} days", f64::from(hour) / 24.0),
        None => "never in this run".into(),
    };
    println!();
    let sentence = format!(
        "Half of the phones run the release after {}, 90 % after {}, all after {}.",
        day(0.5),
        day(0.9),
        day(1.0)
    );
    crate::show::wrapped(&sentence, 0);
    let counts = format!(
        "{} meetings, {} of them cut short, {:.1} MB over all links; seed {seed}, trace {}{}",
        report.meetings,
        report.cut,
        report.bytes as f64 / 1e6,
        desk::files::hex(report.trace.get(..8).unwrap_or_default()),
        if twice { " (twice the same)" } else { "" },
    );
    crate::show::wrapped(&counts, 0);
    if report.attacks > 0 {
        let sentence = format!(
            "{} attacks by hostile phones: {} refused with a reason, the others came to nothing. Phones misled: {}.",
            report.attacks, report.refused, report.misled
        );
        crate::show::wrapped(&sentence, 0);
    }
    if report.misled > 0 {
        return Err(Failure::new(
            format!("seed {seed}: a phone was misled"),
            "this is a fault of kijiti: report the seed",
        ));
    }
    Ok(())
}

/// The curve: one row a day, phones that run the release by the end of it.
fn draw(report: &VillageReport) {
    println!(
        "Phones that run the release, day by day ({} in all)",
        report.phones
    );
    let last_day = report.curve.last().map_or(0, |c| c.hour / 24);
    for day in 0..=last_day {
        let phones = report
            .curve
            .iter()
            .rfind(|c| c.hour < (day + 1) * 24)
            .map_or(0, |c| c.phones);
        let width = phones * 56 / report.phones.max(1);
        println!("day {:>3} {:<56} {:>5}", day + 1, "█".repeat(width), phones);
    }
}
