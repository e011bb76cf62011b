//! Links over any IP network: iroh (QUIC, TLS 1.3), where the endpoint id is the device's key, so
//! that a link's other end is proved by the link. No relay, no outside DNS, no port mapping:
//! nothing leaves the local network.
//!
//! One meeting is one bidirectional stream on a connection of its own. The writer tells the agent
//! how much it has sent, which is the only thing that makes the agent produce more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iroh::dns::DnsResolver;
use iroh::endpoint::{
    BindOpts, Connection, IdleTimeout, PortmapperConfig, QuicTransportConfig, RecvStream,
    SendStream, VarInt, presets,
};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey};
use protocol::DeviceId;
use protocol::limits::{CONNECTIONS_MAX, SEND_AHEAD_BYTES_MAX};
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, mpsc};

use super::body::Message;
use super::pace::OneHopConfig;
use crate::agent::LinkId;
use crate::api::Refusal;

/// The protocol's name in TLS.
pub const ALPN: &[u8] = b"kijiti/2";
/// Bytes taken from a link at once.
const READ_BYTES: usize = 256 * 1024;
const DIAL_TIMEOUT: Duration = Duration::from_secs(8);
/// How long the last bytes may take to be acknowledged.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the writer of a link is given.
#[derive(Debug)]
pub enum ToSend {
    /// Bytes of a frame.
    Bytes(Vec<u8>),
    /// Nothing more: end the link once everything is acknowledged.
    End,
}

/// The endpoint, and the making of links.
#[derive(Debug, Clone)]
pub struct Links {
    endpoint: Endpoint,
    messages: mpsc::Sender<Message>,
    /// Places for connections, those that are being greeted or closed included.
    places: Arc<Semaphore>,
}

static NEXT_LINK: AtomicU64 = AtomicU64::new(1);

/// The endpoint as every part of this program makes it. `listen` `None`: all interfaces, any port.
pub async fn endpoint(seed: &[u8; 32], listen: Option<SocketAddr>) -> Result<Endpoint, Refusal> {
    let idle = IdleTimeout::try_from(Duration::from_secs(15)).ok();
    let transport = QuicTransportConfig::builder()
        .keep_alive_interval(Duration::from_secs(4))
        .max_idle_timeout(idle)
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .congestion_controller_factory(Arc::new(OneHopConfig))
        .build();
    let unusable = |e: String| Refusal::NotListening(format!("cannot listen: {e}"));
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(seed))
        .alpns(vec![ALPN.to_vec()])
        .transport_config(transport)
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .portmapper_config(PortmapperConfig::Disabled)
        .dns_resolver(DnsResolver::builder().disable_fallback().build())
        .clear_ip_transports();
    builder = match listen {
        Some(address) => builder
            .bind_addr(address)
            .map_err(|e| unusable(e.to_string()))?,
        None => {
            let v6 = BindOpts::default().set_is_required(false);
            let builder = builder
                .bind_addr("0.0.0.0:0")
                .map_err(|e| unusable(e.to_string()))?;
            builder
                .bind_addr_with_opts("[::]:0", v6)
                .map_err(|e| unusable(e.to_string()))?
        }
    };
    builder.bind().await.map_err(|e| unusable(e.to_string()))
}

/// Calls a device at an address.
pub async fn dial(
    endpoint: &Endpoint,
    peer: DeviceId,
    address: SocketAddr,
) -> Result<Connection, Refusal> {
    let out_of_reach = |e: String| {
        Refusal::NotReached(format!(
            "phone {} at {address} is out of reach: {e}",
            peer.short()
        ))
    };
    let id = EndpointId::from_bytes(peer.as_bytes()).map_err(|e| out_of_reach(e.to_string()))?;
    let call = endpoint.connect(EndpointAddr::new(id).with_ip_addr(address), ALPN);
    match tokio::time::timeout(DIAL_TIMEOUT, call).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(e)) => Err(out_of_reach(e.to_string())),
        Err(_) => Err(out_of_reach("no answer".into())),
    }
}

impl Links {
    /// Makes the endpoint and begins to accept calls.
    pub(super) async fn bind(
        seed: &[u8; 32],
        listen: Option<SocketAddr>,
        messages: mpsc::Sender<Message>,
    ) -> Result<Self, Refusal> {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let links = Self {
            endpoint: endpoint(seed, listen).await?,
            messages,
            places,
        };
        tokio::spawn(links.clone().accept());
        Ok(links)
    }

