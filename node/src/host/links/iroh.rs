//! The IP driver: iroh (QUIC, TLS 1.3) over any network, where the endpoint id is the device's key, so
//! that a link's other end is proved by the link. No relay, no outside DNS, no port mapping: nothing
//! leaves the local network.
//!
//! One meeting is one bidirectional stream on a connection of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ::iroh::dns::DnsResolver;
use ::iroh::endpoint::{
    BindOpts, Connection, IdleTimeout, Incoming, PortmapperConfig, QuicTransportConfig, SendStream,
    VarInt, presets,
};
use ::iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey};
use protocol::DeviceId;
use protocol::limits::CONNECTIONS_MAX;
use tokio::sync::{Semaphore, watch};

use super::congestion::OneHopConfig;
use super::counts::Counts;
use super::scoped::Scoped;
use super::{Driver, Later, Pipe, Port, Sender, discovery};
use crate::agent::LinkClass;
use crate::api::Refusal;
use crate::host::Log;

/// The protocol's name in TLS.
pub const ALPN: &[u8] = b"kijiti/2";
const DIAL_TIMEOUT: Duration = Duration::from_secs(8);

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

/// Any IP network.
pub struct Ip {
    id: DeviceId,
    endpoint: Endpoint,
    /// Its way onto links that have link-local addresses only; `None`: it listens at one address alone,
    /// or there is no IPv6 here.
    scoped: Option<Arc<Scoped>>,
    /// Mapping for connections, those that are being greeted or closed included.
    places: Arc<Semaphore>,
    /// Who may hear where this phone is; `None`: nobody, and it looks for nobody.
    discovery: Option<watch::Receiver<Option<[u8; 32]>>>,
    counts: Arc<Counts>,
    log: Log,
}

impl Ip {
    /// Makes the endpoint of the device with this secret.
    pub async fn bind(
        (id, seed): (DeviceId, &[u8; 32]),
        listen: Option<SocketAddr>,
        discovery: Option<watch::Receiver<Option<[u8; 32]>>>,
        (counts, log): (Arc<Counts>, Log),
    ) -> Result<Self, Refusal> {
        let endpoint = endpoint(seed, listen).await?;
        let mut everywhere = endpoint.bound_sockets().into_iter();
        let everywhere = everywhere.find(|a| a.is_ipv4() && a.ip().is_unspecified());
        let scoped = match everywhere {
            Some(at) => Scoped::bind(at.port()).await.ok().map(Arc::new),
            None => None,
        };
        Ok(Self {
            id,
            endpoint,
            scoped,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            discovery,
            counts,
            log,
        })
    }

    /// Of a socket on all interfaces, the addresses of those that are up, loopback last.
    pub fn bound(&self) -> Vec<SocketAddr> {
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

    /// Beacons, while somebody may hear them.
    async fn discover(&self, port: Port) {
        let Some(key) = self.discovery.clone() else {
            return;
        };
        let bound = self.bound();
        let v4 = bound
            .iter()
            .find(|a| a.is_ipv4())
            .map_or(0, SocketAddr::port);
        let discovery = discovery::Discovery {
            id: self.id,
            // What is heard by IPv6 multicast comes from a link-local address.
            ports: (v4, self.scoped.as_ref().map_or(0, |s| s.port())),
            key,
            port,
            counts: self.counts.clone(),
            log: self.log.clone(),
            twin_heard: false,
        };
        discovery.run().await;
    }

    async fn accept(&self, port: Port) {
        while let Some(incoming) = self.endpoint.accept().await {
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                incoming.refuse(); // whoever it is comes again
                continue;
            };
            let port = port.clone();
            let counts = self.counts.clone();
            tokio::spawn(async move {
                let _place = place;
                if let Some(pipe) = greeted(incoming, counts).await {
                    port.answer(LinkClass::Ip, pipe).await;
                }
            });
        }
    }
}

/// A call from elsewhere, as far as it opens a stream in time.
async fn greeted(incoming: Incoming, counts: Arc<Counts>) -> Option<Pipe> {
    let connection = tokio::time::timeout(DIAL_TIMEOUT, incoming)
        .await
        .ok()?
        .ok()?;
    let streams = tokio::time::timeout(DIAL_TIMEOUT, connection.accept_bi()).await;
    let (send, receive) = streams.ok()?.ok()?;
    Some(pipe(connection, (send, receive), counts))
}

fn pipe(
    connection: Connection,
    (send, receive): (SendStream, ::iroh::endpoint::RecvStream),
    counts: Arc<Counts>,
) -> Pipe {
    Pipe {
        peer: DeviceId(*connection.remote_id().as_bytes()),
        sender: Box::new(Stream(send)),
        receiver: Box::new(receive),
        cut: Box::new(move || {
            let (spent, (sent, received)) = (connection.stats(), &counts.datagrams);
            sent.fetch_add(spent.udp_tx.datagrams, Relaxed);
            received.fetch_add(spent.udp_rx.datagrams, Relaxed);
            connection.close(VarInt::from_u32(0), b"over");
        }),
    }
}

struct Stream(SendStream);

impl Sender for Stream {
    fn send(&mut self, bytes: Vec<u8>) -> Later<'_, io::Result<()>> {
        Box::pin(async move {
            self.0
                .write_chunk(bytes.into())
                .await
                .map_err(io::Error::from)
        })
    }

    fn finish(&mut self) -> Later<'_, ()> {
        Box::pin(async move {
            let _ = self.0.finish();
            let _ = self.0.stopped().await;
        })
    }
}

impl Driver for Ip {
    fn class(&self) -> LinkClass {
        LinkClass::Ip
    }

    fn scan(self: Arc<Self>, port: Port) -> Later<'static, ()> {
        Box::pin(async move {
            let scoped = async {
                if let Some(scoped) = self.scoped.clone() {
                    scoped.run().await;
                }
            };
            tokio::join!(self.accept(port.clone()), self.discover(port), scoped);
        })
    }

    fn dial<'a>(&'a self, peer: DeviceId, at: &'a str) -> Later<'a, Result<Pipe, Refusal>> {
        Box::pin(async move {
            let address = at.parse();
            let address = match (address.map_err(|_| Refusal::NotAnAddress)?, &self.scoped) {
                (SocketAddr::V6(v6), Some(scoped)) if v6.ip().is_unicast_link_local() => {
                    let way = scoped.way_to(v6).await;
                    way.map_err(|e| Refusal::NotReached(e.to_string()))?
                }
                (address, _) => address,
            };
            let connection = dial(&self.endpoint, peer, address).await?;
            let cut = |e| Refusal::CallEnded(format!("the call was cut: {e}"));
            let (send, receive) = connection.open_bi().await.map_err(cut)?;
            Ok(pipe(connection, (send, receive), self.counts.clone()))
        })
    }

    fn addresses(&self) -> Vec<String> {
        self.bound().iter().map(SocketAddr::to_string).collect()
    }

    fn close(&self) -> Later<'_, ()> {
        Box::pin(self.endpoint.close())
    }
}
