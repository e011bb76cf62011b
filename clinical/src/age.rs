//! Age, and which rules apply by it. Under 2 months is counted in days (0–59); months are never
//! rounded up.

use serde::{Deserialize, Serialize};

use crate::calendar::digits;

/// Days in a month, on average (365.25 / 12).
pub const MONTH_DAYS: f64 = 30.4375;
/// Days of life at which an infant is a child to the rules.
pub const CHILD_FROM_DAYS: f64 = 60.0;
/// Months of life from which on the rules for children are no rules for this patient.
pub const CHILD_BELOW_MONTHS: f64 = 60.0;

/// The names of fields that give an age.
pub const AGES: [&str; 4] = ["age_hours", "age_days", "age_months", "age_years"];

/// Days of life of the oldest child.
pub const CHILD_DAYS_MAX: f64 = 1826.0;
/// Months of life from which on the rules for adolescents and adults are read (IMAI: ten years).
pub const ADULT_FROM_MONTHS: f64 = 120.0;
/// Months of the longest life.
const LIFE_MONTHS_MAX: f64 = 1560.0;

// Days and months say the same of where a child begins and ends.
const _: () = assert!(2.0 * MONTH_DAYS >= CHILD_FROM_DAYS);
const _: () = assert!(CHILD_BELOW_MONTHS * MONTH_DAYS - CHILD_DAYS_MAX < 1.0);
const _: () = assert!(CHILD_BELOW_MONTHS * MONTH_DAYS >= CHILD_DAYS_MAX);
const _: () = assert!(crate::catalogue::are_fields(&AGES));

/// Which rules apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgeGroup {
    /// Birth to 59 days.
    Infant,
    /// 60 days to 59 months.
    Child,
    /// Pregnant, or gave birth within six weeks; of ten years or more, or of no known age.
    Mother,
    /// Ten years and more.
    Adult,
}

impl AgeGroup {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Infant, Self::Child, Self::Mother, Self::Adult];

    /// The word in rule packs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Infant => "infant",
            Self::Child => "child",
            Self::Mother => "mother",
            Self::Adult => "adult",
        }
    }
}

/// Why an age is none that the rules are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum AgeError {
    /// None was given.
    #[error("the age is missing")]
    Missing,
    /// More than one was given.
    #[error("more than one age is given")]
    Several,
    /// Months of an infant, where a day more or less decides.
    #[error("an infant under 2 months needs its age in days")]
    InfantInMonths,
    /// Between the fifth and the tenth birthday, or no age that anybody has.
    #[error(
        "these rules are for children from birth to 59 months, and for people of ten years and more"
    )]
    NotAChild,
}

/// An age as rules read it: each part follows from what was said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Age {
    /// Which rules apply.
    pub group: AgeGroup,
    /// Hours since birth.
    pub hours: f64,
    /// Whole days since birth.
    pub days: f64,
    /// Whole months since birth; 0 of an infant.
    pub months: f64,
}

impl Age {
    /// The age of somebody of whom exactly one of hours, days and months was said; of which group,
    /// for one who is no mother.
    pub fn of(
        hours: Option<f64>,
        days: Option<f64>,
        months: Option<f64>,
    ) -> Result<Self, AgeError> {
        let whole_days = match (hours, days, months) {
            (None, None, None) => return Err(AgeError::Missing),
            (Some(hours), None, None) => (hours / 24.0).floor(),
            (None, Some(days), None) => days.floor(),
            (None, None, Some(months)) if months < 2.0 => return Err(AgeError::InfantInMonths),
            (None, None, Some(months)) => (months * MONTH_DAYS).floor().max(CHILD_FROM_DAYS),
            _ => return Err(AgeError::Several),
        };
        let said = [hours, days, months].into_iter().flatten();
        if !said.into_iter().all(f64::is_finite) {
            return Err(AgeError::NotAChild);
        }
        let whole_months = months.map_or(((whole_days + 0.5) / MONTH_DAYS).floor(), f64::floor);
        let is_child = (0.0..=CHILD_DAYS_MAX).contains(&whole_days);
        let group = match (is_child, whole_months < CHILD_BELOW_MONTHS) {
            (true, true) if whole_days < CHILD_FROM_DAYS => AgeGroup::Infant,
            (true, true) => AgeGroup::Child,
            _ if (ADULT_FROM_MONTHS..=LIFE_MONTHS_MAX).contains(&whole_months) => AgeGroup::Adult,
            _ => return Err(AgeError::NotAChild),
        };
        let months = match group {
            AgeGroup::Infant => 0.0,
            AgeGroup::Child | AgeGroup::Mother | AgeGroup::Adult => whole_months.max(2.0),
        };
        let age = Self {
            group,
            hours: hours.unwrap_or(whole_days * 24.0),
            days: whole_days,
            months,
        };
        debug_assert!((age.hours / 24.0).floor() == age.days);
        debug_assert!(group == AgeGroup::Adult || (0.0..CHILD_BELOW_MONTHS).contains(&age.months));
        Ok(age)
    }

    /// The same of a mother, for whom it need not be known. One of less than ten years is none: what
    /// is said of a pregnancy then says how the child came to be born.
    pub fn of_mother(
        hours: Option<f64>,
        days: Option<f64>,
        months: Option<f64>,
    ) -> Result<(AgeGroup, Option<Self>), AgeError> {
        match Self::of(hours, days, months) {
            Err(AgeError::Missing) => Ok((AgeGroup::Mother, None)),
            Ok(age) if age.group == AgeGroup::Adult => Ok((
                AgeGroup::Mother,
                Some(Self {
                    group: AgeGroup::Mother,
                    ..age
                }),
            )),
            Ok(age) => Ok((age.group, Some(age))),
            Err(error) => Err(error),
        }
    }
}

