//! Units of measurements and doses, as other systems write them. What is not known here is not
//! converted, and a number without a unit is not guessed at: 11 of haemoglobin is health in g/dL
//! and near death in g/L.

/// Names of one unit, in UCUM and as people write it, and what turns a number of it into the base
/// of its kind.
struct Unit {
    names: &'static [&'static str],
    kind: Kind,
    factor: f64,
    offset: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mass,
    Length,
    Temperature,
    Rate,
    Percent,
    MassPerVolume,
    Pressure,
    Time,
    Count,
    PerMicrolitre,
    ZScore,
}

const fn unit(names: &'static [&'static str], kind: Kind, factor: f64) -> Unit {
    Unit {
        names,
        kind,
        factor,
        offset: 0.0,
    }
}

/// Bases: kg, cm, °C, per minute, %, g/L, mm[Hg], days.
const UNITS: &[Unit] = &[
    unit(&["kg", "kilogram", "kilograms", "kgs"], Kind::Mass, 1.0),
    unit(&["g", "gram", "grams", "gm"], Kind::Mass, 0.001),
    unit(
        &["[lb_av]", "lb_av", "lb", "lbs", "pound", "pounds"],
        Kind::Mass,
        0.453_592_37,
    ),
    unit(
        &["[oz_av]", "oz_av", "oz", "ounce", "ounces"],
        Kind::Mass,
        0.028_349_523_125,
    ),
    unit(
        &[
            "cm",
            "centimeter",
            "centimeters",
            "centimetre",
            "centimetres",
        ],
        Kind::Length,
        1.0,
    ),
    unit(
        &[
            "mm",
            "millimeter",
            "millimeters",
            "millimetre",
            "millimetres",
        ],
        Kind::Length,
        0.1,
    ),
    unit(
        &["m", "meter", "meters", "metre", "metres"],
        Kind::Length,
        100.0,
    ),
    unit(
        &["[in_i]", "[in_us]", "in_i", "in", "inch", "inches", "\""],
        Kind::Length,
        2.54,
    ),
    unit(
        &["[ft_i]", "ft_i", "ft", "foot", "feet"],
        Kind::Length,
        30.48,
    ),
    unit(
        &[
            "cel",
            "°c",
            "c",
            "degc",
            "deg c",
            "celsius",
            "℃",
            "degrees c",
        ],
        Kind::Temperature,
        1.0,
    ),
    Unit {
        names: &[
            "[degf]",
            "°f",
            "f",
            "degf",
            "deg f",
            "fahrenheit",
            "℉",
            "degrees f",
        ],
        kind: Kind::Temperature,
        factor: 5.0 / 9.0,
        offset: -32.0,
    },
    Unit {
        names: &["k", "kelvin"],
        kind: Kind::Temperature,
        factor: 1.0,
        offset: -273.15,
    },
    unit(
        &[
            "/min",
            "{breaths}/min",
            "{beats}/min",
            "1/min",
            "bpm",
            "{breath}/min",
            "{beat}/min",
            "{resp}/min",
            "{respirations}/min",
            "{pulse}/min",
            "/min{breaths}",
            "/min{beats}",
            "breaths/min",
            "beats/min",
            "breath/min",
            "beat/min",
            "resp/min",
            "respirations/min",
            "breaths per minute",
            "beats per minute",
            "breaths/minute",
            "beats/minute",
            "/minute",
            "per minute",
            "per min",
        ],
        Kind::Rate,
        1.0,
    ),
    unit(&["/s", "1/s", "hz", "per second"], Kind::Rate, 60.0),
    unit(&["/h", "1/h", "per hour", "/hour"], Kind::Rate, 1.0 / 60.0),
    unit(&["%", "percent", "%{oxygen}"], Kind::Percent, 1.0),
    unit(&["g/l"], Kind::MassPerVolume, 1.0),
    unit(&["g/dl", "g%"], Kind::MassPerVolume, 10.0),
    unit(&["mg/dl"], Kind::MassPerVolume, 0.01),
    unit(&["mm[hg]", "mmhg", "mm hg"], Kind::Pressure, 1.0),
    unit(&["kpa"], Kind::Pressure, 7.500_616_827),
    unit(&["d", "day", "days"], Kind::Time, 1.0),
    unit(&["h", "hour", "hours", "hr"], Kind::Time, 1.0 / 24.0),
    unit(&["wk", "week", "weeks"], Kind::Time, 7.0),
    unit(&["mo", "month", "months"], Kind::Time, 30.4375),
    unit(&["a", "year", "years", "yr"], Kind::Time, 365.25),
    unit(&["1", "{count}", "count"], Kind::Count, 1.0),
    unit(
        &["/ul", "/µl", "1/ul", "per microlitre"],
        Kind::PerMicrolitre,
        1.0,
    ),
    unit(&["{z-score}", "z", "sd", "{zscore}"], Kind::ZScore, 1.0),
];

