//! iroh's custom transport (unstable in 1.4) over an L2CAP channel of Bluetooth LE: one packet of the
//! channel for one QUIC datagram. Measured beside Noise over the same channel, which is what phones use.
//!
//! `quic-over-bluetooth listen hci0` takes what callers send, until it is killed.
//! `quic-over-bluetooth call hci1 KILOBYTES ROUNDS` prints one line of JSON.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bluer::adv::Advertisement;
use bluer::l2cap::{SeqPacket, Socket, SocketAddr};
use bluer::{Adapter, AdapterEvent, DiscoveryFilter, DiscoveryTransport, Session, Uuid};
use bytes::Bytes;
use futures::StreamExt;
use iroh::endpoint::transports::{
    CustomEndpoint, CustomSender, CustomTransport, RecvInfo, Transmit,
};
use iroh::endpoint::{QuicTransportConfig, presets};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey, TransportAddr};
use iroh_base::CustomAddr;
use tokio::sync::mpsc;

const SERVICE: Uuid = Uuid::from_u128(0x6b69_6a69_7469_6265_6e63_6800_0000_0002);
/// What iroh's list of transports calls Bluetooth LE.
const TRANSPORT: u64 = 0x42_4c45;
const PACKET_BYTES: u16 = 1400;
const WAITING_MAX: usize = 32;
const ALPN: &[u8] = b"kijiti/bench/0";

fn address(id: EndpointId) -> CustomAddr {
    CustomAddr::from_parts(TRANSPORT, id.as_bytes())
}

/// Channels that are up, as iroh sees them.
#[derive(Debug, Clone)]
struct Channels {
    own: EndpointId,
    out: Arc<Mutex<HashMap<CustomAddr, mpsc::Sender<Bytes>>>>,
    arrived: mpsc::Sender<(CustomAddr, Bytes)>,
    arrivals: Arc<Mutex<mpsc::Receiver<(CustomAddr, Bytes)>>>,
    local: n0_watcher::Watchable<Vec<CustomAddr>>,
}

impl Channels {
    fn new(own: EndpointId) -> Self {
        let (arrived, arrivals) = mpsc::channel(256);
        Self {
            own,
            out: Arc::default(),
            arrived,
            arrivals: Arc::new(Mutex::new(arrivals)),
            local: n0_watcher::Watchable::new(vec![address(own)]),
        }
    }

