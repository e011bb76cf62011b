//! The named defences against hostile peers and files, so that a test can show what each of them
//! stops.
//!
//! In every build that is shipped all of them stand: [`stands`] is `true`, and nothing can change
//! it. Only with the feature `controls`, which nothing but tests turn on, can a thread run with one
//! of them off: the same attack must then succeed, or the test of that defence proves nothing.

/// One defence; its name is that of the row it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Defence {
    /// A certificate carries the device's own signature over its sealing key.
    DeviceBinding,
    /// Any chain in force with the right makes a member, not the newest one.
    AnyChainInForce,
    /// A chain is identified by its signed bodies, and one under which something was written stays.
    ChainIdentity,
    /// Photos and releases lie in separate namespaces.
    Namespaces,
    /// Operations of a change are counted before Automerge sees them.
    CountedOperations,
    /// The author's signature is checked over the raw bytes of a change before they are unfolded.
    RawSignature,
    /// What brought the program down twice while it was being opened is parked.
    OpeningMark,
    /// A voucher never vouches for its own late envelopes, nor for notices, nor after its author
    /// was lost.
    Vouchers,
    /// A revocation is pending until a chain or a share shows that its area covers the phone.
    PendingRevocation,
    /// Budgets per author: bytes, envelopes, notices, photos, quarantine.
    AuthorBudgets,
    /// Budgets per issuer: chains, receipts.
    IssuerBudgets,
    /// Whoever shows no certificate in force is told trust only, within small budgets.
    Strangers,
    /// Another copy exists only where a certified phone has served it, or a keeper has said so.
    ProvenCopies,
    /// Erasing a space's history takes a delay, or two keepers.
    TwoKeepers,
    /// Work that one frame can ask for is bounded.
    BoundedWork,
    /// A limit that cuts a list takes turns, and releases go before photos.
    Turns,
    /// An envelope of an author who is not known is passed over instead of ending the meeting.
    PassedOver,
    /// Calls that beacons bring about are few, and fewer to phones that nobody here knows.
    FewCalls,
    /// That two cases are one patient's counts for both, whichever says it.
    LinksBothWays,
}

#[cfg(feature = "controls")]
mod switch {
    use std::cell::Cell;

    use super::Defence;

    // Each of them has a bit: the last one named, and so all.
    const _: () = assert!((Defence::LinksBothWays as u32) < u64::BITS);

    thread_local! {
        static OFF: Cell<u64> = const { Cell::new(0) };
    }

    /// Whether a defence stands on this thread.
    pub fn stands(defence: Defence) -> bool {
        OFF.get() & (1 << defence as u8) == 0
    }

    /// Runs `work` on this thread with one defence off.
    pub fn without<T>(defence: Defence, work: impl FnOnce() -> T) -> T {
        struct Back(u64);
        impl Drop for Back {
            fn drop(&mut self) {
                OFF.set(self.0);
            }
        }
        let before = Back(OFF.get());
        OFF.set(before.0 | (1 << defence as u8));
        work()
    }
}

#[cfg(feature = "controls")]
pub use switch::{stands, without};

/// Whether a defence stands: always, outside the tests that show what it stops.
#[cfg(not(feature = "controls"))]
#[inline(always)]
pub const fn stands(_: Defence) -> bool {
    true
}