/// Whether all these words are in small letters, as those are that are looked up among them.
const fn are_small(mut words: &[&str]) -> bool {
    while let [word, rest @ ..] = words {
        let mut letters = word.as_bytes();
        while let [letter, more @ ..] = letters {
            if letter.is_ascii_uppercase() {
                return false;
            }
            letters = more;
        }
        words = rest;
    }
    true
}

const _: () = {
    let mut units = UNITS;
    while let [unit, rest @ ..] = units {
        assert!(!unit.names.is_empty() && are_small(unit.names));
        assert!(unit.factor > 0.0 && unit.factor < f64::INFINITY);
        units = rest;
    }
};

fn find(name: &str) -> Option<&'static Unit> {
    let name = name.trim().trim_end_matches('.').to_lowercase();
    let known = |name: &str| UNITS.iter().find(|unit| unit.names.contains(&name));
    known(&name).or_else(|| {
        // What stands in braces is a remark to UCUM, and no unit.
        let bare = without_remarks(&name);
        let bare = match bare.strip_prefix("1/") {
            Some(rest) => format!("/{rest}"),
            None => bare,
        };
        known(&bare)
    })
}

fn without_remarks(unit: &str) -> String {
    let mut depth = 0_usize;
    let outside = |c: &char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    unit.chars().filter(outside).collect()
}

/// A number in another unit; `None` where either is not known here, or they measure different
/// things.
pub fn convert(number: f64, from: &str, to: &str) -> Option<f64> {
    if from.trim() == to {
        return Some(number).filter(|n| n.is_finite());
    }
    let (from, to) = (find(from)?, find(to)?);
    // A share of one (UCUM: unity) is a hundred times as many percent.
    if (from.kind, to.kind) == (Kind::Count, Kind::Percent) && (0.0..=1.0).contains(&number) {
        return Some((number * 100_000.0).round() / 1000.0);
    }
    if from.kind != to.kind {
        return None;
    }
    let base = (number + from.offset) * from.factor;
    let converted = base / to.factor - to.offset;
    // What came by a factor is no more exact than it was measured.
    Some((converted * 1000.0).round() / 1000.0).filter(|n| n.is_finite())
}

/// A unit of doses: its names, the first as it is written here; the most that is given at once of
/// anything; and milligrams, where it is a mass.
struct DoseUnit {
    names: &'static [&'static str],
    most: f64,
    milligrams: Option<f64>,
}

const fn dose_unit(names: &'static [&'static str], most: f64, milligrams: Option<f64>) -> DoseUnit {
    DoseUnit {
        names,
        most,
        milligrams,
    }
}

const DOSE_UNITS: &[DoseUnit] = &[
    dose_unit(
        &["mg", "milligram", "milligrams", "mgs"],
        20_000.0,
        Some(1.0),
    ),
    dose_unit(&["g", "gram", "grams", "gm"], 100.0, Some(1000.0)),
    dose_unit(
        &["ug", "mcg", "µg", "μg", "microgram", "micrograms"],
        100_000.0,
        Some(0.001),
    ),
    dose_unit(
        &[
            "ml",
            "millilitre",
            "milliliter",
            "millilitres",
            "milliliters",
            "cc",
        ],
        5_000.0,
        None,
    ),
    dose_unit(&["l", "litre", "liter", "litres", "liters"], 10.0, None),
    dose_unit(
        &["IU", "iu", "[iu]", "u", "unit", "units"],
        50_000_000.0,
        None,
    ),
    dose_unit(&["drops", "drop"], 200.0, None),
    dose_unit(&["puffs", "puff"], 200.0, None),
];

