//! Assertions: the invariants of the house, checked where they are kept.
//!
//! [`never!`](crate::never) names one of them. In tests and in their simulations it panics; in the
//! field it is an error that ends the meeting, takes back what the input wrote, and is logged.
//! [`always!`](crate::always) is a pair assertion: what one place has established and another relies
//! on. It is checked in tests and costs nothing in the field.
//!
//! Both are watched with the feature `controls`, which nothing but tests turn on.

/// Whether assertions panic: in tests and their simulations.
pub const WATCHED: bool = cfg!(feature = "controls");

/// The invariants of the house (`ARCHITECTURE.md`), by their numbers there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// Nothing is transmitted before what it claims is durable.
    SilentUntilDurable = 1,
    /// Nothing unverified is a fact.
    OnlyVerified = 2,
    /// Trust never goes back.
    TrustMonotone = 3,
    /// The same changes make the same case, whatever the order.
    SameCase = 4,
    /// The model never lowers what the rules say.
    RulesFirst = 5,
    /// A release runs only after threshold, whole digest and its own golden cases.
    TriedFirst = 6,
    /// Everything has a limit.
    Bounded = 7,
    /// A meeting may end at any byte.
    EndsAnywhere = 8,
    /// No patient word on the air, on a disk or in a log in clear.
    Sealed = 9,
    /// After healing, everyone converges.
    Converges = 10,
    /// What has no consent does not leave, what is erased stays erased.
    ConsentFirst = 11,
    /// Every rule looks at every case.
    EveryRuleLooks = 12,
}

/// An invariant that did not hold, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invariant {} did not hold ({file}:{line})", *invariant as u8)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// The source file that noticed.
    pub file: &'static str,
    /// Its line.
    pub line: u32,
}

/// What [`never!`](crate::never) does.
///
/// # Errors
/// `broken` is true.
#[expect(clippy::panic, reason = "in tests alone: it is what they look for")]
pub fn never(broken: bool, what: Broken) -> Result<(), Broken> {
    match broken {
        false => Ok(()),
        true if WATCHED => panic!("{what}"),
        true => Err(what),
    }
}

/// Asserts that an invariant is not broken: `never!(Invariant::Bounded, held > MAX)?`.
#[macro_export]
macro_rules! never {
    ($invariant:expr, $broken:expr $(,)?) => {
        $crate::invariant::never(
            $broken,
            $crate::invariant::Broken {
                invariant: $invariant,
                file: file!(),
                line: line!(),
            },
        )
    };
}

/// Asserts, in tests and their simulations, what another place has established.
#[macro_export]
macro_rules! always {
    ($holds:expr $(, $($said:tt)+)?) => {
        if $crate::invariant::WATCHED {
            assert!($holds $(, $($said)+)?);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_invariant_is_named_and_in_tests_it_panics() {
        assert_eq!(never!(Invariant::Bounded, 1 > 2), Ok(()));
        let broken = std::panic::catch_unwind(|| never!(Invariant::Bounded, 2 > 1));
        match (broken, WATCHED) {
            (Err(_), true) => {}
            (Ok(Err(broken)), false) => {
                assert_eq!(broken.invariant, Invariant::Bounded);
                assert!(broken.to_string().starts_with("invariant 7 did not hold"));
            }
            other => panic!("{other:?}"),
        }
        let pair = std::panic::catch_unwind(|| always!(2 < 1, "{}", 5));
        assert_eq!(pair.is_err(), WATCHED);
    }
}
