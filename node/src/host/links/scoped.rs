//! Link-local IPv6 for an endpoint that leaves scopes out: where two phones have nothing but `fe80::`
//! addresses (Wi-Fi Direct without DHCP, a cable, an ad-hoc network), an address says nothing without
//! its interface, and iroh 1.4 neither sends to one by its scope nor answers from one (the kernel
//! refuses a link-local source without an interface). So one socket of ours speaks on the links; for
//! each phone there is a loopback socket beside it, which is what the endpoint sees of that phone.
//! Datagrams pass one for one, unread.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use protocol::limits::CONNECTIONS_MAX;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

/// A phone from which nothing has come, and to which nothing has gone, for so long is forgotten.
const IDLE: Duration = Duration::from_secs(60);
/// Phones at one address: one, that has started anew now and then.
const PER_ADDRESS_MAX: usize = 4;
/// The least first datagram of a QUIC connection (RFC 9000, 14.1).
const INITIAL_BYTES: usize = 1200;
/// After so many datagrams from it a phone is taken for one that speaks with the endpoint.
const SPEAKS: u32 = 12;
/// The largest datagram that the endpoint makes or takes, and more.
const DATAGRAM_BYTES: usize = 2048;

/// One phone on a link.
struct Beside {
    socket: Arc<UdpSocket>,
    used: Instant,
    /// Datagrams that came from it; one that was called counts as speaking.
    heard: u32,
    reads: AbortHandle,
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.reads.abort();
    }
}

/// The socket on the links, and those beside it.
pub(super) struct Scoped {
    links: Arc<UdpSocket>,
    /// Where the endpoint listens on loopback.
    endpoint: SocketAddr,
    beside: Mutex<BTreeMap<SocketAddrV6, Beside>>,
}

impl Scoped {
    /// Begins to listen for the endpoint that listens at this port of 127.0.0.1.
    pub(super) async fn bind(endpoint_port: u16) -> io::Result<Self> {
        Ok(Self {
            links: Arc::new(UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await?),
            endpoint: (Ipv4Addr::LOCALHOST, endpoint_port).into(),
            beside: Mutex::default(),
        })
    }

    /// The port on which other phones reach this one by link-local addresses.
    pub(super) fn port(&self) -> u16 {
        self.links.local_addr().map_or(0, |address| address.port())
    }

    /// Where the endpoint is to call for a phone at a link-local address.
    pub(super) async fn way_to(self: &Arc<Self>, peer: SocketAddrV6) -> io::Result<SocketAddr> {
        self.socket_for(peer, true).await?.local_addr()
    }

    /// The socket beside for a phone. Where there are too many, who has said least makes room, and of
    /// those the one that was silent longest: a crowd of first words only replaces itself.
    async fn socket_for(
        self: &Arc<Self>,
        peer: SocketAddrV6,
        called: bool,
    ) -> io::Result<Arc<UdpSocket>> {
        let peer = SocketAddrV6::new(*peer.ip(), peer.port(), 0, peer.scope_id());
        let known = |beside: &mut BTreeMap<SocketAddrV6, Beside>| {
            beside.get_mut(&peer).map(|beside| {
                beside.used = Instant::now();
                beside.heard = beside.heard.saturating_add(1);
                beside.socket.clone()
            })
        };
        if let Some(socket) = known(&mut self.lock()) {
            return Ok(socket);
        }
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        socket.connect(self.endpoint).await?; // from nobody else is anything taken
        let mut beside = self.lock();
        if let Some(socket) = known(&mut beside) {
            return Ok(socket);
        }
        beside.retain(|_, beside| beside.used.elapsed() < IDLE);
        let here = beside
            .keys()
            .filter(|at| at.ip() == peer.ip() && at.scope_id() == peer.scope_id());
        let crowded = here.count() >= PER_ADDRESS_MAX;
        if crowded || beside.len() >= CONNECTIONS_MAX {
            let at = |at: &SocketAddrV6| !crowded || at.ip() == peer.ip();
            let least = beside.iter().filter(|(address, _)| at(address));
            let least = least.min_by_key(|(_, beside)| (beside.heard.min(SPEAKS), beside.used));
            let least = least.map(|(address, least)| (*address, least.heard));
            match least {
                Some((_, heard)) if heard >= SPEAKS && !called => {
                    return Err(io::Error::other("too many phones on the link"));
                }
                Some((address, _)) => drop(beside.remove(&address)),
                None => {}
            }
        }
        let reads = tokio::spawn(self.clone().pass_out(socket.clone(), peer)).abort_handle();
        let entry = Beside {
            socket: socket.clone(),
            used: Instant::now(),
            heard: if called { SPEAKS } else { 1 },
            reads,
        };
        beside.insert(peer, entry);
        Ok(socket)
    }

