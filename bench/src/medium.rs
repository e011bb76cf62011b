//! A medium between phones' processes: a relay of UDP packets that holds them to a rate, delays
//! them and loses some, for measuring real links where the kernel has no netem. A packet counts
//! with its IP and UDP headers, as on a real link.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::failed;

use app::Failure;

/// Bytes of IPv4 and UDP headers around each packet.
const HEADERS_BYTES: usize = 28;
/// What waits at the slow link at most, as time and in bytes: as the buffers of a phone's radio,
/// neither none nor endless.
const QUEUE: Duration = Duration::from_millis(250);
const QUEUE_BYTES_MIN: f64 = 32.0 * 1024.0;

/// What a link is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Bytes that pass in a second.
    pub bytes_per_s: f64,
    /// How long each takes, one way.
    pub delay: Duration,
    /// Part of the packets that is lost.
    pub loss: f64,
    /// One medium for both directions and all paths (a radio channel), or two directions of their
    /// own.
    pub shared: bool,
}

/// One channel that carries one packet after another.
#[derive(Debug)]
struct Air {
    shape: Shape,
    free_at: Instant,
    rng: ChaCha8Rng,
}

impl Air {
    fn new(shape: Shape, seed: u64) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            shape,
            free_at: Instant::now(),
            rng: ChaCha8Rng::seed_from_u64(seed),
        }))
    }

    /// When a packet arrives, unless it is lost.
    fn carry(&mut self, bytes: usize) -> Option<Instant> {
        let now = Instant::now();
        self.free_at = self.free_at.max(now);
        let queue = QUEUE
            .as_secs_f64()
            .max(QUEUE_BYTES_MIN / self.shape.bytes_per_s);
        if (self.free_at - now).as_secs_f64() > queue {
            return None;
        }
        self.free_at +=
            Duration::from_secs_f64((bytes + HEADERS_BYTES) as f64 / self.shape.bytes_per_s);
        // What is lost in the air has taken its time in the air.
        (self.rng.random::<f64>() >= self.shape.loss).then(|| self.free_at + self.shape.delay)
    }
}

/// The medium; it ends with this value.
#[derive(Debug)]
pub struct Medium {
    runtime: Runtime,
    shape: Shape,
    shared: Arc<Mutex<Air>>,
    inward: Arc<AtomicU64>,
    paths: Mutex<BTreeMap<SocketAddr, Vec<AbortHandle>>>,
}

impl Medium {
    /// A medium of this shape.
    pub fn new(shape: Shape) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(failed)?;
        Ok(Self {
            runtime,
            shape,
            shared: Air::new(shape, 1),
            inward: Arc::default(),
            paths: Mutex::default(),
        })
    }

    /// From now on nothing passes on this path, either way.
    pub fn cut(&self, path: SocketAddr) {
        let ends = self
            .paths
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&path);
        ends.into_iter().flatten().for_each(|task| task.abort());
    }

    /// Bytes carried towards those who called, headers included.
    pub fn inward(&self) -> u64 {
        self.inward.load(Ordering::Relaxed)
    }

    /// Where a phone that sees the medium at `gateway` reaches `target` through it.
    pub fn path(&self, gateway: IpAddr, target: SocketAddr) -> Result<SocketAddr, Failure> {
        self.runtime.block_on(async {
            let near = Arc::new(UdpSocket::bind((gateway, 0)).await.map_err(failed)?);
            let far = Arc::new(UdpSocket::bind("0.0.0.0:0").await.map_err(failed)?);
            far.connect(target).await.map_err(failed)?;
            let address = near.local_addr().map_err(failed)?;
            let airs = match self.shape.shared {
                true => [self.shared.clone(), self.shared.clone()],
                false => [Air::new(self.shape, 2), Air::new(self.shape, 3)],
            };
            let [there, back] = airs;
            let caller = Arc::new(Mutex::new(None));
            let (outward, mut going) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
            let (inward, mut coming) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
            let (near_in, near_out, far_in, far_out) = (near.clone(), near, far.clone(), far);
            let known = caller.clone();
            let hear = tokio::spawn(async move {
                let mut room = [0; 2048];
                while let Ok((bytes, from)) = near_in.recv_from(&mut room).await {
                    *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
                    pass(&there, room.get(..bytes).unwrap_or_default(), &outward);
                }
            });
            let count = self.inward.clone();
            let answer = tokio::spawn(async move {
                let mut room = [0; 2048];
                loop {
                    match far_in.recv(&mut room).await {
                        Ok(bytes) => {
                            if pass(&back, room.get(..bytes).unwrap_or_default(), &inward) {
                                count.fetch_add((bytes + HEADERS_BYTES) as u64, Ordering::Relaxed);
                            }
                        }
                        Err(_) => tokio::time::sleep(Duration::from_millis(5)).await, // nobody listens there now
                    }
                }
            });
            tokio::spawn(async move {
                while let Some((at, bytes)) = going.recv().await {
                    tokio::time::sleep_until(at.into()).await;
                    let _ = far_out.send(&bytes).await;
                }
            });
            tokio::spawn(async move {
                while let Some((at, bytes)) = coming.recv().await {
                    tokio::time::sleep_until(at.into()).await;
                    let to = *caller.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(to) = to {
                        let _ = near_out.send_to(&bytes, to).await;
                    }
                }
            });
            let ends = vec![hear.abort_handle(), answer.abort_handle()];
            self.paths
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(address, ends);
            Ok(address)
        })
    }
}

fn pass(air: &Mutex<Air>, bytes: &[u8], to: &mpsc::UnboundedSender<(Instant, Vec<u8>)>) -> bool {
    let at = air
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .carry(bytes.len());
    at.is_some_and(|at| to.send((at, bytes.to_vec())).is_ok())
}