    /// Where others reach it: of a socket on all interfaces, the addresses of those that are up,
    /// loopback last.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        interfaces.retain(|i| !i.is_link_local());
        interfaces.sort_by_key(|i| (i.is_loopback(), i.ip().is_ipv6()));
        let reach = |bound: SocketAddr| -> Vec<SocketAddr> {
            let of_kind = interfaces
                .iter()
                .map(|i| i.ip())
                .filter(|ip| ip.is_ipv4() == bound.is_ipv4());
            match bound.ip().is_unspecified() {
                true => of_kind
                    .map(|ip| SocketAddr::new(ip, bound.port()))
                    .collect(),
                false => vec![bound],
            }
        };
        self.endpoint
            .bound_sockets()
            .into_iter()
            .flat_map(reach)
            .collect()
    }

    async fn accept(self) {
        while let Some(incoming) = self.endpoint.accept().await {
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                incoming.refuse(); // whoever it is comes again
                continue;
            };
            let links = self.clone();
            tokio::spawn(async move {
                let _place = place;
                let Ok(Ok(connection)) = tokio::time::timeout(DIAL_TIMEOUT, incoming).await else {
                    return;
                };
                if let Ok(Ok(streams)) =
                    tokio::time::timeout(DIAL_TIMEOUT, connection.accept_bi()).await
                {
                    links.run(connection, streams, false).await;
                }
            });
        }
    }

    /// Calls a device; the link is reported like any other. Returns its number.
    pub async fn call(&self, peer: DeviceId, address: SocketAddr) -> Result<LinkId, Refusal> {
        let connection = dial(&self.endpoint, peer, address).await?;
        let streams = connection.open_bi().await;
        let streams = streams.map_err(|e| Refusal::CallEnded(format!("the call was cut: {e}")))?;
        let link = NEXT_LINK.fetch_add(1, Ordering::Relaxed);
        let links = self.clone();
        tokio::spawn(async move { links.run_as(link, connection, streams, true).await });
        Ok(link)
    }

    async fn run(&self, connection: Connection, streams: (SendStream, RecvStream), dialed: bool) {
        self.run_as(
            NEXT_LINK.fetch_add(1, Ordering::Relaxed),
            connection,
            streams,
            dialed,
        )
        .await;
    }

    async fn run_as(
        &self,
        link: LinkId,
        connection: Connection,
        streams: (SendStream, RecvStream),
        dialed: bool,
    ) {
        let (send, receive) = streams;
        // The agent hands out no more than SEND_AHEAD_BYTES_MAX at a time, so this queue is bounded
        // by it.
        let (to_send, queue) = mpsc::unbounded_channel();
        let peer = DeviceId(*connection.remote_id().as_bytes());
        if self
            .messages
            .send(Message::LinkUp {
                link,
                peer,
                dialed,
                to_send,
            })
            .await
            .is_err()
        {
            return;
        }
        let _ = self
            .messages
            .send(Message::Writable {
                link,
                bytes: SEND_AHEAD_BYTES_MAX,
            })
            .await;
        let mut writer = tokio::spawn(write(link, send, queue, self.messages.clone()));
        // The link ends with either side of it: once the last word is said, nothing more is waited
        // for.
        let why = tokio::select! {
            why = self.read(link, receive) => why,
            _ = &mut writer => "this phone ended the link".to_owned(),
        };
        let _ = self.messages.send(Message::LinkDown { link, why }).await;
        if !writer.is_finished() {
            let _ = tokio::time::timeout(FAREWELL * 2, writer).await;
        }
        connection.close(VarInt::from_u32(0), b"over");
    }

    /// Reads until the end; returns why it ended.
    async fn read(&self, link: LinkId, mut receive: RecvStream) -> String {
        // Packets are small and the agent's queue is short: while it is busy, bytes gather here and
        // go over in one piece.
        loop {
            let mut bytes = Vec::with_capacity(READ_BYTES);
            match receive.read_buf(&mut bytes).await {
                Ok(1..) => {
                    if self
                        .messages
                        .send(Message::Received { link, bytes })
                        .await
                        .is_err()
                    {
                        return "this phone stops".into();
                    }
                }
                Ok(0) => return "the other phone ended the link".into(),
                Err(error) => return format!("the link is gone ({error})"),
            }
        }
    }

    /// Ends the endpoint.
    pub async fn close(&self) {
        self.endpoint.close().await;
    }
}

async fn write(
    link: LinkId,
    mut send: SendStream,
    mut queue: mpsc::UnboundedReceiver<ToSend>,
    messages: mpsc::Sender<Message>,
) {
    while let Some(item) = queue.recv().await {
        let ToSend::Bytes(bytes) = item else { break };
        let sent = bytes.len();
        if send.write_chunk(bytes.into()).await.is_err() {
            break;
        }
        if messages
            .send(Message::Writable { link, bytes: sent })
            .await
            .is_err()
        {
            break;
        }
    }
    let _ = send.finish();
    let _ = tokio::time::timeout(FAREWELL, send.stopped()).await;
}