    /// Swaps names over a channel, which are hints only, and pumps datagrams from then on.
    async fn attach(&self, channel: SeqPacket, calls: bool) -> Result<EndpointId> {
        let mut room = vec![0; 2048];
        if calls {
            // One that is not up yet refuses to be written to.
            for _ in 0..400 {
                if channel.send(self.own.as_bytes()).await.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let read = channel.recv(&mut room).await?;
        let peer = EndpointId::from_bytes(room[..read].try_into()?)?;
        if !calls {
            channel.send(self.own.as_bytes()).await?;
        }
        let (sender, mut waiting) = mpsc::channel::<Bytes>(WAITING_MAX);
        self.out.lock().unwrap().insert(address(peer), sender);
        let channel = Arc::new(channel);
        let (reads, arrived) = (channel.clone(), self.arrived.clone());
        tokio::spawn(async move {
            while let Ok(read @ 1..) = reads.recv(&mut room).await {
                let datagram = Bytes::copy_from_slice(&room[..read]);
                if arrived.send((address(peer), datagram)).await.is_err() {
                    break;
                }
            }
        });
        tokio::spawn(async move {
            while let Some(datagram) = waiting.recv().await {
                if channel.send(&datagram).await.is_err() {
                    break;
                }
            }
        });
        Ok(peer)
    }
}

impl CustomTransport for Channels {
    fn bind(&self) -> io::Result<Box<dyn CustomEndpoint>> {
        Ok(Box::new(self.clone()))
    }
}

impl CustomEndpoint for Channels {
    fn watch_local_addrs(&self) -> n0_watcher::Direct<Vec<CustomAddr>> {
        self.local.watch()
    }

    fn create_sender(&self) -> Arc<dyn CustomSender> {
        Arc::new(self.clone())
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context,
        buffers: &mut [io::IoSliceMut<'_>],
        metas: &mut [noq_udp::RecvMeta],
        infos: &mut [RecvInfo],
    ) -> Poll<io::Result<usize>> {
        let mut arrivals = self.arrivals.lock().unwrap();
        let mut taken = 0;
        while taken < buffers.len() {
            let Poll::Ready(Some((from, datagram))) = arrivals.poll_recv(cx) else {
                break;
            };
            if datagram.len() <= buffers[taken].len() {
                buffers[taken][..datagram.len()].copy_from_slice(&datagram);
                metas[taken].len = datagram.len();
                metas[taken].stride = datagram.len();
                infos[taken] = RecvInfo::new(from, Some(address(self.own)));
                taken += 1;
            }
        }
        if taken == 0 {
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    }
}

impl CustomSender for Channels {
    fn is_valid_send_addr(&self, address: &CustomAddr) -> bool {
        address.id() == TRANSPORT
    }

    fn poll_send(
        &self,
        _: &mut Context,
        to: &CustomAddr,
        _: Option<&CustomAddr>,
        sent: &Transmit<'_>,
    ) -> Poll<io::Result<()>> {
        let sender = self.out.lock().unwrap().get(to).cloned();
        let size = sent.segment_size.unwrap_or(sent.contents.len()).max(1);
        for datagram in sent.contents.chunks(size) {
            // What is too large, or one too many, is lost, as over any network.
            if let Some(sender) = sender.as_ref().filter(|_| datagram.len() <= usize::from(PACKET_BYTES)) {
                let _ = sender.try_send(Bytes::copy_from_slice(datagram));
            }
        }
        Poll::Ready(Ok(()))
    }
}

async fn endpoint(channels: &Channels, key: SecretKey) -> Result<Endpoint> {
    let config = QuicTransportConfig::builder()
        .initial_mtu(1200)
        .initial_rtt(Duration::from_millis(300))
        .build();
    let builder = Endpoint::builder(presets::Minimal)
        .secret_key(key)
        .relay_mode(RelayMode::Disabled)
        .alpns(vec![ALPN.to_vec()])
        .transport_config(config)
        .add_custom_transport(Arc::new(channels.clone()))
        .clear_ip_transports();
    Ok(builder.bind().await?)
}

async fn ready(name: &str) -> Result<(Session, Adapter)> {
    let session = Session::new().await?;
    let adapter = session.adapter(name)?;
    adapter.set_powered(true).await?;
    Ok((session, adapter))
}

async fn listen(name: &str) -> Result<()> {
    let key = SecretKey::from([7; 32]);
    let channels = Channels::new(key.public());
    let (_session, adapter) = ready(name).await?;
    let socket = Socket::new_seq_packet()?;
    socket.set_recv_mtu(PACKET_BYTES)?;
    socket.bind(SocketAddr::new(adapter.address().await?, adapter.address_type().await?, 0))?;
    let listener = socket.listen(4)?;
    let psm = listener.as_ref().local_addr()?.psm;
    let advertisement = Advertisement {
        service_data: BTreeMap::from([(SERVICE, vec![u8::try_from(psm)?])]),
        discoverable: Some(true),
        ..Default::default()
    };
    let _said = adapter.advertise(advertisement).await?;
    let endpoint = endpoint(&channels, key).await?;
    println!("listening at channel {psm}");
    tokio::spawn(async move {
        while let Ok((channel, _)) = listener.accept().await {
            let _ = channels.attach(channel, false).await;
        }
    });
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await?;
            while let Ok((mut say, mut hear)) = connection.accept_bi().await {
                let heard = hear.read_to_end(64 << 20).await?;
                say.write_all(&u64::try_from(heard.len())?.to_le_bytes()).await?;
                say.finish()?;
            }
            anyhow::Ok(())
        });
    }
    Ok(())
}

async fn call(name: &str, kilobytes: usize, rounds: usize) -> Result<()> {
    let key = SecretKey::from([9; 32]);
    let peer = SecretKey::from([7; 32]).public();
    let channels = Channels::new(key.public());
    let (_session, adapter) = ready(name).await?;
    let filter = DiscoveryFilter {
        transport: DiscoveryTransport::Le,
        duplicate_data: true,
        ..Default::default()
    };
    adapter.set_discovery_filter(filter).await?;
    let mut events = Box::pin(adapter.discover_devices_with_changes().await?);
    let (device, psm) = loop {
        let AdapterEvent::DeviceAdded(at) = events.next().await.context("bluetoothd ended")? else {
            continue;
        };
        let device = adapter.device(at)?;
        let said = device.service_data().await?.unwrap_or_default();
        if let Some(&[psm]) = said.get(&SERVICE).map(Vec::as_slice) {
            break (device, psm);
        }
    };
    drop(events);
    let began = Instant::now();
    let own = SocketAddr::new(adapter.address().await?, adapter.address_type().await?, 0);
    let to = SocketAddr::new(device.address(), device.address_type().await?, psm.into());
    let socket = Socket::new_seq_packet()?;
    socket.bind(own)?;
    socket.set_recv_mtu(PACKET_BYTES)?;
    let channel = socket.connect(to).await?;
    channels.attach(channel, true).await?;
    let up = began.elapsed();
    let began = Instant::now();
    let endpoint = endpoint(&channels, key).await?;
    let there = EndpointAddr::from_parts(peer, [TransportAddr::Custom(address(peer))]);
    let connection = endpoint.connect(there, ALPN).await?;
    let greeted = began.elapsed();
    let bytes = vec![0; kilobytes * 1000];
    let mut rates = Vec::new();
    for round in 0..rounds {
        eprintln!("round {round}: quic");
        let began = Instant::now();
        let (mut say, mut hear) = connection.open_bi().await?;
        say.write_all(&bytes).await?;
        say.finish()?;
        hear.read_to_end(8).await?;
        rates.push(kilobytes as f64 / began.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let rate = rates.get(rates.len() / 2).context("no round")?;
    println!(
        "{{\"quic_kb_per_s\":{rate:.1},\"up_ms\":{},\"greeted_ms\":{}}}",
        up.as_millis(),
        greeted.as_millis()
    );
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["listen", adapter] => listen(adapter).await,
        ["call", adapter, kilobytes, rounds] => {
            call(adapter, kilobytes.parse()?, rounds.parse()?).await
        }
        _ => bail!("usage: quic-over-bluetooth listen ADAPTER | call ADAPTER KILOBYTES ROUNDS"),
    }
}
