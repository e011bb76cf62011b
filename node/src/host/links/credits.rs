//! Credit-based flow control over packets that may be dropped where they come too fast: what GATT
//! has not, and an L2CAP channel has.
//!
//! ```text
//! number u8 · credits u8 · payload        number: of this packet, counted round; credits: packets of
//!                                         the other that have been taken since the last word
//! ```
//! A packet with a payload uses a credit up, one without is free. A number out of its turn means that
//! something was lost: the link ends, and what goes over it finds another.

use std::collections::VecDeque;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::Later;

/// Packets under way each way.
const WINDOW: u8 = 16;
/// Bytes that wait between the packets and whoever reads or writes the stream.
const STREAM_BYTES: usize = 16 * 1024;
const HEAD_BYTES: usize = 2;

/// Something that carries whole packets, or loses them.
pub(super) trait Packets: Send + 'static {
    /// The most that one packet holds.
    fn most_bytes(&self) -> usize;
    /// Sends one.
    fn send<'a>(&'a mut self, packet: &'a [u8]) -> Later<'a, io::Result<()>>;
    /// Receives one. Given up half-way, it loses nothing.
    fn receive(&mut self) -> Later<'_, io::Result<Vec<u8>>>;
}

/// What one side knows of the flow.
#[derive(Debug)]
struct Flow {
    /// Packets that the other has room for.
    credits: u8,
    /// Packets taken of which the other has not been told.
    owed: u8,
    next: u8,
    awaited: u8,
}

impl Flow {
    fn new() -> Self {
        Self {
            credits: WINDOW,
            owed: 0,
            next: 0,
            awaited: 0,
        }
    }

    fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        let packet = [&[self.next, self.owed], payload].concat();
        self.next = self.next.wrapping_add(1);
        self.owed = 0;
        self.credits = self.credits.saturating_sub(u8::from(!payload.is_empty()));
        packet
    }

    /// What a packet carries; an error if it is not the one whose turn it is.
    fn take<'a>(&mut self, packet: &'a [u8]) -> io::Result<&'a [u8]> {
        let [number, credits, payload @ ..] = packet else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let most = WINDOW.saturating_sub(self.credits);
        if *number != self.awaited
            || *credits > most
            || (!payload.is_empty() && self.owed >= WINDOW)
        {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.awaited = self.awaited.wrapping_add(1);
        self.credits += credits;
        self.owed += u8::from(!payload.is_empty());
        Ok(payload)
    }
}

/// A byte stream over packets; it ends with them.
pub(super) fn stream(packets: impl Packets) -> DuplexStream {
    let (inside, outside) = tokio::io::duplex(STREAM_BYTES);
    tokio::spawn(async move {
        let _ = carry(packets, inside).await; // whoever holds the outside sees its end
    });
    outside
}

