//! Time as a value. Nobody here reads a clock, and nobody trusts one.

/// What a phone's clocks say at one moment. `mono` never runs backwards while the program runs;
/// `wall` is a claim and never an authority (phones are found set to 1970 and to 2100).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Now {
    /// Milliseconds since some start, monotone.
    pub mono_ms: u64,
    /// Seconds since 1970-01-01 UTC by this phone's own reckoning.
    pub wall_s: u64,
}

impl Now {
    /// The moment `ms` milliseconds later, by both clocks.
    pub fn plus_ms(self, ms: u64) -> Self {
        let later = Self {
            mono_ms: self.mono_ms.saturating_add(ms),
            wall_s: self.wall_s.saturating_add(ms / 1000),
        };
        crate::always!(later.mono_ms >= self.mono_ms && later.wall_s >= self.wall_s);
        later
    }
}

/// When the agent wants to be woken, and why (for logs and for the simulator's trace).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// Monotone milliseconds, as in [`Now::mono_ms`].
    pub at_ms: u64,
    /// A short reason.
    pub why: &'static str,
}
