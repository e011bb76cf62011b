//! How much a meeting may carry: cases always, bundles as far as the link and the time go.

use protocol::Now;

/// What kind of link two phones have (see the design's table of radios).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkClass {
    /// Any IP network: 1–20 MB/s and more.
    Ip,
    /// Bluetooth LE: 20–140 kB/s.
    Bluetooth,
    /// A folder or a card: no hurry.
    Folder,
}

/// What is left of a meeting for bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of bundles that may still be asked for.
    pub bundle_bytes: u64,
    /// When asking ends, in monotone milliseconds.
    pub until_ms: u64,
}

impl Budget {
    /// The budget of a fresh link. Bluetooth: what the median chance meeting of four minutes can move at 35 kB/s.
    pub fn new(class: LinkClass, now: Now) -> Self {
        let (bundle_bytes, minutes) = match class {
            LinkClass::Ip => (8 << 30, 30),
            LinkClass::Bluetooth => (8 << 20, 8),
            LinkClass::Folder => (u64::MAX, 24 * 60),
        };
        Self { bundle_bytes, until_ms: now.mono_ms.saturating_add(minutes * 60_000) }
    }

    /// Takes `bytes` for a wish, if they are there and there is time.
    pub fn take(&mut self, bytes: u64, now: Now) -> bool {
        if now.mono_ms >= self.until_ms || self.bundle_bytes < bytes {
            return false;
        }
        self.bundle_bytes -= bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_by_bytes_and_by_time() {
        let now = Now { mono_ms: 1000, wall_s: 0 };
        let mut budget = Budget::new(LinkClass::Bluetooth, now);
        assert!(budget.take(8 << 20, now));
        assert!(!budget.take(1, now));
        let mut budget = Budget::new(LinkClass::Bluetooth, now);
        assert!(!budget.take(1, now.plus_ms(8 * 60_000)));
    }
}
