//! Threads that wait for work by spinning a while, since a small product takes less time than waking
//! one. Chunks are taken from a counter, so that the slow cores of a phone take fewer.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Turns that a thread waits before it sleeps.
const SPINS: usize = 20_000;

/// Work that is lent: what to do with each number, as an address, while [`Pool::each`] waits.
#[derive(Clone, Copy)]
struct Lent {
    work: *const (dyn Fn(usize) + Sync),
    count: usize,
}

// SAFETY: the work is `Sync`, and `Pool::each` does not return before nobody has it any more.
#[allow(
    unsafe_code,
    reason = "what the caller holds is lent to threads that live longer"
)]
unsafe impl Send for Lent {}

#[derive(Default)]
struct State {
    round: usize,
    lent: Option<Lent>,
    ended: bool,
}

struct Inner {
    state: Mutex<State>,
    wake: Condvar,
    /// Counts up with each piece of work; read without the lock while spinning.
    round: AtomicUsize,
    /// The next number.
    next: AtomicUsize,
    /// Threads that have not finished this round.
    busy: AtomicUsize,
}

/// Threads for products.
pub struct Pool {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
    /// One piece of work at a time.
    turn: Mutex<()>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({} threads)", self.threads.len() + 1)
    }
}

impl Pool {
    /// With so many threads in all, the caller's among them.
    pub fn new(threads: usize) -> Self {
        let inner = Arc::new(Inner {
            state: Mutex::default(),
            wake: Condvar::new(),
            round: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
        });
        let start = |_| {
            let inner = Arc::clone(&inner);
            std::thread::spawn(move || serve(&inner))
        };
        let threads = (1..threads.clamp(1, 64)).map(start).collect();
        Self {
            inner,
            threads,
            turn: Mutex::new(()),
        }
    }

    /// Does `work` with each number below `count`, on all threads; returns when all are done.
    pub(crate) fn each(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.next.store(0, Ordering::Relaxed);
        self.inner.busy.store(self.threads.len(), Ordering::Relaxed);
        {
            let mut state = self
                .inner
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // SAFETY: only the lifetime changes; this function waits for everybody below.
            #[allow(unsafe_code, reason = "lent until this function returns")]
            let work: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(work) };
            state.lent = Some(Lent { work, count });
            state.round += 1;
            self.inner.round.store(state.round, Ordering::Release);
        }
        self.inner.wake.notify_all();
        // Waits even where `work` panics here: nobody has it any more when this function is left.
        let _wait = Wait(&self.inner);
        take(&self.inner, count, work);
    }
}

/// Waits, when it is dropped, until every thread has finished.
struct Wait<'a>(&'a Inner);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        while self.0.busy.load(Ordering::Acquire) > 0 {
            std::hint::spin_loop();
        }
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).lent = None;
    }
}

fn take(inner: &Inner, count: usize, work: &(dyn Fn(usize) + Sync)) {
    loop {
        let next = inner.next.fetch_add(1, Ordering::Relaxed);
        if next >= count {
            break;
        }
        work(next);
    }
}

/// Says that a thread has finished, whatever happened in it.
struct Finished<'a>(&'a Inner);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Release);
    }
}

fn serve(inner: &Inner) {
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while inner.round.load(Ordering::Acquire) == seen && spins < SPINS {
            std::hint::spin_loop();
            spins += 1;
        }
        let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.round == seen && !state.ended {
            state = inner
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.ended {
            return;
        }
        seen = state.round;
        let lent = state.lent;
        drop(state);
        let _finished = Finished(inner);
        if let Some(Lent { work, count }) = lent {
            // SAFETY: lent until `each` is left, which waits for `busy` to be 0.
            #[allow(
                unsafe_code,
                reason = "lent until this thread says that it has finished"
            )]
            let work = unsafe { &*work };
            // What panics here is lost, and not the thread with it: the caller would wait for ever.
            let _ = catch_unwind(AssertUnwindSafe(|| take(inner, count, work)));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ended = true;
        self.inner.round.fetch_add(1, Ordering::Release);
        self.inner.wake.notify_all();
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// A product's output, of which every thread writes parts of its own.
pub(crate) struct Shared<'a> {
    out: *mut f32,
    count: usize,
    of: PhantomData<&'a mut [f32]>,
}

// SAFETY: no two tiles write the same number, and nobody reads before all are done.
#[allow(unsafe_code, reason = "every tile writes columns of its own")]
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(out: &'a mut [f32]) -> Self {
        Self {
            out: out.as_mut_ptr(),
            count: out.len(),
            of: PhantomData,
        }
    }

    /// Writes some numbers from `at` on; nothing beyond the end.
    #[allow(unsafe_code, reason = "within the output, and in columns of this tile")]
    pub(crate) fn put(&self, at: usize, numbers: &[f32]) {
        if at
            .checked_add(numbers.len())
            .is_some_and(|end| end <= self.count)
        {
            // SAFETY: within the output; `multiply` gives each tile to one thread.
            unsafe {
                std::ptr::copy_nonoverlapping(numbers.as_ptr(), self.out.add(at), numbers.len())
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_panics_leaves_the_pool_as_it_was() {
        let pool = Pool::new(3);
        for _ in 0..20 {
            let panics = || pool.each(8, &|n| assert!(n != 5, "on purpose"));
            let _ = catch_unwind(AssertUnwindSafe(panics));
            let sum = AtomicUsize::new(0);
            pool.each(100, &|n| {
                sum.fetch_add(n, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    }
}