/// The most of anything in a unit that is not known here: tablets, capsules, sachets.
const DOSE_MAX: f64 = 20.0;

/// What one dose of a medicine of the programme can be, in mg: from a fraction of a newborn's to
/// about twice the most that an adult is given at once. Beyond that a slip of the pen or of the
/// unit is likelier. Doses: WHO, Pocket book of hospital care for children (2013), annex 2; WHO
/// model formulary (2008).
const DOSES_MG: &[(&[&str], f64, f64)] = &[
    (&["albendazole"], 50.0, 1_000.0),
    (&["amoxicillin", "amoxycillin", "ampicillin"], 10.0, 6_000.0),
    (&["artesunate", "artemether"], 1.0, 1_000.0),
    (&["azithromycin"], 5.0, 4_000.0),
    (&["benzylpenicillin", "penicillin g"], 10.0, 6_000.0),
    (&["ceftriaxone", "cefotaxime"], 10.0, 8_000.0),
    (
        &["chloramphenicol", "erythromycin", "metronidazole"],
        5.0,
        4_000.0,
    ),
    (&["ciprofloxacin"], 5.0, 2_000.0),
    (
        &["cotrimoxazole", "co-trimoxazole", "sulfamethoxazole"],
        10.0,
        4_000.0,
    ),
    (&["diazepam"], 0.1, 60.0),
    (&["gentamicin"], 1.0, 1_000.0),
    (&["ibuprofen"], 5.0, 2_400.0),
    (&["mebendazole"], 20.0, 1_000.0),
    (&["paracetamol", "acetaminophen"], 5.0, 4_000.0),
    (&["prednisolone", "dexamethasone"], 0.1, 200.0),
    (&["salbutamol"], 0.05, 40.0),
    (&["zinc"], 2.0, 60.0),
];

const _: () = {
    let mut units = DOSE_UNITS;
    while let [unit, rest @ ..] = units {
        assert!(!unit.names.is_empty());
        assert!(unit.most > 0.0 && unit.most < f64::INFINITY);
        if let Some(milligrams) = unit.milligrams {
            assert!(milligrams > 0.0);
        }
        units = rest;
    }
    let mut doses = DOSES_MG;
    while let [(names, least, most), rest @ ..] = doses {
        assert!(!names.is_empty() && are_small(names));
        assert!(*least > 0.0 && *least < *most);
        doses = rest;
    }
};

/// Whether a word is a unit of doses that is known here.
pub fn is_dose_unit(unit: &str) -> bool {
    DOSE_UNITS
        .iter()
        .any(|known| known.names.contains(&unit.trim().to_lowercase().as_str()))
}

/// An amount in the unit by which doses are compared: milligrams, where it is a mass.
pub(crate) fn base_dose(amount: f64, unit: &str) -> (f64, String) {
    let unit = unit.trim().to_lowercase();
    let known = DOSE_UNITS
        .iter()
        .find(|known| known.names.contains(&unit.as_str()));
    match known.map(|known| (known.milligrams, known.names.first())) {
        Some((Some(factor), _)) => (amount * factor, "mg".to_owned()),
        Some((None, Some(name))) => (amount, (*name).to_owned()),
        Some((None, None)) | None => (amount, unit),
    }
}

