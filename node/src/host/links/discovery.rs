//! LAN discovery: a small announcement by link-local multicast on every interface,
//! no default route needed.
//!
//! ```text
//! "KJ3" · nonce 24 · XChaCha20-Poly1305 under the ministry's discovery key of:
//!         device id 32 · QUIC port on IPv4 u16 · on IPv6 u16 (little-endian; 0: none) · and its tag 16
//! associated data: the address that it is spoken from, 4 or 16 bytes
//! ```
//! The nonce is new every time, so that to everybody but phones of the same ministry all announcements
//! are noise that never repeats. What does not open is forgotten at once. An announcement proves nothing:
//! it only says where to call, and the call proves who is there; and it is taken from the networks
//! that this phone is on, from nowhere else. Who plays one back cannot make phones call another than the
//! one who spoke it: it opens only where it comes from the address that it was spoken from. (mDNS libraries were tried on paper first: the one
//! that fits iroh joins its group on the default interface only, and finds nothing where there is
//! no default route, which is what a hotspot without internet looks like.)

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use protocol::DeviceId;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use super::counts::Counts;
use super::{Port, changes};
use crate::agent::LinkClass;
use crate::host::Log;

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 75, 74);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x6b, 0x6a74);
const PORT: u16 = 41_968;
/// How every announcement begins.
const MARK: &[u8] = b"KJ3";
const BEACON_BYTES: usize = 3 + 24 + 36 + 16;
/// Neighbours remembered, and sockets' packets waited for.
const NEIGHBOURS_MAX: usize = 256;
/// How long a neighbour that was heard counts as near: two announcements may be lost.
const NEAR: Duration = Duration::from_secs(240);
/// How often the agent is told of those that are near, so that a call that failed is made again.
const REPORT_EVERY: Duration = Duration::from_secs(3);

/// When to speak: a few times when there is news (a network has come, an address has changed), and then
/// just often enough that a lost word does no harm. On a network where nothing happens that is less
/// than one packet a minute.
#[derive(Debug, Default)]
pub struct Schedule {
    spoken: u32,
}

/// After news: at once, and twice more, as multicast over Wi-Fi is not acknowledged.
const BURST_MS: [u64; 3] = [0, 700, 2_500];
/// Between announcements after that.
const IDLE_MS: u64 = 80_000;

impl Schedule {
    /// There is news.
    pub fn news(&mut self) {
        self.spoken = 0;
    }

    /// Milliseconds to wait, a share of chance included (0..=255), so that a room of phones does not
    /// speak at once; and whether to speak both by IPv4 and IPv6, or by which.
    pub fn next(&mut self, chance: u8) -> (u64, Families) {
        let at = self.spoken as usize;
        let waits = match (
            BURST_MS.get(at),
            at.checked_sub(1).and_then(|b| BURST_MS.get(b)),
        ) {
            (Some(now), before) => {
                let waits = now - before.copied().unwrap_or_default();
                (
                    waits * (256 + u64::from(chance)) / 512 + u64::from(chance) / 8,
                    Families::Both,
                )
            }
            (None, _) => {
                let one = if at.is_multiple_of(2) {
                    Families::V4
                } else {
                    Families::V6
                };
                (IDLE_MS + IDLE_MS * u64::from(chance) / 1024, one)
            }
        };
        self.spoken = self.spoken.saturating_add(1);
        waits
    }
}

/// By which kinds of addresses an announcement goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// Both.
    Both,
    /// IPv4, or IPv6 on an interface that has no IPv4.
    V4,
    /// The other way round.
    V6,
}

/// What discovery needs of its phone.
pub(super) struct Discovery {
    pub id: DeviceId,
    /// QUIC's ports on IPv4 and on IPv6; 0: none.
    pub ports: (u16, u16),
    pub key: watch::Receiver<Option<[u8; 32]>>,
    pub port: Port,
    pub counts: Arc<Counts>,
    pub log: Log,
    /// Whether another phone has been heard that says it is this one.
    pub twin_heard: bool,
}

