//! Dates and instants as text (RFC 3339, FHIR's `date` and `dateTime`), read and written without a
//! clock.

/// `YYYY-MM-DD`, `YYYY-MM` or `YYYY` (FHIR's `date`).
pub fn is_date(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let digits =
        |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let year = |part: &str| digits(part, 4) && part != "0000";
    let within = |part: &str, most: u32| {
        digits(part, 2) && part.parse::<u32>().is_ok_and(|n| (1..=most).contains(&n))
    };
    match parts.as_slice() {
        [y] => year(y),
        [y, month] => year(y) && within(month, 12),
        [y, month, day] => year(y) && within(month, 12) && within(day, days_in(y, month)),
        _ => false,
    }
}

/// Days of a month of the Gregorian calendar.
fn days_in(year: &str, month: &str) -> u32 {
    let year = year.parse::<u32>().unwrap_or(1);
    match month {
        "02" if year.is_multiple_of(4)
            && (!year.is_multiple_of(100) || year.is_multiple_of(400)) =>
        {
            29
        }
        "02" => 28,
        "04" | "06" | "09" | "11" => 30,
        _ => 31,
    }
}

/// A date, or an instant with its zone: `2026-11-24`, `2026-11-24T09:30:00Z`,
/// `2026-11-24T09:30:00+03:00` (FHIR's `dateTime`).
pub fn is_instant(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else {
        return is_date(text);
    };
    let two = |part: &str, most: u32| {
        part.len() == 2
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse::<u32>().is_ok_and(|n| n <= most)
    };
    let clock = |text: &str, parts: usize| {
        let read: Vec<_> = text.split(':').collect();
        read.len() == parts
            && read
                .iter()
                .zip([23, 59, 59])
                .all(|(part, most)| two(part, most))
    };
    let (time, zone) = match (time.strip_suffix('Z'), time.rsplit_once(['+', '-'])) {
        (Some(time), _) => (time, true),
        (None, Some((time, zone))) => (time, clock(zone, 2)),
        (None, None) => (time, false),
    };
    date.len() == 10 && is_date(date) && clock(time, 3) && zone
}

/// Year, month and day of the Gregorian calendar of a day of 1970's count, in eras of 400 years that begin in
/// March.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let date = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, date)
}

/// Seconds since 1970 as RFC 3339, in UTC; years beyond 9999 (a wrong clock) as the last second
/// that can be written.
pub fn instant(at_s: u64) -> String {
    let at_s = at_s.min(253_402_300_799);
    let (days, second) = ((at_s / 86_400) as i64, at_s % 86_400);
    let (year, month, date) = civil(days);
    let text = format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    );
    debug_assert!(is_instant(&text));
    debug_assert_eq!(
        seconds_of_date(text.get(..10).unwrap_or_default()),
        i64::try_from(at_s - second).ok()
    );
    text
}

/// The first second (UTC) of a day, `2026-11-24`, or of the middle of a month, `2026-11`; `None`
/// for a year alone. Below zero before 1970, when many who are alive were born.
pub fn seconds_of_date(date: &str) -> Option<i64> {
    let mut parts = date.split('-').map(str::parse::<i64>);
    let (year, month) = (parts.next()?.ok()?, parts.next()?.ok()?);
    let day = parts.next().unwrap_or(Ok(15)).ok()?;
    let known = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let year = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * from_march + 2) / 5 + day
            - 1;
    let days = era * 146_097 + day_of_era - 719_468;
    known.then_some(days * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_have_a_zone() {
        for good in [
            "2026-11-24",
            "2026-11-24T09:30:00Z",
            "2026-11-24T09:30:59+03:00",
            "2026-11-24T23:59:00-11:30",
        ] {
            assert!(is_instant(good), "{good}");
        }
        for bad in [
            "09:30",
            "2026-11-24T09:30:00",
            "2026-11-24T24:00:00Z",
            "2026-11T09:30:00Z",
            "2026-11-24T09:30Z",
            "",
            "T",
        ] {
            assert!(!is_instant(bad), "{bad}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for date in [
            "1970-01-01",
            "2000-02-29",
            "2025-12-20",
            "2026-03-01",
            "2100-02-28",
        ] {
            assert_eq!(
                instant(seconds_of_date(date).unwrap() as u64),
                format!("{date}T00:00:00Z")
            );
        }
        assert!(
            ["2026", "", "0000-01-01", "2026-13-01", "x-y"]
                .iter()
                .all(|date| seconds_of_date(date).is_none())
        );
        assert_eq!(seconds_of_date("1969-12-31"), Some(-86_400));
        assert_eq!(seconds_of_date("1960-01-01"), Some(-3653 * 86_400));
        assert_eq!(seconds_of_date("2025-12"), seconds_of_date("2025-12-15"));
    }

    #[test]
    fn instants_are_those_of_the_calendar() {
        let known = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_554_895, "2026-11-24T21:14:55Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ];
        for (at_s, text) in known {
            assert_eq!(instant(at_s), text);
        }
    }
}
