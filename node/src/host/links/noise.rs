//! Noise (revision 34) over an ordered byte stream that proves nothing itself, such as a Bluetooth
//! channel: `Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s`.
//!
//! ```text
//! psk                 the ministry's discovery key: who has it not hears nothing, not even noise of ours
//! messages 2 and 3    carry  device id 32 · Ed25519 by it, of the speaker's static key and side, 64
//! every message       length u16 big-endian · that many bytes
//! an empty one        nothing more comes; the other side says so too
//! ```
//! The static keys live for one link. Binding them by a signature is what libp2p's Noise does, and
//! its reasons hold here. Whether this or QUIC over the channel: `DECISIONS.md`, measured by
//! `rigs/radio`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use protocol::{DeviceId, DeviceKeys, keys};
use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::Notify;

use super::{Later, Pipe, Sender};

const PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s";
const DOMAIN: &str = "kijiti link";
/// Who this is, and its signature.
const PROOF_BYTES: usize = 32 + 64;
/// Of a message of the handshake: two keys, a proof and tags, and nothing else.
const HANDSHAKE_BYTES_MAX: usize = 256;
/// What one message carries: little waits for a whole one, and four of them, sealed, fill a packet of the
/// radio (16 KiB): a rest costs as much of its time as a whole packet.
const PLAIN_BYTES_MAX: usize = 4096 - 2 - TAG_BYTES;
const TAG_BYTES: usize = 16;
/// Of a message that comes: what earlier phones sent.
const SEALED_BYTES_MAX: usize = 4096 + TAG_BYTES;
/// Milliseconds that a handshake may take, on the slowest channel.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

fn refused(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why.to_string())
}

/// Makes a pipe of a stream: both sides prove who they are. An error where the other is no phone of
/// the ministry whose key this is, or takes too long.
pub async fn secure(
    stream: impl Stream,
    dialed: bool,
    keys: &DeviceKeys,
    ministry: &[u8; 32],
) -> io::Result<Pipe> {
    let shaken = tokio::time::timeout(HANDSHAKE, shake(stream, dialed, keys, ministry));
    let (peer, stream, state) = shaken
        .await
        .map_err(|_| refused("no greeting came in time"))??;
    let (read, write) = tokio::io::split(stream);
    let (state, over) = (Arc::new(state), Arc::new(Notify::new()));
    Ok(Pipe {
        peer,
        sender: Box::new(Sealer {
            state: state.clone(),
            nonce: 0,
            write,
            over: over.clone(),
        }),
        receiver: Box::new(Opener {
            state,
            nonce: 0,
            read,
            over,
            sealed: Vec::new(),
            wanted: 2,
            plain: Vec::new(),
            given: 0,
            ended: false,
        }),
        cut: Box::new(|| {}), // both halves gone, the stream is
    })
}

async fn shake<S: Stream>(
    mut stream: S,
    dialed: bool,
    keys: &DeviceKeys,
    ministry: &[u8; 32],
) -> io::Result<(DeviceId, S, StatelessTransportState)> {
    let pattern = PATTERN.parse().map_err(refused)?;
    let builder = Builder::new(pattern);
    let own = builder.generate_keypair().map_err(refused)?;
    let builder = builder.local_private_key(&own.private).map_err(refused)?;
    let builder = builder.psk(0, ministry).map_err(refused)?;
    let mut state = match dialed {
        true => builder.build_initiator(),
        false => builder.build_responder(),
    }
    .map_err(refused)?;
    let proof = proof(keys, &own.public, dialed);
    let mut peer = None;
    for message in 0..3 {
        if (message % 2 == 0) == dialed {
            let proof = if message == 0 { &[][..] } else { &proof };
            say(&mut state, &mut stream, proof).await?;
        } else {
            let said = hear(&mut state, &mut stream).await?;
            if message > 0 {
                let key = state.get_remote_static();
                let key = key.ok_or_else(|| refused("no key"))?;
                peer = Some(proved(&said, key, !dialed)?);
            }
        }
    }
    let peer = peer.ok_or_else(|| refused("it did not say who it is"))?;
    let state = state.into_stateless_transport_mode().map_err(refused)?;
    Ok((peer, stream, state))
}

/// The caller's and the called one's keys are signed apart, so that neither's word serves as the other's.
fn signed(key: &[u8], dialed: bool) -> Vec<u8> {
    [key, &[u8::from(dialed)]].concat()
}

fn proof(keys: &DeviceKeys, key: &[u8], dialed: bool) -> Vec<u8> {
    let signature = keys.sign(DOMAIN, &signed(key, dialed));
    [keys.id().as_bytes().as_slice(), &signature].concat()
}

fn proved(said: &[u8], key: &[u8], dialed: bool) -> io::Result<DeviceId> {
    let (id, signature) = said
        .split_first_chunk::<32>()
        .filter(|_| said.len() == PROOF_BYTES)
        .ok_or_else(|| refused("a proof of another form"))?;
    let (id, signature) = (DeviceId(*id), signature.first_chunk::<64>());
    let holds = signature
        .is_some_and(|signature| keys::verify(&id, DOMAIN, &signed(key, dialed), signature));
    holds
        .then_some(id)
        .ok_or_else(|| refused("it is not who it says"))
}