    fn knows(&self, from: &SocketAddrV6) -> bool {
        let from = SocketAddrV6::new(*from.ip(), from.port(), 0, from.scope_id());
        self.lock().contains_key(&from)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SocketAddrV6, Beside>> {
        self.beside.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What the endpoint sends to a phone goes onto its link.
    async fn pass_out(self: Arc<Self>, socket: Arc<UdpSocket>, peer: SocketAddrV6) {
        let mut datagram = [0; DATAGRAM_BYTES];
        // A closed endpoint gives an error for each datagram; a busy link loses some, as links do.
        loop {
            match socket.recv(&mut datagram).await {
                Ok(bytes) => {
                    let whole = datagram.get(..bytes).unwrap_or_default();
                    let _ = self.links.send_to(whole, peer).await;
                    if let Some(beside) = self.lock().get_mut(&peer) {
                        beside.used = Instant::now();
                    }
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// What comes from the links goes to the endpoint, until the program ends.
    pub(super) async fn run(self: Arc<Self>) {
        let mut datagram = [0; DATAGRAM_BYTES];
        loop {
            let Ok((bytes, from)) = self.links.recv_from(&mut datagram).await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            // Nothing is routed to a link-local address: who speaks is on the link.
            let SocketAddr::V6(from) = from else { continue };
            if !from.ip().is_unicast_link_local() {
                continue;
            }
            let whole = datagram.get(..bytes).unwrap_or_default();
            // Who begins anything says so in a long first packet; all else of strangers is noise.
            let begins = bytes >= INITIAL_BYTES && whole.first().is_some_and(|b| b & 0xc0 == 0xc0);
            if !begins && !self.knows(&from) {
                continue;
            }
            if let Ok(socket) = self.socket_for(from, false).await {
                let _ = socket.send(whole).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: u16, port: u16) -> SocketAddrV6 {
        let ip = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, address);
        SocketAddrV6::new(ip, port, 0, 1)
    }

    /// Strangers on a link make few sockets, take no place of a phone that speaks, and keep nobody out who
    /// comes after them.
    #[tokio::test]
    async fn a_crowd_on_the_link_only_replaces_itself() {
        let scoped = Arc::new(Scoped::bind(9).await.unwrap());
        let called = scoped.way_to(at(500, 1)).await.unwrap();
        for _ in 0..2 * SPEAKS {
            scoped.socket_for(at(501, 1), false).await.unwrap();
        }
        for n in 0..1000 {
            scoped.socket_for(at(n % 250, n), false).await.unwrap();
            assert!(scoped.lock().len() <= CONNECTIONS_MAX);
        }
        for n in 0..100 {
            scoped.socket_for(at(7, 10_000 + n), false).await.unwrap();
        }
        let of_one = scoped
            .lock()
            .keys()
            .filter(|a| *a.ip() == *at(7, 0).ip())
            .count();
        assert!(of_one <= PER_ADDRESS_MAX, "{of_one}");
        assert!(scoped.knows(&at(500, 1)) && scoped.knows(&at(501, 1)));
        assert_eq!(
            called,
            scoped.way_to(at(500, 1)).await.unwrap(),
            "one way to each"
        );
        scoped.socket_for(at(600, 1), false).await.unwrap();
        assert!(
            scoped.knows(&at(600, 1)),
            "who comes after the crowd is heard"
        );
    }
}
