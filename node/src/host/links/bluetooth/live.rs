//! With whom something is under way over Bluetooth: a connection that no channel uses any more is told
//! from one that is just being called.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bluer::Address;

use crate::host::links::Pipe;

/// A pipe at whose end something more is done.
pub(super) fn held(pipe: Pipe, after: impl FnOnce() + Send + 'static) -> Pipe {
    let cut = pipe.cut;
    Pipe {
        cut: Box::new(move || {
            cut();
            after();
        }),
        ..pipe
    }
}

/// Addresses with which something is under way, however often.
#[derive(Debug, Clone, Default)]
pub(super) struct Live(Arc<Mutex<BTreeMap<Address, usize>>>);

/// One of them; it is gone with this.
pub(super) struct Held(Live, Address);

impl Live {
    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Address, usize>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn hold(&self, address: Address) -> Held {
        *self.lock().entry(address).or_default() += 1;
        Held(self.clone(), address)
    }

    pub(super) fn has(&self, address: &Address) -> bool {
        self.lock().contains_key(address)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut live = self.0.lock();
        if let Some(count) = live.get_mut(&self.1) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                live.remove(&self.1);
            }
        }
    }
}