/// The unit of a dose as it is written here, if such a dose can have been given; `None`: nobody
/// gives that much, or that little.
pub fn plausible_dose(medicine: &str, amount: f64, unit: &str) -> Option<String> {
    let (medicine, written) = (medicine.trim().to_lowercase(), unit.trim());
    // A strength, or an amount for each kilogram, is no dose; nor is what nobody can read aloud.
    let one = |c: char| c.is_alphabetic() || [' ', '[', ']', '{', '}', '(', ')', 'µ'].contains(&c);
    let compound = written
        .split(' ')
        .any(|word| word.eq_ignore_ascii_case("per"))
        || !written.chars().all(one);
    if medicine.is_empty() || written.is_empty() || compound {
        return None;
    }
    let known = DOSE_UNITS
        .iter()
        .find(|unit| unit.names.contains(&written.to_lowercase().as_str()));
    let within = |least: f64, most: f64, amount: f64| {
        amount.is_finite() && amount >= least && amount <= most
    };
    let any = amount > 0.0 && within(0.0, known.map_or(DOSE_MAX, |unit| unit.most), amount);
    let milligrams = known
        .and_then(|unit| unit.milligrams)
        .map(|factor| amount * factor);
    let named = DOSES_MG
        .iter()
        .find(|(names, ..)| names.iter().any(|name| medicine.contains(name)));
    let of_medicine = milligrams
        .zip(named)
        .is_none_or(|(amount, (_, least, most))| within(*least, *most, amount));
    let unit = known
        .and_then(|unit| unit.names.first().copied())
        .unwrap_or(written);
    protocol::always!(known.is_none() || is_dose_unit(unit));
    (any && of_medicine).then(|| unit.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_converted_within_what_they_measure_and_never_guessed() {
        assert_eq!(convert(22.0, "lb", "kg"), Some(9.979));
        assert_eq!(convert(11.0, "g/dL", "g/L"), Some(110.0));
        assert_eq!(convert(28.0, "in", "cm"), Some(71.12));
        assert_eq!(convert(98.6, "[degF]", "Cel"), Some(37.0));
        assert_eq!(convert(12.5, "cm", "mm"), Some(125.0));
        assert_eq!(convert(7.4, "kg", "kg"), Some(7.4));
        for rate in ["{#}/min", "1/min{resp}", "/min{breaths}", "{resp}/min"] {
            assert_eq!(convert(70.0, rate, "/min"), Some(70.0), "{rate}");
        }
        assert_eq!(convert(70.0, "{resp}", "/min"), None);
        assert_eq!(convert(7.4, "kg", "cm"), None);
        assert_eq!(convert(7.4, "stone", "kg"), None);
        assert_eq!(convert(f64::NAN, "kg", "kg"), None);
    }

    #[test]
    fn doses_lie_above_nought_and_within_reason_for_their_medicine() {
        for (medicine, amount, unit, written) in [
            ("amoxicillin", 250.0, "mg", "mg"),
            ("Amoxicillin DT", 250.0, "MG", "mg"),
            ("amoxicillin", 0.25, "grams", "g"),
            ("ORS", 1.0, "sachet", "sachet"),
            ("vitamin A", 200_000.0, "IU", "IU"),
            ("salbutamol", 100.0, "mcg", "ug"),
            ("zinc sulfate", 20.0, "mg", "mg"),
        ] {
            assert_eq!(
                plausible_dose(medicine, amount, unit).as_deref(),
                Some(written),
                "{medicine} {amount} {unit}"
            );
        }
        for (medicine, amount, unit) in [
            ("ORS", 0.0, "mg"),
            ("ORS", -250.0, "mg"),
            ("ORS", 1e300, "mg"),
            ("ORS", 250.0, "g"),
            ("ORS", 500.0, "tablet"),
            ("ORS", f64::NAN, "mg"),
            ("zinc", 20.0, "g"),
            ("zinc", 2_000.0, "mg"),
            ("amoxicillin", 250.0, "mcg"),
            ("amoxicillin", 0.25, "mg"),
            ("amoxicillin", 25.0, "g"),
            ("gentamicin", 5.0, "mg/kg"),
            ("", 5.0, "mg"),
            ("paracetamol", 5.0, " "),
        ] {
            assert_eq!(
                plausible_dose(medicine, amount, unit),
                None,
                "{medicine} {amount} {unit}"
            );
        }
    }
}
