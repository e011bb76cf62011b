//! Dates and digits as people write them who count otherwise: the Ethiopian calendar, Nepal's Bikram
//! Sambat, and the digits of their scripts. What is kept is always a date of the Gregorian calendar in
//! ISO 8601; a date of another calendar is one only with that calendar's mark.

use crate::date::{civil, is_date, seconds_of_date};

/// A calendar besides the Gregorian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calendar {
    /// Twelve months of 30 days and one of 5, or 6 before a leap year (Amete Mihret).
    Ethiopian,
    /// The solar calendar of Nepal, whose months are as long as its almanac says.
    BikramSambat,
}

/// Days of the months of Bikram Sambat, a row a year from 2000: `9` is 29, `0` to `2` are 30 to 32. Nepal's
/// published almanacs, as `bikram-sambat` (Medic) has them; `nepali-datetime` has the same but for 2062, where
/// `pyBSDate` and `nepali-date` have this.
#[rustfmt::skip]
const BIKRAM_SAMBAT: [&str; 87] = [
    "021210009091", "112111090900", "112210090900", "121210009901", "021210009091", "112111090900", "112210090900", "121210009901",
    "111211900991", "112111090900", "112210090900", "121210009901", "111211900900", "112111090900", "112210090900", "121210009901",
    "111211900900", "112111090900", "121210090900", "121210009091", "111211090900", "112111090900", "121210009900", "121210009091",
    "111211090900", "112111090900", "121210009901", "021210009091", "112111090900", "112120090900", "121210009901", "021210009091",
    "112111090900", "112210090900", "121210009901", "021211900991", "112111090900", "112210090900", "121210009901", "111211900900",
    "112111090900", "112210090900", "121210009901", "111211900900", "112111090900", "121210090900", "121210009901", "111211090900",
    "112111090900", "121210009900", "121210009091", "111211090900", "112111090900", "121210009900", "121210009091", "112111090900",
    "112120090900", "121210009901", "021210009091", "112111090900", "112210090900", "121210009901", "021211909091", "112111090900",
    "112210090900", "121210009901", "111211900991", "112111090900", "112210090900", "121210009901", "111211900900", "112111090900",
    "121210090900", "121210009901", "111211090900", "112111090900", "121210009900", "121210009091", "111211090900", "112111090900",
    "121210009900", "121210009091", "112111090900", "112111090900", "112110009000", "121201009000", "021210009000",
];
const BIKRAM_SAMBAT_FROM: i64 = 2000;
/// The day of 1970's count (below zero before it) on which the year 2000 began: 14 April 1943.
const BIKRAM_SAMBAT_EPOCH: i64 = -9_759;
/// The day of 1970's count on which the Ethiopian year 1 began: 29 August 8 of the Julian calendar.
const ETHIOPIAN_EPOCH: i64 = 1_724_221 - 2_440_588;
/// Years that the Ethiopian calendar is read and written of.
const ETHIOPIAN_YEARS: std::ops::RangeInclusive<i64> = 1_800..=2_200;

/// Days of each month of a year of Bikram Sambat.
fn months_of(row: &str) -> impl Iterator<Item = i64> {
    row.bytes().map(|digit| match digit {
        b'9' => 29,
        other => 30 + i64::from(other.saturating_sub(b'0')),
    })
}

