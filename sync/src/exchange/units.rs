//! Units of measurements and doses, as other systems write them. What is not known here is not converted, and a number without a
//! unit is not guessed at: 11 of haemoglobin is health in g/dL and near death in g/L.

/// Names of one unit, in UCUM and as people write it, and what turns a number of it into the base of its kind.
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
    Unit { names, kind, factor, offset: 0.0 }
}

/// Bases: kg, cm, °C, per minute, %, g/L, mm[Hg], days.
const UNITS: &[Unit] = &[
    unit(&["kg", "kilogram", "kilograms", "kgs"], Kind::Mass, 1.0),
    unit(&["g", "gram", "grams", "gm"], Kind::Mass, 0.001),
    unit(&["[lb_av]", "lb", "lbs", "pound", "pounds"], Kind::Mass, 0.453_592_37),
    unit(&["[oz_av]", "oz", "ounce", "ounces"], Kind::Mass, 0.028_349_523_125),
    unit(&["cm", "centimeter", "centimeters", "centimetre", "centimetres"], Kind::Length, 1.0),
    unit(&["mm", "millimeter", "millimeters", "millimetre", "millimetres"], Kind::Length, 0.1),
    unit(&["m", "meter", "meters", "metre", "metres"], Kind::Length, 100.0),
    unit(&["[in_i]", "[in_us]", "in", "inch", "inches", "\""], Kind::Length, 2.54),
    unit(&["[ft_i]", "ft", "foot", "feet"], Kind::Length, 30.48),
    unit(&["cel", "°c", "c", "degc", "celsius", "℃", "degrees c"], Kind::Temperature, 1.0),
    Unit {
        names: &["[degf]", "°f", "f", "degf", "fahrenheit", "℉", "degrees f"],
        kind: Kind::Temperature,
        factor: 5.0 / 9.0,
        offset: -32.0,
    },
    Unit { names: &["k", "kelvin"], kind: Kind::Temperature, factor: 1.0, offset: -273.15 },
    unit(
        &["/min", "{breaths}/min", "{beats}/min", "1/min", "bpm", "breaths/min", "beats/min", "per minute"],
        Kind::Rate,
        1.0,
    ),
    unit(&["/s", "1/s", "hz", "per second"], Kind::Rate, 60.0),
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
    unit(&["/ul", "/µl", "1/ul", "per microlitre"], Kind::PerMicrolitre, 1.0),
    unit(&["{z-score}", "z", "sd", "{zscore}"], Kind::ZScore, 1.0),
];

fn find(name: &str) -> Option<&'static Unit> {
    let name = name.trim().to_lowercase();
    UNITS.iter().find(|unit| unit.names.contains(&name.as_str()))
}

/// A number in another unit; `None` where either is not known here, or they measure different things.
pub fn convert(number: f64, from: &str, to: &str) -> Option<f64> {
    if from.trim() == to {
        return Some(number).filter(|n| n.is_finite());
    }
    let (from, to) = (find(from)?, find(to)?);
    if from.kind != to.kind {
        return None;
    }
    let base = (number + from.offset) * from.factor;
    let converted = base / to.factor - to.offset;
    // What came by a factor is no more exact than it was measured.
    Some((converted * 1000.0).round() / 1000.0).filter(|n| n.is_finite())
}

/// The most of a medicine that one dose is given of, by its unit: beyond it, and below or at nought, a slip of the pen is likelier.
/// A unit that is not known here has the least of these limits.
pub fn dose_max(unit: &str) -> f64 {
    match unit.trim().to_lowercase().as_str() {
        "mg" | "milligram" | "milligrams" => 20_000.0,
        "g" | "gram" | "grams" => 100.0,
        "ug" | "mcg" | "µg" | "microgram" | "micrograms" => 100_000.0,
        "ml" | "millilitre" | "milliliter" | "millilitres" | "milliliters" | "cc" => 5_000.0,
        "l" | "litre" | "liter" | "litres" | "liters" => 10.0,
        "iu" | "[iu]" | "u" | "unit" | "units" => 50_000_000.0,
        "drop" | "drops" | "puff" | "puffs" => 200.0,
        _ => 50.0,
    }
}

/// Whether a dose can have been given.
pub fn dose_plausible(amount: f64, unit: &str) -> bool {
    let compound = unit.contains(['/', '*', '^']);
    amount.is_finite() && amount > 0.0 && amount <= dose_max(unit) && !compound
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
        assert_eq!(convert(7.4, "kg", "cm"), None);
        assert_eq!(convert(7.4, "stone", "kg"), None);
        assert_eq!(convert(f64::NAN, "kg", "kg"), None);
    }

    #[test]
    fn doses_lie_above_nought_and_below_reason() {
        assert!(dose_plausible(250.0, "mg") && dose_plausible(1.0, "tablet") && dose_plausible(200_000.0, "IU"));
        for (amount, unit) in
            [(0.0, "mg"), (-250.0, "mg"), (1e300, "mg"), (250.0, "g"), (500.0, "tablet"), (f64::NAN, "mg")]
        {
            assert!(!dose_plausible(amount, unit), "{amount} {unit}");
        }
    }
}