impl Discovery {
    /// Speaks and listens until the program ends, while there is a ministry whose phones can hear it.
    pub(super) async fn run(mut self) {
        let listeners: Vec<_> = [bind(Domain::IPV4), bind(Domain::IPV6)]
            .into_iter()
            .flatten()
            .collect();
        if listeners.is_empty() {
            (self.log)("neighbours cannot be found: no multicast here");
            return;
        }
        let (heard, mut announcements) = mpsc::channel(64);
        for socket in &listeners {
            tokio::spawn(listen(socket.clone(), heard.clone()));
        }
        let mut changes = changes::Changes::new();
        let mut near: BTreeMap<DeviceId, (SocketAddr, Instant)> = BTreeMap::new();
        let mut schedule = Schedule::default();
        let wait = |schedule: &mut Schedule| {
            let (ms, families) = schedule.next(chance());
            (Instant::now() + Duration::from_millis(ms), families)
        };
        let (mut speak, mut families) = wait(&mut schedule);
        let mut report = Instant::now() + REPORT_EVERY;
        loop {
            let alone = near.is_empty();
            tokio::select! {
                () = tokio::time::sleep_until(speak.into()) => {
                    join_everywhere(&listeners);
                    let sent = self.speak_everywhere(families).await;
                    self.counts.announced.fetch_add(sent, Relaxed);
                    (speak, families) = wait(&mut schedule);
                }
                changed = self.key.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    schedule.news();
                    (speak, families) = wait(&mut schedule);
                }
                () = changes.changed() => {
                    join_everywhere(&listeners);
                    schedule.news();
                    (speak, families) = wait(&mut schedule);
                }
                () = tokio::time::sleep_until(report.into()), if !alone => {
                    report = Instant::now() + REPORT_EVERY;
                    near.retain(|_, (_, at)| at.elapsed() < NEAR);
                    for (peer, (address, _)) in &near {
                        if on_link(address.ip()) && !self.port.seen(*peer, LinkClass::Ip, address.to_string()).await {
                            return;
                        }
                    }
                }
                Some((bytes, from)) = announcements.recv() => {
                    let Some((peer, address)) = self.heard(&bytes, from) else { continue };
                    if peer == self.id && !std::mem::replace(&mut self.twin_heard, true) {
                        // It is to hear of this one as well.
                        schedule.news();
                        (speak, families) = wait(&mut schedule);
                    }
                    if !self.tell(&mut near, peer, address).await {
                        return;
                    }
                }
            }
        }
    }

    /// A neighbour has spoken: the agent is told at once, unless it was just now. `false`: the phone is gone.
    async fn tell(
        &self,
        near: &mut BTreeMap<DeviceId, (SocketAddr, Instant)>,
        peer: DeviceId,
        address: SocketAddr,
    ) -> bool {
        let known = near.insert(peer, (address, Instant::now()));
        if near.len() > NEIGHBOURS_MAX {
            let oldest = near.iter().min_by_key(|(_, (_, at))| *at);
            let oldest = oldest.map(|(peer, _)| *peer);
            oldest.map(|oldest| near.remove(&oldest));
        }
        let just_now =
            known.is_some_and(|(before, at)| before == address && at.elapsed() < REPORT_EVERY);
        just_now
            || self
                .port
                .seen(peer, LinkClass::Ip, address.to_string())
                .await
    }

    /// Says the announcement once on every interface that is up, by each family that is wanted and
    /// there; how many packets that were.
    async fn speak_everywhere(&self, families: Families) -> u64 {
        let (key, (v4, v6)) = (*self.key.borrow(), self.ports);
        let Some(key) = key else {
            return 0;
        };
        let mut sent = 0;
        for (ip, index) in sources(&if_addrs::get_if_addrs().unwrap_or_default(), families) {
            let Some(announcement) = write(&key, (&self.id, ip), v4, v6) else {
                continue;
            };
            sent += u64::from(speak(&announcement, ip, index).await.is_ok());
        }
        sent
    }

    /// Who has spoken, and where to call, if it is a phone of ours on a network that this one is on.
    fn heard(&self, bytes: &[u8], from: SocketAddr) -> Option<(DeviceId, SocketAddr)> {
        self.counts.heard.fetch_add(1, Relaxed);
        let key = *self.key.borrow();
        let Some((peer, address)) = key.and_then(|key| read(&key, bytes, from)) else {
            let like_ours = bytes.starts_with(MARK);
            self.counts
                .strangers
                .fetch_add(u64::from(like_ours), Relaxed);
            return None;
        };
        let own_port = match from {
            SocketAddr::V4(_) => self.ports.0,
            SocketAddr::V6(_) => self.ports.1,
        };
        let own = peer == self.id && is_own(from.ip()) && address.port() == own_port;
        (on_link(from.ip()) && !own).then_some((peer, address))
    }
}

fn chance() -> u8 {
    let mut chance = [0];
    let _ = getrandom::fill(&mut chance);
    let [chance] = chance;
    chance
}

