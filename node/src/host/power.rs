//! How this machine is powered, as Linux tells it under `/sys/class/power_supply`.

use std::fs;
use std::path::Path;

use crate::agent::Power;

/// Where the kernel tells of batteries and chargers.
pub(super) const SUPPLIES: &str = "/sys/class/power_supply";
/// Percent of charge below which a battery is kept for the patients.
const LOW_PERCENT: u8 = 20;

/// How a machine is powered by what lies in this folder; by mains, if nothing tells of a battery that
/// is being emptied.
pub(super) fn read(supplies: &Path) -> Power {
    let supplies = fs::read_dir(supplies).into_iter().flatten().flatten();
    let said = |supply: &Path, what: &str| {
        let text = fs::read_to_string(supply.join(what)).unwrap_or_default();
        text.trim().to_owned()
    };
    let batteries = supplies.map(|entry| entry.path()).filter(|supply| {
        // What powers a mouse or a pen says nothing of this machine.
        said(supply, "type") == "Battery" && said(supply, "scope") != "Device"
    });
    let emptied = batteries.filter(|supply| said(supply, "status") == "Discharging");
    let charges: Vec<Option<u8>> = emptied
        .map(|supply| said(&supply, "capacity").parse().ok())
        .collect();
    match charges.iter().flatten().max() {
        Some(percent) if *percent < LOW_PERCENT => Power::Low,
        Some(_) => Power::Battery,
        None if charges.is_empty() => Power::Mains,
        None => Power::Battery,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_is_read_as_the_kernel_tells_it() {
        let folder = tempfile::tempdir().unwrap();
        let say = |supply: &str, files: &[(&str, &str)]| {
            let supply = folder.path().join(supply);
            fs::create_dir_all(&supply).unwrap();
            for (name, text) in files {
                fs::write(supply.join(name), format!("{text}\n")).unwrap();
            }
        };
        assert_eq!(read(&folder.path().join("nothing")), Power::Mains);
        say("AC", &[("type", "Mains"), ("online", "0")]);
        say(
            "mouse",
            &[
                ("type", "Battery"),
                ("scope", "Device"),
                ("status", "Discharging"),
                ("capacity", "3"),
            ],
        );
        assert_eq!(read(folder.path()), Power::Mains);
        for (status, capacity, power) in [
            ("Discharging", "80", Power::Battery),
            ("Discharging", "19", Power::Low),
            ("Discharging", "?", Power::Battery),
            ("Charging", "3", Power::Mains),
            ("Full", "100", Power::Mains),
        ] {
            say(
                "BAT0",
                &[
                    ("type", "Battery"),
                    ("status", status),
                    ("capacity", capacity),
                ],
            );
            assert_eq!(read(folder.path()), power, "{status} {capacity}");
        }
        // A second battery that is full will do.
        say("BAT0", &[("status", "Discharging"), ("capacity", "3")]);
        say(
            "BAT1",
            &[
                ("type", "Battery"),
                ("status", "Discharging"),
                ("capacity", "90"),
            ],
        );
        assert_eq!(read(folder.path()), Power::Battery);
    }
}