async fn carry(mut packets: impl Packets, inside: DuplexStream) -> io::Result<()> {
    let room = packets.most_bytes().saturating_sub(HEAD_BYTES).max(1);
    let (mut read, mut write) = tokio::io::split(inside);
    let mut flow = Flow::new();
    let (mut payload, mut open) = (vec![0; room], true);
    // What has come and has not been taken yet by who reads: at most a window of it.
    let mut waiting: VecDeque<Vec<u8>> = VecDeque::new();
    while open || !waiting.is_empty() {
        let first = waiting.front().cloned();
        tokio::select! {
            packet = packets.receive() => {
                let packet = packet?;
                let came = flow.take(&packet)?;
                if !came.is_empty() {
                    flow.owed -= 1; // it is owed once it has been taken
                    waiting.push_back(came.to_vec());
                }
                if waiting.len() > usize::from(WINDOW) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
            taken = async { write.write(first.as_deref().unwrap_or_default()).await }, if first.is_some() => {
                let taken = taken?;
                if let Some(front) = waiting.front_mut() {
                    front.drain(..taken.min(front.len()));
                    if front.is_empty() {
                        waiting.pop_front();
                        flow.owed += 1;
                    }
                }
            }
            bytes = read.read(&mut payload), if open && flow.credits > 0 => {
                let bytes = bytes?;
                if bytes == 0 {
                    open = false;
                    continue;
                }
                let packet = flow.packet(payload.get(..bytes).unwrap_or_default());
                packets.send(&packet).await?;
            }
        }
        if flow.owed >= WINDOW / 2 {
            let packet = flow.packet(&[]);
            packets.send(&packet).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    /// Packets over a queue that holds a window and no more, as a radio's does; it may lose one.
    struct Queue {
        to: mpsc::Sender<Vec<u8>>,
        from: mpsc::Receiver<Vec<u8>>,
        sent: usize,
        loses: Option<usize>,
        /// Packets that found no room.
        overran: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    }

    impl Packets for Queue {
        fn most_bytes(&self) -> usize {
            50
        }
        fn send<'a>(&'a mut self, packet: &'a [u8]) -> Later<'a, io::Result<()>> {
            Box::pin(async move {
                assert!(packet.len() <= 50);
                self.sent += 1;
                if self.loses != Some(self.sent) && self.to.try_send(packet.to_vec()).is_err() {
                    self.overran
                        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                tokio::task::yield_now().await;
                Ok(())
            })
        }
        fn receive(&mut self) -> Later<'_, io::Result<Vec<u8>>> {
            Box::pin(async move {
                self.from
                    .recv()
                    .await
                    .ok_or(io::ErrorKind::BrokenPipe.into())
            })
        }
    }

    fn pair(loses: Option<usize>) -> (Queue, Queue) {
        let room = usize::from(WINDOW) + 4; // and the free ones
        let ((to_b, from_a), (to_a, from_b)) = (mpsc::channel(room), mpsc::channel(room));
        let queue = |to, from, loses| Queue {
            to,
            from,
            sent: 0,
            loses,
            overran: Default::default(),
        };
        (queue(to_b, from_b, loses), queue(to_a, from_a, None))
    }

    #[tokio::test]
    async fn a_queue_that_holds_a_window_is_never_overrun_and_nothing_is_lost() {
        let (a, b) = pair(None);
        let overran = [a.overran.clone(), b.overran.clone()];
        let (a, b) = (stream(a), stream(b));
        let ((mut read_a, mut write_a), (mut read_b, mut write_b)) =
            (tokio::io::split(a), tokio::io::split(b));
        let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 249) as u8).collect();
        let (mut at_a, mut at_b) = (vec![0; bytes.len()], vec![0; bytes.len()]);
        let slow = async {
            for piece in at_b.chunks_mut(997) {
                read_b.read_exact(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (_, _, read, ()) = tokio::join!(
            write_a.write_all(&bytes),
            write_b.write_all(&bytes),
            read_a.read_exact(&mut at_a),
            slow
        );
        read.unwrap();
        assert!(at_a == bytes && at_b == bytes);
        assert!(
            overran
                .iter()
                .all(|o| o.load(std::sync::atomic::Ordering::Relaxed) == 0)
        );
    }

    #[tokio::test]
    async fn a_packet_that_is_lost_ends_the_link_and_nothing_wrong_is_read() {
        let (a, b) = pair(Some(7));
        let (mut a, mut b) = (stream(a), stream(b));
        let bytes: Vec<u8> = (0..9_000u32).map(|i| (i % 249) as u8).collect();
        let mut read = Vec::new();
        let _ = tokio::join!(a.write_all(&bytes), b.read_to_end(&mut read));
        assert_eq!(read.as_slice(), &bytes[..6 * 48]);
    }

    #[test]
    fn who_breaks_the_flow_is_not_listened_to() {
        for packet in [&[][..], &[0], &[1, 0, 5], &[0, 1, 5], &[0, 255]] {
            assert!(Flow::new().take(packet).is_err(), "{packet:?}");
        }
        let mut flow = Flow::new();
        for number in 0..WINDOW {
            flow.take(&[number, 0, 1]).unwrap();
        }
        assert!(flow.take(&[WINDOW, 0, 1]).is_err(), "more than the window");
    }
}