/// Whether an address is one of this machine's.
fn is_own(ip: IpAddr) -> bool {
    let own = if_addrs::get_if_addrs().unwrap_or_default();
    own.iter().any(|interface| interface.ip() == ip)
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

/// An announcement of this phone, spoken from an address of it, sealed for phones of the ministry whose
/// discovery key this is; no two have anything in common.
pub fn write(
    key: &[u8; 32],
    (id, from): (&DeviceId, IpAddr),
    port_v4: u16,
    port_v6: u16,
) -> Option<Vec<u8>> {
    let mut nonce = [0; 24];
    getrandom::fill(&mut nonce).ok()?;
    let plain = [
        id.as_bytes().as_slice(),
        &port_v4.to_le_bytes(),
        &port_v6.to_le_bytes(),
    ]
    .concat();
    let sealed = XChaCha20Poly1305::new(key.into())
        .encrypt((&nonce).into(), bound(&plain, &octets(from)))
        .ok()?;
    Some([MARK, &nonce, &sealed].concat())
}

/// An address as it is bound to what is spoken from it.
fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn bound<'a>(msg: &'a [u8], aad: &'a [u8]) -> Payload<'a, 'a> {
    Payload { msg, aad }
}

/// Reads an announcement of the ministry whose discovery key this is: who, and where to call.
pub fn read(key: &[u8; 32], bytes: &[u8], from: SocketAddr) -> Option<(DeviceId, SocketAddr)> {
    let rest = bytes
        .strip_prefix(MARK)
        .filter(|_| bytes.len() == BEACON_BYTES)?;
    let (nonce, sealed) = rest.split_first_chunk::<24>()?;
    let plain = XChaCha20Poly1305::new(key.into())
        .decrypt(nonce.into(), bound(sealed, &octets(from.ip())))
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

fn bind(domain: Domain) -> Option<Arc<UdpSocket>> {
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
    UdpSocket::from_std(socket.into()).ok().map(Arc::new)
}

async fn listen(socket: Arc<UdpSocket>, heard: mpsc::Sender<(Vec<u8>, SocketAddr)>) {
    let mut buffer = [0; 128];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((bytes, from)) => {
                let announcement = buffer.get(..bytes).unwrap_or_default().to_vec();
                if heard.send((announcement, from)).await.is_err() {
                    return;
                }
            }
            Err(_) => tokio::time::sleep(REPORT_EVERY).await,
        }
    }
}

/// Joins the group on every interface, those that have just appeared included.
fn join_everywhere(sockets: &[Arc<UdpSocket>]) {
    for interface in if_addrs::get_if_addrs().unwrap_or_default() {
        for socket in sockets {
            let here = socket2::SockRef::from(socket.as_ref());
            // Where it is joined already, that does no harm.
            let _ = match (interface.ip(), interface.index) {
                (IpAddr::V4(ip), _) => here.join_multicast_v4(&GROUP_V4, &ip),
                (IpAddr::V6(_), Some(index)) => here.join_multicast_v6(&GROUP_V6, index),
                (IpAddr::V6(_), None) => Ok(()),
            };
        }
    }
}

/// Where announcements go out from: one address of each interface, by each family that is wanted and
/// there, with the interface's number. By IPv6 the link-local one, as the group is.
fn sources(interfaces: &[if_addrs::Interface], families: Families) -> Vec<(IpAddr, u32)> {
    let alone = interfaces.iter().all(if_addrs::Interface::is_loopback);
    let mut spoken_on: BTreeMap<(u32, bool), IpAddr> = BTreeMap::new();
    for interface in interfaces.iter().filter(|i| alone || !i.is_loopback()) {
        let Some(index) = interface.index else {
            continue;
        };
        let ip = interface.ip();
        let at = spoken_on.entry((index, ip.is_ipv6())).or_insert(ip);
        if let IpAddr::V6(v6) = ip
            && v6.is_unicast_link_local()
        {
            *at = ip;
        }
    }
    let wanted = |(index, v6): &(u32, bool)| {
        let other = spoken_on.contains_key(&(*index, !v6));
        match families {
            Families::Both => true,
            Families::V4 => !v6 || !other,
            Families::V6 => *v6 || !other,
        }
    };
    let spoken_on = spoken_on.iter().filter(|(on, _)| wanted(on));
    spoken_on.map(|((index, _), ip)| (*ip, *index)).collect()
}

