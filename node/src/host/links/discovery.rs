//! LAN discovery: a small announcement by link-local multicast on every interface,
//! no default route needed.
//!
//! ```text
//! "KJ2" · nonce 24 · XChaCha20-Poly1305 under the ministry's discovery key of:
//!         device id 32 · QUIC port on IPv4 u16 · on IPv6 u16 (little-endian; 0: none) · and its tag 16
//! ```
//! The nonce is new every time, so that to everybody but phones of the same ministry all announcements
//! are noise that never repeats. What does not open is forgotten at once. An announcement proves nothing:
//! it only says where to call, and the call proves who is there; and it is taken from the networks
//! that this phone is on, from nowhere else. (mDNS libraries were tried on paper first: the one
//! that fits iroh joins its group on the default interface only, and finds nothing where there is
//! no default route, which is what a hotspot without internet looks like.)

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit};
use protocol::DeviceId;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use super::Port;
use crate::agent::LinkClass;
use crate::host::Log;

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 75, 74);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x6b, 0x6a74);
const PORT: u16 = 41_968;
const BEACON_BYTES: usize = 3 + 24 + 36 + 16;
/// Between announcements; with a share of chance so that a room of phones does not speak at once.
const EVERY: Duration = Duration::from_secs(3);
/// Neighbours remembered between reports to the agent.
const NEIGHBOURS_MAX: usize = 256;
const REPORT_EVERY: Duration = Duration::from_millis(800);

/// Speaks and listens until the program ends, while there is a ministry whose phones can hear it.
pub(super) async fn run(
    id: DeviceId,
    (port_v4, port_v6): (u16, u16),
    key: watch::Receiver<Option<[u8; 32]>>,
    port: Port,
    log: Log,
) {
    let listeners: Vec<_> = [bind(Domain::IPV4), bind(Domain::IPV6)]
        .into_iter()
        .flatten()
        .collect();
    if listeners.is_empty() {
        log("neighbours cannot be found: no multicast here");
        return;
    }
    let (heard, mut announcements) = mpsc::channel(64);
    for socket in &listeners {
        tokio::spawn(listen(socket.clone(), heard.clone()));
    }
    let mut reported: BTreeMap<DeviceId, Instant> = BTreeMap::new();
    let mut speak = tokio::time::interval(EVERY.mul_f64(0.8 + 0.4 * f64::from(id.0[31]) / 255.0));
    loop {
        tokio::select! {
            _ = speak.tick() => {
                let announcement = key.borrow().and_then(|key| write(&key, &id, port_v4, port_v6));
                if let Some(announcement) = announcement {
                    speak_everywhere(&listeners, &announcement).await;
                }
            }
            Some((bytes, from)) = announcements.recv() => {
                let key = *key.borrow();
                let read = key.and_then(|key| read(&key, &bytes, from)).filter(|(peer, _)| *peer != id);
                let Some((peer, address)) = read.filter(|_| on_link(from.ip())) else { continue };
                let now = Instant::now();
                if reported.get(&peer).is_some_and(|at| now.duration_since(*at) < REPORT_EVERY) {
                    continue;
                }
                if reported.len() >= NEIGHBOURS_MAX {
                    reported.clear();
                }
                reported.insert(peer, now);
                if !port.seen(peer, LinkClass::Ip, address.to_string()).await {
                    return;
                }
            }
        }
    }
}

/// Whether an address lies on a network of one of this phone's interfaces.
fn on_link(ip: IpAddr) -> bool {
    if_addrs::get_if_addrs()
        .unwrap_or_default()
        .iter()
        .any(|interface| match (&interface.addr, ip) {
            (if_addrs::IfAddr::V4(own), IpAddr::V4(ip)) => {
                let mask = u32::from(own.netmask);
                u32::from(own.ip) & mask == u32::from(ip) & mask
            }
            (if_addrs::IfAddr::V6(own), IpAddr::V6(ip)) => {
                let mask = u128::from(own.netmask);
                u128::from(own.ip) & mask == u128::from(ip) & mask
            }
            _ => false,
        })
}

