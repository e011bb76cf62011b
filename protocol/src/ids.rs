//! Names of things: fixed-length byte strings, shown in lowercase hexadecimal.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Decoder, Encode, Encoder};

/// A text that should have been an id and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}: expected {digits} hexadecimal digits")]
pub struct IdError {
    kind: &'static str,
    text: String,
    digits: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        // Eight digits name it for people.
        const _: () = assert!(2 * size_of::<$name>() >= 8);

        impl $name {
            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// The id in `bytes`, if they are of the right number.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The first eight digits, for people.
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(8);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                data_encoding::HEXLOWER_PERMISSIVE
                    .decode(text.trim().as_bytes())
                    .ok()
                    .and_then(|bytes| Self::from_slice(&bytes))
                    .inspect(|id| crate::always!(id.to_string().eq_ignore_ascii_case(text.trim())))
                    .ok_or_else(|| IdError { kind: $kind, text: text.to_owned(), digits: 2 * $bytes })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let bytes = d.bytes()?;
                Self::from_slice(bytes)
                    .ok_or_else(|| minicbor::decode::Error::message(concat!("wrong length of ", $kind)))
            }
        }
    };
}

id!(
    /// A phone, or any other device: its Ed25519 public key, which is also its iroh endpoint id. A
    /// ministry's keys are named the same way.
    DeviceId, 32, "a device id"
);
id!(
    /// A BLAKE3 digest of some bytes.
    Digest, 32, "a digest"
);
id!(
    /// A sealed change: the BLAKE3 digest of the whole envelope.
    EnvelopeId, 32, "an envelope id"
);
id!(
    /// A case. Random, and unique across sites (WHO smart-dak-ccc NFX 038).
    CaseId, 16, "a case id"
);
id!(
    /// What stands for a case on the outside of an envelope: a keyed hash of its id, so that a
    /// courier can group without knowing.
    CaseTag, 16, "a case tag"
);
id!(
    /// A team's or facility's set of cases, named after its area.
    SpaceId, 8, "a space id"
);

id!(
    /// A certificate chain: a digest of its signed bodies, whoever's signatures it carries beside
    /// those that it needs.
    ChainId, 32, "a chain id"
);

/// What a bundle is. Each kind is a namespace of its own: what is said of one never touches the
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum BundleKind {
    /// The bytes of a release, or of a delta that leads to one: named in a list that the ministry
    /// has signed.
    Release = 0,
    /// A sealed photo: named in a notice of whoever took it.
    Photo = 1,
}

// In every order, and in the first byte of a name.
const _: () = assert!((BundleKind::Release as u8) < BundleKind::Photo as u8);

/// The name of a bundle: what it is, and the digest of its bytes. Releases come before photos in
/// every order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    /// Its namespace.
    pub kind: BundleKind,
    /// The digest of its bytes.
    pub digest: Digest,
}

impl BundleId {
    /// A release's, or a delta's.
    pub fn release(digest: Digest) -> Self {
        Self {
            kind: BundleKind::Release,
            digest,
        }
    }

    /// A sealed photo's.
    pub fn photo(digest: Digest) -> Self {
        Self {
            kind: if crate::defence::stands(crate::Defence::Namespaces) {
                BundleKind::Photo
            } else {
                BundleKind::Release
            },
            digest,
        }
    }

    /// The first eight digits of its digest, for people.
    pub fn short(&self) -> String {
        self.digest.short()
    }
}

impl fmt::Debug for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.kind, self.short())
    }
}

impl<C> Encode<C> for BundleId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let mut bytes = [self.kind as u8; 33];
        bytes[1..].copy_from_slice(&self.digest.0);
        e.bytes(&bytes)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for BundleId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let wrong = || minicbor::decode::Error::message("no name of a bundle");
        let (kind, digest) = d.bytes()?.split_first().ok_or_else(wrong)?;
        let kind = [BundleKind::Release, BundleKind::Photo]
            .into_iter()
            .find(|k| *k as u8 == *kind)
            .ok_or_else(wrong)?;
        Ok(Self {
            kind,
            digest: Digest::from_slice(digest).ok_or_else(wrong)?,
        })
    }
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of all that a reader gives, however much that is.
    pub fn of_reader(reader: &mut impl std::io::Read) -> std::io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(reader)?;
        Ok(Self(*hasher.finalize().as_bytes()))
    }
}

impl SpaceId {
    /// The space of an area. The name does not reveal nor need to hide the area: couriers sort by
    /// it.
    pub fn of(area: &crate::Area) -> Self {
        let hash = blake3::derive_key("kijiti 2026-11 space id", area.as_str().as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        Self(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_a_wrong_one_says_what_was_expected() {
        let id = CaseId([0xab; 16]);
        assert_eq!(id.to_string().parse::<CaseId>().unwrap(), id);
        let error = "abc".parse::<CaseId>().unwrap_err().to_string();
        assert!(error.contains("32 hexadecimal digits"), "{error}");
    }
}