/// Says an announcement from an address of an interface.
async fn speak(announcement: &[u8], ip: IpAddr, index: u32) -> std::io::Result<()> {
    let (from, to): (SocketAddr, SocketAddr) = match ip {
        IpAddr::V4(v4) => ((v4, 0).into(), (GROUP_V4, PORT).into()),
        IpAddr::V6(v6) => {
            let scope = if v6.is_unicast_link_local() { index } else { 0 };
            (
                SocketAddrV6::new(v6, 0, 0, scope).into(),
                SocketAddrV6::new(GROUP_V6, PORT, 0, index).into(),
            )
        }
    };
    let socket = UdpSocket::bind(from).await?;
    if let IpAddr::V4(v4) = ip {
        socket2::SockRef::from(&socket).set_multicast_if_v4(&v4)?;
    }
    socket.send_to(announcement, to).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_says_who_and_where_to_phones_of_the_same_ministry_only() {
        let (key, id) = ([3; 32], DeviceId([7; 32]));
        let from: SocketAddr = "10.0.0.9:41968".parse().unwrap();
        let bytes = write(&key, (&id, from.ip()), 5000, 6000).unwrap();
        assert_eq!(
            read(&key, &bytes, from),
            Some((id, "10.0.0.9:5000".parse().unwrap()))
        );
        assert_eq!(read(&[4; 32], &bytes, from), None);
        assert_eq!(read(&key, &bytes[..BEACON_BYTES - 1], from), None);
        let portless = write(&key, (&id, from.ip()), 0, 6000).unwrap();
        assert_eq!(read(&key, &portless, from), None);
        // Played back from elsewhere, it makes nobody call there (H2 of the review).
        for victim in [
            "10.0.0.10:41968",
            "[fe80::9%3]:41968",
            "[::ffff:10.0.0.9]:41968",
        ] {
            assert_eq!(
                read(&key, &bytes, victim.parse().unwrap()),
                None,
                "{victim}"
            );
        }
        for at in 0..bytes.len() {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 1;
            assert_eq!(read(&key, &spoiled, from), None, "{at}");
        }
    }

    #[test]
    fn no_two_beacons_of_one_phone_have_anything_in_common() {
        let (one, two) = (
            write(
                &[3; 32],
                (&DeviceId([7; 32]), IpAddr::from([10, 0, 0, 9])),
                1,
                2,
            )
            .unwrap(),
            write(
                &[3; 32],
                (&DeviceId([7; 32]), IpAddr::from([10, 0, 0, 9])),
                1,
                2,
            )
            .unwrap(),
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

    /// On a network where nothing happens a phone says less than a word a minute, whatever chance says;
    /// who comes is heard three times by both families within four seconds.
    #[test]
    fn news_is_said_at_once_and_silence_costs_less_than_a_packet_a_minute() {
        for chance in [0, 128, 255] {
            let mut schedule = Schedule::default();
            let news: Vec<_> = (0..3).map(|_| schedule.next(chance)).collect();
            assert!(news.iter().all(|(_, families)| *families == Families::Both));
            assert!(news.iter().map(|(ms, _)| ms).sum::<u64>() < 4_000);
            let idle: Vec<_> = (0..100).map(|_| schedule.next(chance)).collect();
            assert!(idle.iter().map(|(ms, _)| ms).sum::<u64>() > 100 * 60_000);
            let v4 = idle
                .iter()
                .filter(|(_, families)| *families == Families::V4);
            assert_eq!(v4.count(), 50, "each family in its turn");
            schedule.news();
            assert_eq!(schedule.next(chance).1, Families::Both);
        }
    }

    #[test]
    fn each_interface_is_spoken_on_from_one_address_of_each_family() {
        let interface = |name: &str, index, ip: &str| {
            let ip: IpAddr = ip.parse().unwrap();
            let addr = match ip {
                IpAddr::V4(ip) => if_addrs::IfAddr::V4(if_addrs::Ifv4Addr {
                    ip,
                    netmask: Ipv4Addr::new(255, 255, 255, 0),
                    prefixlen: 24,
                    broadcast: None,
                }),
                IpAddr::V6(ip) => if_addrs::IfAddr::V6(if_addrs::Ifv6Addr {
                    ip,
                    netmask: Ipv6Addr::from(u128::MAX << 64),
                    prefixlen: 64,
                    broadcast: None,
                }),
            };
            if_addrs::Interface {
                name: name.into(),
                addr,
                index: Some(index),
                oper_status: if_addrs::IfOperStatus::Up,
                is_p2p: false,
            }
        };
        let all = [
            interface("lo", 1, "127.0.0.1"),
            interface("wlan0", 2, "10.0.0.9"),
            interface("wlan0", 2, "10.0.0.10"),
            interface("wlan0", 2, "2001:db8::9"),
            interface("wlan0", 2, "fe80::9"),
            interface("p2p0", 3, "fe80::a"),
        ];
        let from = |families| -> Vec<String> {
            let sources = sources(&all, families).into_iter();
            sources.map(|(ip, index)| format!("{ip} {index}")).collect()
        };
        assert_eq!(
            from(Families::Both),
            ["10.0.0.9 2", "fe80::9 2", "fe80::a 3"]
        );
        assert_eq!(from(Families::V4), ["10.0.0.9 2", "fe80::a 3"]);
        assert_eq!(from(Families::V6), ["fe80::9 2", "fe80::a 3"]);
    }

    #[test]
    fn only_networks_that_this_phone_is_on_are_heeded() {
        assert!(on_link("127.0.0.1".parse().unwrap()));
        assert!(!on_link("203.0.113.7".parse().unwrap()));
    }
}
