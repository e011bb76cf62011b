//! Finding phones on the local network: a small beacon by link-local multicast on every interface, no default route needed.
//!
//! ```text
//! "KJ1" · device id 32 · QUIC port on IPv4 u16 · on IPv6 u16 (little-endian; 0: none)
//! ```
//! A beacon proves nothing: it only says where to call, and the call proves who is there. (mDNS libraries were tried on
//! paper first: the one that fits iroh joins its group on the default interface only, and finds nothing where there is no
//! default route, which is what a hotspot without internet looks like.)

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use protocol::DeviceId;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::Log;
use super::body::Message;

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 75, 74);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x6b, 0x6a74);
const PORT: u16 = 41_968;
const BEACON_BYTES: usize = 3 + 32 + 4;
/// Between beacons; with a share of chance so that a room of phones does not speak at once.
const EVERY: Duration = Duration::from_secs(3);
/// Neighbours remembered between reports to the agent.
const NEIGHBOURS_MAX: usize = 256;
const REPORT_EVERY: Duration = Duration::from_millis(800);

/// Speaks and listens until the program ends.
pub(super) async fn run(id: DeviceId, port_v4: u16, port_v6: u16, messages: mpsc::Sender<Message>, log: Log) {
    let beacon = to_bytes(&id, port_v4, port_v6);
    let listeners: Vec<_> = [bind(Domain::IPV4), bind(Domain::IPV6)].into_iter().flatten().collect();
    if listeners.is_empty() {
        log("neighbours cannot be found: no multicast here; use `kijiti meet` with an address");
        return;
    }
    let (heard, mut beacons) = mpsc::channel(64);
    for socket in &listeners {
        tokio::spawn(listen(socket.clone(), heard.clone()));
    }
    let mut reported: BTreeMap<DeviceId, Instant> = BTreeMap::new();
    let mut speak = tokio::time::interval(EVERY.mul_f64(0.8 + 0.4 * f64::from(id.0[31]) / 255.0));
    loop {
        tokio::select! {
            _ = speak.tick() => speak_everywhere(&listeners, &beacon).await,
            Some((bytes, from)) = beacons.recv() => {
                let Some((peer, address)) = read(&bytes, from).filter(|(peer, _)| *peer != id) else { continue };
                let now = Instant::now();
                if reported.get(&peer).is_some_and(|at| now.duration_since(*at) < REPORT_EVERY) {
                    continue;
                }
                if reported.len() >= NEIGHBOURS_MAX {
                    reported.clear();
                }
                reported.insert(peer, now);
                if messages.send(Message::Neighbour { peer, address }).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn to_bytes(id: &DeviceId, port_v4: u16, port_v6: u16) -> Vec<u8> {
    [b"KJ1".as_slice(), id.as_bytes(), &port_v4.to_le_bytes(), &port_v6.to_le_bytes()].concat()
}

/// Reads a beacon: who, and where to call.
pub fn read(bytes: &[u8], from: SocketAddr) -> Option<(DeviceId, SocketAddr)> {
    let rest = bytes.strip_prefix(b"KJ1").filter(|_| bytes.len() == BEACON_BYTES)?;
    let peer = DeviceId::from_slice(rest.get(..32)?)?;
    let port = |at: std::ops::Range<usize>| Some(u16::from_le_bytes(rest.get(at)?.try_into().ok()?));
    let port = if from.is_ipv4() { port(32..34)? } else { port(34..36)? };
    let address = match from {
        SocketAddr::V4(v4) => SocketAddr::new(IpAddr::V4(*v4.ip()), port),
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), port, 0, v6.scope_id()).into(),
    };
    (port != 0).then_some((peer, address))
}

fn bind(domain: Domain) -> Option<std::sync::Arc<UdpSocket>> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).ok()?;
    socket.set_reuse_address(true).ok()?;
    socket.set_reuse_port(true).ok()?;
    socket.set_nonblocking(true).ok()?;
    let any: SocketAddr = if domain == Domain::IPV4 {
        (Ipv4Addr::UNSPECIFIED, PORT).into()
    } else {
        socket.set_only_v6(true).ok()?;
        (Ipv6Addr::UNSPECIFIED, PORT).into()
    };
    socket.bind(&any.into()).ok()?;
    UdpSocket::from_std(socket.into()).ok().map(std::sync::Arc::new)
}

async fn listen(socket: std::sync::Arc<UdpSocket>, heard: mpsc::Sender<(Vec<u8>, SocketAddr)>) {
    let mut buffer = [0; 128];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((bytes, from)) => {
                let beacon = buffer.get(..bytes).unwrap_or_default().to_vec();
                if heard.send((beacon, from)).await.is_err() {
                    return;
                }
            }
            Err(_) => tokio::time::sleep(EVERY).await,
        }
    }
}

/// Says the beacon on every interface that is up, joining groups on those that have just appeared.
async fn speak_everywhere(sockets: &[std::sync::Arc<UdpSocket>], beacon: &[u8]) {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let alone = interfaces.iter().all(if_addrs::Interface::is_loopback);
    for interface in interfaces.iter().filter(|i| alone || !i.is_loopback()) {
        for socket in sockets {
            let here = socket2::SockRef::from(socket.as_ref());
            let v4 = socket.local_addr().is_ok_and(|a| a.is_ipv4());
            let to: SocketAddr = match (interface.ip(), interface.index) {
                (IpAddr::V4(ip), _) if v4 => {
                    let _ = here.join_multicast_v4(&GROUP_V4, &ip); // already joined: no harm
                    if here.set_multicast_if_v4(&ip).is_err() {
                        continue;
                    }
                    (GROUP_V4, PORT).into()
                }
                (IpAddr::V6(_), Some(index)) if !v4 => {
                    let _ = here.join_multicast_v6(&GROUP_V6, index);
                    SocketAddrV6::new(GROUP_V6, PORT, 0, index).into()
                }
                _ => continue,
            };
            let _ = socket.send_to(beacon, to).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_says_who_and_where_and_nothing_else_is_one() {
        let id = DeviceId([7; 32]);
        let from: SocketAddr = "10.0.0.9:41968".parse().unwrap();
        let bytes = to_bytes(&id, 5000, 6000);
        assert_eq!(read(&bytes, from), Some((id, "10.0.0.9:5000".parse().unwrap())));
        assert_eq!(read(&bytes[..38], from), None);
        assert_eq!(read(&to_bytes(&id, 0, 6000), from), None);
    }
}
