//! Times as other systems write them: FHIR's `dateTime` and `instant`, and what is near enough to them to be
//! meant (`+0300`, no seconds, parts of a second). By them words are ordered and doses known again.

use clinical::date::is_date;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;
/// The hours by which a clock without a zone may be elsewhere: zones reach from -12 to +14.
const ZONES_MS: i64 = 14 * 3_600_000;

/// When something was, as exactly as it is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Its beginning, in milliseconds; only the order matters.
    pub from_ms: i64,
    /// Its end: the same where an instant is said, and the end of the day, month or year where less is.
    pub to_ms: i64,
    /// The same as FHIR writes it (R4, `dateTime`), without parts of a second.
    pub written: String,
}

impl Moment {
    /// Whether all of it is before an instant.
    pub fn is_before(&self, ms: i64) -> bool {
        self.from_ms < ms && self.to_ms <= ms
    }

    /// Whether an instant is said.
    pub fn is_exact(&self) -> bool {
        self.from_ms == self.to_ms
    }
}

/// Reads a time; `None`: it says none.
pub fn moment(text: &str) -> Option<Moment> {
    let text = text.trim();
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time.trim())),
        None => (text, None),
    };
    if !is_date(date) {
        return None;
    }
    let (from_ms, to_ms) = days_of(date)?;
    let (from_ms, to_ms) = (from_ms * DAY_MS, to_ms * DAY_MS);
    protocol::always!(from_ms + DAY_MS <= to_ms, "a day at least");
    let Some(time) = time else {
        let written = date.to_owned();
        return Some(Moment {
            from_ms,
            to_ms,
            written,
        });
    };
    let (clock_ms, clock, zone) = clock_of(time).filter(|_| date.len() == 10)?;
    let at_ms = from_ms + clock_ms;
    Some(match zone {
        Some((minutes, zone)) => Moment {
            from_ms: at_ms - minutes * 60_000,
            to_ms: at_ms - minutes * 60_000,
            written: format!("{date}T{clock}{zone}"),
        },
        None => Moment {
            from_ms: at_ms - ZONES_MS,
            to_ms: at_ms + ZONES_MS,
            written: date.to_owned(),
        },
    })
}

/// A zone: minutes east, and as it is written.
type Zone = (i64, String);

/// A time of day: its milliseconds, as `hh:mm:ss`, and its zone, in minutes east and as it is written.
fn clock_of(time: &str) -> Option<(i64, String, Option<Zone>)> {
    let (clock, zone) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => {
            let (clock, zone) = time.split_at_checked(at)?;
            (clock.trim(), Some(zone_of(zone.trim())?))
        }
        None => (time, None),
    };
    let (whole, parts) = clock.split_once(['.', ',']).unwrap_or((clock, ""));
    let mut read = whole.split(':').map(|part| two(part, 59));
    let (hour, minute) = (read.next()??, read.next()??);
    let second = read.next().unwrap_or(Some(0))?;
    if read.next().is_some() || hour > 23 || !parts.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: String = parts.chars().chain("000".chars()).take(3).collect();
    let ms = ((hour * 60 + minute) * 60 + second) * 1000 + thousandths.parse::<i64>().ok()?;
    protocol::always!((0..DAY_MS).contains(&ms));
    Some((ms, format!("{hour:02}:{minute:02}:{second:02}"), zone))
}

/// `Z`, `+03:00`, `+0300` or `+03`.
fn zone_of(zone: &str) -> Option<Zone> {
    if matches!(zone, "Z" | "z") {
        return Some((0, "Z".to_owned()));
    }
    let (sign, rest) = zone.split_at_checked(1)?;
    let (hours, minutes) = match rest.len() {
        2 => (rest, "00"),
        4 => rest.split_at_checked(2)?,
        _ => rest.split_once(':')?,
    };
    let (hours, minutes) = (two(hours, 14)?, two(minutes, 59)?);
    let east = if sign == "-" { -1 } else { 1 };
    let written = format!("{sign}{hours:02}:{minutes:02}");
    Some((east * (hours * 60 + minutes), written))
}

/// Two digits.
fn two(part: &str, most: i64) -> Option<i64> {
    let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    part.parse().ok().filter(|n| digits && *n <= most)
}

/// The first day of a date and the day after its last, counted since the year nought by the civil calendar.
fn days_of(date: &str) -> Option<(i64, i64)> {
    let mut parts = date.split('-').map(|part| part.parse::<i64>().ok());
    let year = parts.next()??;
    let (month, day) = (parts.next().flatten(), parts.next().flatten());
    let (y, m) = (year, month.unwrap_or(1));
    let first = days(y, m, day.unwrap_or(1));
    let behind = match (month, day) {
        (_, Some(_)) => first + 1,
        (Some(12) | None, None) => days(y + 1, 1, 1),
        (Some(month), None) => days(y, month + 1, 1),
    };
    protocol::always!(first < behind);
    Some((first, behind))
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_the_same_however_it_is_written() {
        let z = moment("2026-11-20T10:00:00Z").unwrap();
        assert!(z.is_exact());
        for text in [
            "2026-11-20T13:00:00+03:00",
            "2026-11-20T13:00:00+0300",
            "2026-11-20T13:00+03",
            "2026-11-20T10:00:00.000Z",
            "2026-11-20T10:00Z",
            "2026-11-20 10:00:00Z",
            "2026-11-20T04:30:00-05:30",
        ] {
            let read = moment(text).unwrap();
            assert_eq!((read.from_ms, read.to_ms), (z.from_ms, z.to_ms), "{text}");
            assert!(
                clinical::date::is_instant(&read.written),
                "{}",
                read.written
            );
        }
        let parts = moment("2026-11-20T10:00:00.25Z").unwrap();
        assert_eq!(parts.from_ms - z.from_ms, 250);
        for text in [
            "",
            "soon",
            "2026-02-30",
            "2026-11-20T24:00:00Z",
            "2026-11-20T10Z",
            "2026-11T10:00:00Z",
            "2026-11-20T10:00:00+99:00",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_said_less_exactly_lasts_as_long_as_it_may() {
        let noon = moment("2024-02-29T12:00:00Z").unwrap().from_ms;
        for (text, days) in [("2024-02-29", 1), ("2024-02", 29), ("2024", 366)] {
            let read = moment(text).unwrap();
            assert_eq!((read.to_ms - read.from_ms) / DAY_MS, days, "{text}");
            assert!((read.from_ms..read.to_ms).contains(&noon) && !read.is_exact());
        }
        let nowhere = moment("2024-02-29T12:00:00").unwrap();
        assert!(nowhere.from_ms < noon && noon < nowhere.to_ms);
        assert_eq!(nowhere.written, "2024-02-29");
    }
}