impl Calendar {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ethiopian, Self::BikramSambat];

    /// What is written behind a date of it.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Ethiopian => "EC",
            Self::BikramSambat => "BS",
        }
    }

    fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Ethiopian => &["EC", "E.C.", "E.C", "ዓ.ም", "ዓ/ም", "ዓ.ም."],
            Self::BikramSambat => &["BS", "B.S.", "B.S", "वि.सं.", "वि.सं", "वि. सं."],
        }
    }

    /// The day of 1970's count on which a day of it is; `None` of a day that it has not, or that is beyond
    /// what is known of it.
    fn day(self, year: i64, month: i64, day: i64) -> Option<i64> {
        match self {
            Self::Ethiopian => {
                let last = if month < 13 {
                    30
                } else {
                    5 + i64::from(year.rem_euclid(4) == 3)
                };
                let known = ETHIOPIAN_YEARS.contains(&year) && (1..=13).contains(&month);
                let days = 365 * (year - 1) + year.div_euclid(4) + 30 * (month - 1) + day - 1;
                (known && (1..=last).contains(&day)).then_some(ETHIOPIAN_EPOCH + days)
            }
            Self::BikramSambat => {
                let at = usize::try_from(year.checked_sub(BIKRAM_SAMBAT_FROM)?).ok()?;
                let row = BIKRAM_SAMBAT.get(at)?;
                let before: i64 = BIKRAM_SAMBAT
                    .iter()
                    .take(at)
                    .flat_map(|row| months_of(row))
                    .sum();
                let months = usize::try_from(month.checked_sub(1)?).ok()?;
                let last = months_of(row).nth(months)?;
                let in_year: i64 = months_of(row).take(months).sum();
                (1..=last)
                    .contains(&day)
                    .then_some(BIKRAM_SAMBAT_EPOCH + before + in_year + day - 1)
            }
        }
    }

    /// A date of the Gregorian calendar, `2026-11-29`, as this calendar has it: `2019-03-20 EC`. `None` of
    /// a month or a year alone, and of days beyond what is known.
    pub fn write(self, date: &str) -> Option<String> {
        let whole = date.len() == 10 && is_date(date);
        let days = seconds_of_date(date).filter(|_| whole)?.div_euclid(86_400);
        let (year, month, day) = match self {
            Self::Ethiopian => {
                let since = days - ETHIOPIAN_EPOCH;
                // A leap year is the third of four.
                let (four, rest) = (since.div_euclid(1_461), since.rem_euclid(1_461));
                let within = (rest / 365).min(3) - i64::from(rest == 1_095);
                let of_year = rest - within * 365 - i64::from(within == 3);
                (four * 4 + within + 1, of_year / 30 + 1, of_year % 30 + 1)
            }
            Self::BikramSambat => {
                let mut left = days - BIKRAM_SAMBAT_EPOCH;
                let months = BIKRAM_SAMBAT.iter().zip(BIKRAM_SAMBAT_FROM..);
                let mut months = months.flat_map(|(row, year)| {
                    (1..)
                        .zip(months_of(row))
                        .map(move |(m, long)| (year, m, long))
                });
                let (year, month) = months.find_map(|(year, month, long)| {
                    let here = (0..long).contains(&left);
                    left -= if here { 0 } else { long };
                    here.then_some((year, month))
                })?;
                (year, month, left + 1)
            }
        };
        (self.day(year, month, day)? == days)
            .then(|| format!("{year:04}-{month:02}-{day:02} {}", self.mark()))
    }
}

/// Digits of any script that counts by tens as those of ASCII, and the Arabic decimal mark as a point.
pub fn digits(text: &str) -> String {
    // The noughts of Arabic, Persian, N'Ko, the scripts of India from Devanagari to Malayalam, Thai, Lao, Tibetan,
    // Myanmar, Khmer, Adlam and full width.
    const NOUGHTS: [u32; 19] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50,
        0xed0, 0xf20, 0x1040, 0x17e0, 0x1_e950, 0xff10,
    ];
    let plain = |letter: char| {
        let of = |nought: &u32| u32::from(letter).checked_sub(*nought).filter(|n| *n < 10);
        let digit = NOUGHTS.iter().find_map(of);
        match digit.and_then(|digit| char::from_digit(digit, 10)) {
            Some(digit) => digit,
            None if matches!(letter, '٫' | '．') => '.',
            None => letter,
        }
    };
    text.chars().map(plain).collect()
}