async fn say(state: &mut HandshakeState, stream: &mut impl Stream, said: &[u8]) -> io::Result<()> {
    let mut message = [0; HANDSHAKE_BYTES_MAX];
    let length = state.write_message(said, &mut message).map_err(refused)?;
    let head = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let body = message.get(..length).unwrap_or_default();
    stream.write_all(&[&head, body].concat()).await?;
    stream.flush().await
}

async fn hear(state: &mut HandshakeState, stream: &mut impl Stream) -> io::Result<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let length = usize::from(u16::from_be_bytes(head));
    if length > HANDSHAKE_BYTES_MAX {
        return Err(refused("a greeting of another form"));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    let mut said = vec![0; HANDSHAKE_BYTES_MAX];
    let length = state.read_message(&message, &mut said).map_err(refused)?;
    said.truncate(length);
    Ok(said)
}

struct Sealer<S> {
    state: Arc<StatelessTransportState>,
    nonce: u64,
    write: WriteHalf<S>,
    /// The other side has said that nothing more comes.
    over: Arc<Notify>,
}

impl<S: Stream> Sealer<S> {
    fn seal(&mut self, plain: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
        let length = plain.len() + TAG_BYTES;
        let head = u16::try_from(length).map_err(refused)?.to_be_bytes();
        into.extend_from_slice(&head);
        let begin = into.len();
        into.resize(begin + length, 0);
        let room = into.get_mut(begin..).unwrap_or_default();
        let sealed = self.state.write_message(self.nonce, plain, room);
        sealed.map_err(refused)?;
        self.nonce += 1;
        Ok(())
    }
}

impl<S: Stream> Sender for Sealer<S> {
    fn send(&mut self, bytes: Vec<u8>) -> Later<'_, io::Result<()>> {
        Box::pin(async move {
            let mut sealed = Vec::with_capacity(bytes.len() + 64);
            for plain in bytes.chunks(PLAIN_BYTES_MAX) {
                self.seal(plain, &mut sealed)?;
            }
            self.write.write_all(&sealed).await?;
            self.write.flush().await
        })
    }

    fn finish(&mut self) -> Later<'_, ()> {
        Box::pin(async move {
            let mut sealed = Vec::new();
            let said = self.seal(&[], &mut sealed).is_ok()
                && self.write.write_all(&sealed).await.is_ok()
                && self.write.flush().await.is_ok();
            if said {
                self.over.notified().await; // a channel that is closed forgets what it has not sent
            }
        })
    }
}

struct Opener<S> {
    state: Arc<StatelessTransportState>,
    nonce: u64,
    read: ReadHalf<S>,
    over: Arc<Notify>,
    /// Of the message that is coming: its length first.
    sealed: Vec<u8>,
    wanted: usize,
    plain: Vec<u8>,
    given: usize,
    ended: bool,
}

impl<S: Stream> Opener<S> {
    /// Reads until as much is there as is wanted.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sealed.len() < self.wanted {
            let mut space = [0; PLAIN_BYTES_MAX];
            let room = (self.wanted - self.sealed.len()).min(space.len());
            let mut buffer = ReadBuf::new(space.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(&mut self.read).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.sealed.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(()))
    }

    /// The next message, opened; `false` after the last.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        ready!(self.poll_fill(cx))?;
        if let [high, low] = *self.sealed.as_slice() {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if !(TAG_BYTES..=SEALED_BYTES_MAX).contains(&length) {
                return Poll::Ready(Err(refused("a message of another form")));
            }
            self.wanted = 2 + length;
            ready!(self.poll_fill(cx))?;
        }
        let message = self.sealed.get(2..).unwrap_or_default();
        self.plain
            .resize(message.len().saturating_sub(TAG_BYTES), 0);
        let opened = self
            .state
            .read_message(self.nonce, message, &mut self.plain);
        let length = opened.map_err(|_| refused("a message that was changed on its way"))?;
        self.plain.truncate(length);
        self.nonce += 1;
        self.sealed.clear();
        (self.wanted, self.given) = (2, 0);
        Poll::Ready(Ok(length > 0))
    }
}