/// An age as people write it: `11m`, `1y 6m`, `40d`, `3 weeks`, `12h`, `2.5`; a number alone counts so
/// many months. The name of the field, and the number in its unit; `None` of what is no age.
pub fn read(typed: &str, alone: f64) -> Option<(&'static str, f64)> {
    let (mut hours, mut days, mut months) = (None, None, None);
    let add = |total: &mut Option<f64>, number: f64| {
        *total = Some(total.unwrap_or(0.0) + number);
    };
    let plain = digits(typed);
    let mut left = plain.trim();
    while !left.is_empty() {
        let end = left.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (digits, after) = left.split_at(end.unwrap_or(left.len()));
        let number: f64 = digits.parse().ok()?;
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_alphabetic());
        let (unit, rest) = after.split_at(end.unwrap_or(after.len()));
        match unit.to_lowercase().as_str() {
            "h" | "hour" | "hours" => add(&mut hours, number),
            "d" | "day" | "days" => add(&mut days, number),
            "w" | "week" | "weeks" => add(&mut days, number * 7.0),
            "m" | "month" | "months" => add(&mut months, number),
            "y" | "year" | "years" => add(&mut months, number * 12.0),
            "" if months.is_none() && days.is_none() && hours.is_none() && rest.is_empty() => {
                add(&mut months, number * alone);
            }
            _ => return None,
        }
        left = rest.trim_start();
    }
    let (of_days, of_months) = (days.unwrap_or(0.0), months.unwrap_or(0.0) * MONTH_DAYS);
    match (hours, days, months) {
        (None, None, None) => None,
        (Some(hours), ..) => Some(("age_hours", (of_days + of_months) * 24.0 + hours)),
        (None, Some(_), _) => Some(("age_days", of_days + of_months)),
        (None, None, Some(months)) => Some(("age_months", months)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_read_as_people_write_it() {
        for (typed, name, number) in [
            ("11", "age_months", 11.0),
            ("11m", "age_months", 11.0),
            (" 2.5 ", "age_months", 2.5),
            ("1y", "age_months", 12.0),
            ("4y6m", "age_months", 54.0),
            ("1 year 6 months", "age_months", 18.0),
            ("12h", "age_hours", 12.0),
            ("1d 6h", "age_hours", 30.0),
            ("40d", "age_days", 40.0),
            ("2 days", "age_days", 2.0),
            ("3w", "age_days", 21.0),
            ("6 Weeks", "age_days", 42.0),
            ("٣", "age_months", 3.0),
            ("४०d", "age_days", 40.0),
        ] {
            assert_eq!(read(typed, 1.0), Some((name, number)), "{typed}");
        }
        assert_eq!(read("24", 12.0), Some(("age_months", 288.0)));
        for typed in [
            "", "m", "4x", "-3", "4y6", "4 5", "1..2m", "NaN", "three", "1y 6", "፫",
        ] {
            assert_eq!(read(typed, 1.0), None, "{typed}");
        }
    }

    #[test]
    fn an_infant_is_a_child_on_its_sixtieth_day_and_nobody_from_the_fifth_to_the_tenth_birthday() {
        let days = |days| Age::of(None, Some(days), None).map(|age| (age.group, age.months));
        assert_eq!(days(59.9), Ok((AgeGroup::Infant, 0.0)));
        assert_eq!(days(60.0), Ok((AgeGroup::Child, 2.0)));
        assert_eq!(days(1825.0), Ok((AgeGroup::Child, 59.0)));
        assert_eq!(days(1827.0), Err(AgeError::NotAChild));
        assert_eq!(days(f64::NAN), Err(AgeError::NotAChild));
        let in_months = Age::of(None, None, Some(f64::NAN));
        assert_eq!(in_months, Err(AgeError::NotAChild));
        let months = |months| Age::of(None, None, Some(months)).map(|age| age.days);
        assert_eq!(months(1.9), Err(AgeError::InfantInMonths));
        assert_eq!((months(2.0), months(59.9)), (Ok(60.0), Ok(1823.0)));
        assert_eq!(months(60.0), Err(AgeError::NotAChild));
        assert_eq!(months(119.9), Err(AgeError::NotAChild));
        assert_eq!(months(1600.0), Err(AgeError::NotAChild));
        let adult = Age::of(None, None, Some(120.0)).unwrap();
        assert_eq!((adult.group, adult.months), (AgeGroup::Adult, 120.0));
        assert_eq!(days(3653.0), Ok((AgeGroup::Adult, 120.0)));
        assert_eq!(
            Age::of(Some(30.0), None, None).map(|age| (age.hours, age.days)),
            Ok((30.0, 1.0))
        );
        assert_eq!(Age::of(None, None, None), Err(AgeError::Missing));
        assert_eq!(Age::of(Some(1.0), Some(1.0), None), Err(AgeError::Several));
    }

    #[test]
    fn a_mother_needs_no_age_and_a_child_is_none() {
        let of =
            |months| Age::of_mother(None, None, months).map(|(group, age)| (group, age.is_some()));
        assert_eq!(of(None), Ok((AgeGroup::Mother, false)));
        assert_eq!(of(Some(204.0)), Ok((AgeGroup::Mother, true)));
        assert_eq!(of(Some(20.0)), Ok((AgeGroup::Child, true)));
        assert_eq!(of(Some(80.0)), Err(AgeError::NotAChild));
    }
}
