//! A stranger who lies, for the demo and for tests: a real link, a correct hello, and then whatever
//! it was told to say.

use std::net::SocketAddr;

use protocol::frame::{Frame, FrameReader, Hello, Holds, SignedDocument};
use protocol::limits::WIRE_VERSION;
use protocol::{DeviceId, DeviceKeys, Digest};

use super::links;
use crate::api::Refusal;

/// How long the other may take to answer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Offers a release list to a phone, whatever it is. Returns the reason with which the phone ends
/// the meeting.
pub fn offer_list(
    peer: DeviceId,
    address: SocketAddr,
    ministry: Digest,
    list: Vec<u8>,
) -> Result<String, Refusal> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Refusal::NoRandomness(e.to_string()))?;
    let nonce = [9; 16];
    let ministry_tag = Hello::tag_of(&ministry, &DeviceKeys::from_seed(seed).id(), &nonce);
    let hello = Frame::Hello(Hello {
        version: WIRE_VERSION,
        ministry_tag,
        nonce,
        moves: false,
        raises: false,
    });
    let holds = Frame::Holds(Holds {
        root_version: 1,
        list_version: u64::MAX,
        held: Vec::new(),
        certificates: Vec::new(),
    });
    let offer = Frame::ReleaseList(SignedDocument { bytes: list });
    say(
        &seed,
        peer,
        address,
        &[hello.to_bytes(), holds.to_bytes(), offer.to_bytes()].concat(),
    )
}

/// Says these bytes on a fresh link, as the device with this secret. Returns the other's last
/// words.
pub fn say(
    seed: &[u8; 32],
    peer: DeviceId,
    address: SocketAddr,
    bytes: &[u8],
) -> Result<String, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Refusal::NoMachine(e.to_string()))?;
    runtime.block_on(async {
        let endpoint = links::endpoint(seed, Some(([127, 0, 0, 1], 0).into())).await?;
        let talk = tokio::time::timeout(PATIENCE, talk(&endpoint, peer, address, bytes)).await;
        endpoint.close().await;
        talk.unwrap_or(Err(Refusal::Nothing))
    })
}

async fn talk(
    endpoint: &iroh::Endpoint,
    peer: DeviceId,
    address: SocketAddr,
    bytes: &[u8],
) -> Result<String, Refusal> {
    let cut = |e: &dyn std::fmt::Display| Refusal::CallEnded(format!("the link was cut: {e}"));
    let connection = links::dial(endpoint, peer, address).await?;
    let (mut send, mut receive) = connection.open_bi().await.map_err(|e| cut(&e))?;
    send.write_all(bytes).await.map_err(|e| cut(&e))?;
    let mut reader = FrameReader::default();
    while let Some(chunk) = receive.read_chunk(64 * 1024).await.map_err(|e| cut(&e))? {
        reader.push(chunk.to_vec());
        while let Some(frame) = reader.next_frame().map_err(|e| cut(&e))? {
            if let Frame::Bye(bye) = frame {
                return Ok(bye.reason);
            }
        }
    }
    Err(Refusal::Nothing)
}

/// One of many hostile phones: its secret, and what it says the n-th time; then it stays silent
/// until it is sent away.
pub struct Rogue {
    /// Its secret.
    pub seed: [u8; 32],
    /// What it says, by the number of the call.
    pub says: Box<dyn FnMut(u64) -> Vec<u8> + Send>,
}

/// Lets hostile phones call one phone again and again, each on a link of its own, until `stop` is
/// set. How many calls got through.
pub fn besiege(
    rogues: Vec<Rogue>,
    peer: DeviceId,
    address: SocketAddr,
    stop: &std::sync::Arc<std::sync::atomic::AtomicBool>,
) -> Result<u64, Refusal> {
    use std::sync::atomic::Ordering;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Refusal::NoMachine(e.to_string()))?;
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for mut rogue in rogues {
            let stop = stop.clone();
            tasks.spawn(async move {
                let mut calls = 0;
                let Ok(endpoint) =
                    links::endpoint(&rogue.seed, Some(([127, 0, 0, 1], 0).into())).await
                else {
                    return 0;
                };
                while !stop.load(Ordering::Relaxed) {
                    let said = (rogue.says)(calls);
                    let talk =
                        tokio::time::timeout(PATIENCE, talk(&endpoint, peer, address, &said)).await;
                    calls += u64::from(talk.is_ok());
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
                endpoint.close().await;
                calls
            });
        }
        let mut all = 0;
        while let Some(calls) = tasks.join_next().await {
            all += calls.unwrap_or(0);
        }
        Ok(all)
    })
}