impl<S: Stream> AsyncRead for Opener<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.given == this.plain.len() && !this.ended {
            match ready!(this.poll_open(cx)) {
                Ok(true) => {}
                Ok(false) => this.ended = true,
                Err(error) => {
                    this.over.notify_one();
                    return Poll::Ready(Err(error));
                }
            }
        }
        if this.ended {
            this.over.notify_one();
            return Poll::Ready(Ok(()));
        }
        let rest = this.plain.get(this.given..).unwrap_or_default();
        let part = rest.get(..rest.len().min(buffer.remaining()));
        let part = part.unwrap_or_default();
        buffer.put_slice(part);
        this.given += part.len();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    const MINISTRY: [u8; 32] = [5; 32];

    fn keys(n: u8) -> DeviceKeys {
        DeviceKeys::from_seed([n; 32])
    }

    async fn both(a: DuplexStream, b: DuplexStream) -> (io::Result<Pipe>, io::Result<Pipe>) {
        let (one, two) = (keys(1), keys(2));
        tokio::join!(
            secure(a, true, &one, &MINISTRY),
            secure(b, false, &two, &MINISTRY)
        )
    }

    async fn passes(pipe: &mut Pipe, other: &mut Pipe, bytes: &[u8]) {
        let mut heard = vec![0; bytes.len()];
        let (said, read) = tokio::join!(
            pipe.sender.send(bytes.to_vec()),
            other.receiver.read_exact(&mut heard)
        );
        said.unwrap();
        read.unwrap();
        assert!(heard == bytes);
    }

    #[tokio::test]
    async fn both_learn_who_the_other_is_and_bytes_pass_both_ways_to_the_last() {
        let (a, b) = duplex(700);
        let (a, b) = both(a, b).await;
        let (mut a, mut b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.peer, b.peer), (keys(2).id(), keys(1).id()));
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        passes(&mut a, &mut b, &bytes).await;
        passes(&mut b, &mut a, &bytes[..1]).await;
        let mut rest = Vec::new();
        let reads = async { b.receiver.read_to_end(&mut rest).await };
        let ends = async {
            a.sender.send(vec![7; 9]).await.unwrap();
            a.sender.finish().await;
        };
        let other = async { tokio::join!(reads, b.sender.finish()).0 };
        let mut nothing = Vec::new();
        let (_, read, _) = tokio::join!(ends, other, a.receiver.read_to_end(&mut nothing));
        assert_eq!((read.unwrap(), rest, nothing.len()), (9, vec![7; 9], 0));
    }

    /// Whoever has not the ministry's key learns nothing of who is there.
    #[tokio::test]
    async fn a_stranger_hears_nothing_of_who_is_there() {
        let (a, b) = duplex(4096);
        let (one, two) = (keys(1), keys(2));
        let stranger = secure(a, true, &one, &[6; 32]);
        let (stranger, phone) = tokio::join!(stranger, secure(b, false, &two, &MINISTRY));
        assert!(stranger.is_err() && phone.is_err());
        let (mut a, b) = duplex(4096);
        let phone = tokio::spawn(async move { secure(b, false, &keys(2), &MINISTRY).await.err() });
        a.write_all(&[0, 48]).await.unwrap();
        a.write_all(&[9; 48]).await.unwrap();
        let mut heard = Vec::new();
        let _ = a.read_to_end(&mut heard).await;
        assert_eq!(heard, Vec::<u8>::new());
        assert!(phone.await.unwrap().is_some());
    }

    /// A phone in the middle, of the same ministry, cannot pass for another: what it passes on of
    /// that one's proof is of another key.
    #[test]
    fn a_proof_counts_for_its_own_key_and_side_only() {
        let said = proof(&keys(1), &[3; 32], true);
        assert_eq!(proved(&said, &[3; 32], true).unwrap(), keys(1).id());
        assert!(proved(&said, &[4; 32], true).is_err() && proved(&said, &[3; 32], false).is_err());
        assert!(proved(&said[1..], &[3; 32], true).is_err());
        let as_another = [keys(2).id().as_bytes().as_slice(), &said[32..]].concat();
        assert!(proved(&as_another, &[3; 32], true).is_err());
    }

    /// Flips a bit of what goes through, or cuts it off.
    async fn spoiled(at: usize, cut: bool) -> bool {
        let (a, mut air_a) = duplex(65_536);
        let (mut air_b, b) = duplex(65_536);
        let air = async move {
            let (mut passed, mut bytes) = (0, [0; 512]);
            let (mut back, mut answers) = tokio::io::split(&mut air_a);
            let (mut from_b, mut to_b) = tokio::io::split(&mut air_b);
            let there = async {
                while let Ok(read @ 1..) = back.read(&mut bytes).await {
                    let piece = &mut bytes[..read];
                    if (passed..passed + read).contains(&at) {
                        if cut {
                            return;
                        }
                        piece[at - passed] ^= 1;
                    }
                    passed += read;
                    let _ = to_b.write_all(piece).await;
                }
            };
            tokio::select! {
                () = there => {}
                _ = tokio::io::copy(&mut from_b, &mut answers) => {}
            }
        };
        let talk = async {
            let (a, b) = both(a, b).await;
            let (Ok(mut a), Ok(mut b)) = (a, b) else {
                return false;
            };
            a.sender.send(vec![1; 300]).await.unwrap();
            let mut heard = [0; 300];
            b.receiver.read_exact(&mut heard).await.is_ok() && heard == [1; 300]
        };
        tokio::select! { well = talk => well, () = async { air.await; std::future::pending().await } => false }
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_is_changed_on_its_way_is_never_taken_for_right() {
        for at in (0..530).step_by(7) {
            assert!(!spoiled(at, false).await, "byte {at} was changed");
        }
        assert!(spoiled(9_999, false).await, "the control: nothing was");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_not_waited_for() {
        let (_a, b) = duplex(64);
        assert!(secure(b, false, &keys(2), &MINISTRY).await.is_err());
    }
}