/// A number as people type it: digits of any script, a comma before tenths and hundredths. Three digits
/// behind a comma may as well be thousands: that is no number.
pub fn number(typed: &str) -> Option<f64> {
    let plain = digits(typed.trim());
    let pointed = match plain.split_once(',') {
        Some((whole, rest)) if rest.len() != 3 && !rest.contains([',', '.']) => {
            format!("{whole}.{rest}")
        }
        Some(_) => return None,
        None => plain,
    };
    pointed
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

/// A date as people type it, as ISO 8601: of the Gregorian calendar as it is, of another with its mark,
/// year first or last: `2017-05-26 EC`, `26/5/2017 E.C.`, `२०८२-०८-१३ BS`. `None`: it is none.
pub fn read_date(typed: &str) -> Option<String> {
    let plain = digits(typed.trim());
    let marked = Calendar::ALL.into_iter().find_map(|calendar| {
        let mut marks = calendar.marks().iter();
        marks.find_map(|mark| {
            let upper = plain.to_uppercase();
            let rest = upper
                .strip_suffix(mark)
                .or_else(|| upper.strip_prefix(mark))?;
            Some((calendar, rest.trim().to_owned()))
        })
    });
    let Some((calendar, rest)) = marked else {
        return Some(plain).filter(|plain| is_date(plain));
    };
    let parts: Vec<&str> = rest.split(['-', '/', '.']).collect();
    let number = |part: &&str| {
        let digits = part.trim().bytes().all(|b| b.is_ascii_digit());
        part.trim().parse::<i64>().ok().filter(|_| digits)
    };
    let numbers = parts.iter().map(number);
    let numbers: Vec<i64> = numbers.collect::<Option<_>>()?;
    let (year, month, day) = match (parts.as_slice(), numbers.as_slice()) {
        ([year, _, _], [y, m, d]) if year.trim().len() == 4 => (*y, *m, *d),
        ([_, _, year], [d, m, y]) if year.trim().len() == 4 => (*y, *m, *d),
        _ => return None,
    };
    let (year, month, day) = civil(calendar.day(year, month, day)?);
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By ICU's Ethiopic calendar, and by the almanac of Nepal.
    const KNOWN: [(&str, &str, &str); 16] = [
        ("1943-04-14", "1935-08-06", "2000-01-01"),
        ("1965-09-11", "1958-01-01", "2022-05-26"),
        ("1970-01-01", "1962-04-23", "2026-09-17"),
        ("1999-12-31", "1992-04-21", "2056-09-16"),
        ("2000-02-29", "1992-06-21", "2056-11-17"),
        ("2003-09-11", "1995-13-06", "2060-05-25"),
        ("2003-09-12", "1996-01-01", "2060-05-26"),
        ("2007-09-11", "1999-13-06", "2064-05-25"),
        ("2011-09-12", "2004-01-01", "2068-05-26"),
        ("2019-09-11", "2011-13-06", "2076-05-25"),
        ("2019-09-12", "2012-01-01", "2076-05-26"),
        ("2023-09-11", "2015-13-06", "2080-05-25"),
        ("2024-02-29", "2016-06-21", "2080-11-17"),
        ("2025-02-03", "2017-05-26", "2081-10-21"),
        ("2026-11-29", "2019-03-20", "2083-08-13"),
        ("2030-04-13", "2022-08-05", "2086-12-30"),
    ];

    #[test]
    fn days_of_other_calendars_are_those_that_their_almanacs_have() {
        for (gregorian, ethiopian, nepali) in KNOWN {
            for (calendar, date) in [
                (Calendar::Ethiopian, ethiopian),
                (Calendar::BikramSambat, nepali),
            ] {
                let marked = format!("{date} {}", calendar.mark());
                assert_eq!(calendar.write(gregorian).as_deref(), Some(marked.as_str()));
                assert_eq!(read_date(&marked).as_deref(), Some(gregorian), "{marked}");
            }
        }
    }

    /// The first days of Baisakh, Shrawan, Kartik and Magh of each year from 2000, by `bikram-sambat`.
    #[rustfmt::skip]
    const FIRST_DAYS: [(&str, &str, &str, &str); 87] = [
        ("04-14", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"),
        ("04-14", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"),
        ("04-14", "07-16", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"),
        ("04-14", "07-16", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"),
        ("04-14", "07-16", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"),
        ("04-14", "07-16", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"),
        ("04-14", "07-16", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-17", "01-14"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-17", "01-14"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-18", "01-15"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-18", "01-15"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-18", "01-15"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-18", "01-15"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-18", "01-15"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-17", "10-18", "01-15"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-17", "01-14"), ("04-14", "07-17", "10-18", "01-15"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-18", "01-14"), ("04-14", "07-17", "10-18", "01-15"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-18", "01-15"), ("04-14", "07-17", "10-18", "01-15"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-18", "01-15"), ("04-14", "07-17", "10-18", "01-15"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-18", "01-15"), ("04-14", "07-17", "10-18", "01-15"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-18", "01-15"), ("04-14", "07-17", "10-18", "01-15"),
        ("04-14", "07-17", "10-18", "01-15"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-17", "10-18", "01-15"), ("04-14", "07-17", "10-18", "01-15"),
        ("04-14", "07-17", "10-17", "01-14"), ("04-13", "07-16", "10-17", "01-14"), ("04-14", "07-16", "10-17", "01-14"),
    ];

    #[test]
    fn each_quarter_of_nepals_years_begins_as_its_almanac_has_it() {
        for (year, (baisakh, shrawan, kartik, magh)) in (2000..).zip(FIRST_DAYS) {
            let before = year - 57;
            for (month, day, gregorian) in [
                (1, baisakh, before),
                (4, shrawan, before),
                (7, kartik, before),
                (10, magh, before + 1),
            ] {
                let read = read_date(&format!("{year}-{month:02}-01 BS"));
                assert_eq!(read, Some(format!("{gregorian}-{day}")));
            }
        }
    }

    /// Every day from 1943 to 2030 goes out and comes back, and the next is the day after.
    #[test]
    fn every_day_comes_back() {
        for days in -9_759..22_018 {
            let (year, month, day) = civil(days);
            let date = format!("{year:04}-{month:02}-{day:02}");
            for calendar in Calendar::ALL {
                let written = calendar.write(&date).unwrap();
                assert_eq!(read_date(&written), Some(date.clone()), "{written}");
            }
        }
    }

    #[test]
    fn dates_are_read_as_people_write_them_and_no_others() {
        for typed in [
            "2017-05-26 EC",
            "26/5/2017 E.C.",
            "ec 2017/05/26",
            "26.05.2017 ዓ.ም",
            "2081-10-21 BS",
            "२०८१-१०-२१ वि.सं.",
            "२१/१०/२०८१ B.S.",
            "2025-02-03",
            "٢٠٢٥-٠٢-٠٣",
        ] {
            assert_eq!(read_date(typed).as_deref(), Some("2025-02-03"), "{typed}");
        }
        for none in [
            "26/5/2017",
            "2017-13-06 EC",
            "2017-13-05-01 EC",
            "2017-14-01 EC",
            "2017-05-31 EC",
            "2017-00-01 EC",
            "2017 EC",
            "2081-10-31 BS",
            "1999-01-01 BS",
            "2087-01-01 BS",
            "9999999999999999999-01-01 EC",
            "EC",
            "",
            "17-05-26 EC",
            "2026-13",
            "2017-+5-26 EC",
        ] {
            assert_eq!(read_date(none), None, "{none}");
        }
        assert_eq!(
            read_date("2015-13-06 EC").as_deref(),
            Some("2023-09-11"),
            "a leap year"
        );
        assert_eq!(Calendar::Ethiopian.write("2025-02"), None);
    }

    #[test]
    fn numbers_are_read_in_any_script_and_thousands_are_not_guessed_at() {
        for (typed, expected) in [
            ("38,5", 38.5),
            ("٣٨٫٥", 38.5),
            ("३८.५", 38.5),
            ("๓๘.๕", 38.5),
            ("３８．５", 38.5),
            (" 12 ", 12.0),
            ("-1,25", -1.25),
        ] {
            assert_eq!(number(typed), Some(expected), "{typed}");
        }
        for none in ["1,000", "1,0.0", "1,2,3", "NaN", "inf", "", "four", "፫"] {
            assert_eq!(number(none), None, "{none}");
        }
    }
}