/// An announcement of this phone, sealed for phones of the ministry whose discovery key this is; no two
/// have anything in common.
pub fn write(key: &[u8; 32], id: &DeviceId, port_v4: u16, port_v6: u16) -> Option<Vec<u8>> {
    let mut nonce = [0; 24];
    getrandom::fill(&mut nonce).ok()?;
    let plain = [
        id.as_bytes().as_slice(),
        &port_v4.to_le_bytes(),
        &port_v6.to_le_bytes(),
    ]
    .concat();
    let sealed = XChaCha20Poly1305::new(key.into())
        .encrypt((&nonce).into(), plain.as_slice())
        .ok()?;
    Some([b"KJ2".as_slice(), &nonce, &sealed].concat())
}

/// Reads a announcement of the ministry whose discovery key this is: who, and where to call.
pub fn read(key: &[u8; 32], bytes: &[u8], from: SocketAddr) -> Option<(DeviceId, SocketAddr)> {
    let rest = bytes
        .strip_prefix(b"KJ2")
        .filter(|_| bytes.len() == BEACON_BYTES)?;
    let (nonce, sealed) = rest.split_first_chunk::<24>()?;
    let plain = XChaCha20Poly1305::new(key.into())
        .decrypt(nonce.into(), sealed)
        .ok()?;
    let (id, ports) = plain.split_first_chunk::<32>()?;
    let [v4_low, v4_high, v6_low, v6_high] = <[u8; 4]>::try_from(ports).ok()?;
    let port = if from.is_ipv4() {
        [v4_low, v4_high]
    } else {
        [v6_low, v6_high]
    };
    let port = u16::from_le_bytes(port);
    let address = match from {
        SocketAddr::V4(v4) => SocketAddr::new(IpAddr::V4(*v4.ip()), port),
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), port, 0, v6.scope_id()).into(),
    };
    (port != 0).then_some((DeviceId(*id), address))
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
    UdpSocket::from_std(socket.into())
        .ok()
        .map(std::sync::Arc::new)
}

async fn listen(socket: std::sync::Arc<UdpSocket>, heard: mpsc::Sender<(Vec<u8>, SocketAddr)>) {
    let mut buffer = [0; 128];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((bytes, from)) => {
                let announcement = buffer.get(..bytes).unwrap_or_default().to_vec();
                if heard.send((announcement, from)).await.is_err() {
                    return;
                }
            }
            Err(_) => tokio::time::sleep(EVERY).await,
        }
    }
}

/// Says the announcement on every interface that is up, joining groups on those that have just appeared.
async fn speak_everywhere(sockets: &[std::sync::Arc<UdpSocket>], announcement: &[u8]) {
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
            let _ = socket.send_to(announcement, to).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_says_who_and_where_to_phones_of_the_same_ministry_only() {
        let (key, id) = ([3; 32], DeviceId([7; 32]));
        let from: SocketAddr = "10.0.0.9:41968".parse().unwrap();
        let bytes = write(&key, &id, 5000, 6000).unwrap();
        assert_eq!(
            read(&key, &bytes, from),
            Some((id, "10.0.0.9:5000".parse().unwrap()))
        );
        assert_eq!(read(&[4; 32], &bytes, from), None);
        assert_eq!(read(&key, &bytes[..BEACON_BYTES - 1], from), None);
        assert_eq!(read(&key, &write(&key, &id, 0, 6000).unwrap(), from), None);
        for at in 0..bytes.len() {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 1;
            assert_eq!(read(&key, &spoiled, from), None, "{at}");
        }
    }

    #[test]
    fn no_two_beacons_of_one_phone_have_anything_in_common() {
        let (one, two) = (
            write(&[3; 32], &DeviceId([7; 32]), 1, 2).unwrap(),
            write(&[3; 32], &DeviceId([7; 32]), 1, 2).unwrap(),
        );
        assert!(
            !one[3..]
                .windows(4)
                .any(|w| two[3..].windows(4).any(|other| other == w))
        );
        assert!(
            !one.windows(4).any(|w| w == [7; 4]),
            "nor do they show its id"
        );
    }

    #[test]
    fn only_networks_that_this_phone_is_on_are_heeded() {
        assert!(on_link("127.0.0.1".parse().unwrap()));
        assert!(!on_link("203.0.113.7".parse().unwrap()));
    }
}
