//! Areas: where a release, a certificate or a space holds. A path from large to small, such as
//! `north/kilifi/mtwapa`.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::limits::{AREA_SEGMENT_CHARS_MAX, AREA_SEGMENTS_MAX};

/// A path of segments of `a–z 0–9 -`, joined by `/`. The empty path is the whole country.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Area(String);

/// A text that is no area.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an area: write up to 8 names of a–z, 0–9 and - joined by /, such as north/kilifi/mtwapa"
)]
pub struct AreaError(String);

impl serde::Serialize for Area {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Area {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl Area {
    /// Reads an area; `""`, `"/"` and `"all"` are the whole country.
    pub fn parse(text: &str) -> Result<Self, AreaError> {
        let trimmed = text.trim().trim_matches('/');
        if trimmed.is_empty() || trimmed == "all" {
            return Ok(Self::default());
        }
        let good = |s: &str| {
            !s.is_empty()
                && s.len() <= AREA_SEGMENT_CHARS_MAX
                && s.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let named_all = trimmed.split('/').next() == Some("all"); // it would pass for the country
        let segments = trimmed.split('/').count();
        if segments > AREA_SEGMENTS_MAX || named_all || !trimmed.split('/').all(good) {
            return Err(AreaError(text.chars().take(80).collect()));
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// The path as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `other` lies in this area or is it.
    pub fn covers(&self, other: &Area) -> bool {
        self.0.is_empty()
            || self == other
            || other
                .0
                .strip_prefix(&self.0)
                .is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether one of the two covers the other.
    pub fn meets(&self, other: &Area) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// This area and every one that encloses it, from small to large.
    pub fn upward(&self) -> impl Iterator<Item = Area> + '_ {
        let mut next = Some(self.0.as_str());
        std::iter::from_fn(move || {
            let here = next?;
            next = match here.rsplit_once('/') {
                Some((up, _)) => Some(up),
                None if here.is_empty() => None,
                None => Some(""),
            };
            crate::always!(next.is_none_or(|up| up.len() < here.len()));
            Some(Area(here.to_owned()))
        })
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "all" } else { &self.0 })
    }
}

impl<C> Encode<C> for Area {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        crate::always!(self.0.len() < AREA_SEGMENTS_MAX * (AREA_SEGMENT_CHARS_MAX + 1));
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Area {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let text = d.str()?;
        match Area::parse(text) {
            // One spelling only: signed bytes must not have two readings.
            Ok(area) if area.0 == text => Ok(area),
            _ => Err(minicbor::decode::Error::message("not an area")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(text: &str) -> Area {
        Area::parse(text).unwrap()
    }

    #[test]
    fn an_area_covers_what_lies_in_it_and_not_its_namesakes() {
        assert!(area("").covers(&area("north/kilifi")));
        assert!(area("north").covers(&area("north/kilifi")));
        assert!(!area("north").covers(&area("northern")));
        assert!(!area("north/kilifi").covers(&area("north")));
        assert!(area("north/kilifi").meets(&area("north")));
        assert!(!area("north/kilifi").meets(&area("north/kwale")));
    }

    #[test]
    fn upward_goes_to_the_whole_country() {
        let up: Vec<_> = area("a/b/c").upward().map(|a| a.to_string()).collect();
        assert_eq!(up, ["a/b/c", "a/b", "a", "all"]);
    }

    #[test]
    fn odd_spellings_are_refused() {
        for text in [
            "North",
            "a//b",
            "a/ü",
            "a/b/c/d/e/f/g/h/i",
            "../etc",
            "all/x",
        ] {
            assert!(Area::parse(text).is_err(), "{text}");
        }
    }
}
