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
/// The largest datagram that the endpoint makes or takes, and more.
const DATAGRAM_BYTES: usize = 2048;

/// One phone on a link.
struct Beside {
    socket: Arc<UdpSocket>,
    used: Instant,
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

    /// The socket beside for a phone. Where there are too many, who was silent longest makes room; a
    /// stranger's first word takes nobody's place who was heard just now.
    async fn socket_for(
        self: &Arc<Self>,
        peer: SocketAddrV6,
        called: bool,
    ) -> io::Result<Arc<UdpSocket>> {
        let peer = SocketAddrV6::new(*peer.ip(), peer.port(), 0, peer.scope_id());
        let known = |beside: &mut BTreeMap<SocketAddrV6, Beside>| {
            beside.get_mut(&peer).map(|beside| {
                beside.used = Instant::now();
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
        if beside.len() >= CONNECTIONS_MAX {
            if !called {
                return Err(io::Error::other("too many phones on the link"));
            }
            let oldest = beside.iter().min_by_key(|(_, beside)| beside.used);
            let oldest = oldest.map(|(peer, _)| *peer);
            oldest.map(|oldest| beside.remove(&oldest));
        }
        let reads = tokio::spawn(self.clone().pass_out(socket.clone(), peer)).abort_handle();
        let entry = Beside {
            socket: socket.clone(),
            used: Instant::now(),
            reads,
        };
        beside.insert(peer, entry);
        Ok(socket)
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
            if let Ok(socket) = self.socket_for(from, false).await {
                let whole = datagram.get(..bytes).unwrap_or_default();
                let _ = socket.send(whole).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strangers on a link make few sockets, and a phone that is called has room among them.
    #[tokio::test]
    async fn a_crowd_on_the_link_takes_a_bounded_number_of_sockets() {
        let scoped = Arc::new(Scoped::bind(9).await.unwrap());
        let at = |n: u16| SocketAddrV6::new("fe80::1".parse().unwrap(), 1000 + n, 0, 1);
        let mut taken = 0;
        for n in 0..2 * CONNECTIONS_MAX as u16 {
            taken += usize::from(scoped.socket_for(at(n), false).await.is_ok());
        }
        assert_eq!(taken, CONNECTIONS_MAX);
        scoped.way_to(at(9999)).await.unwrap();
        assert_eq!(scoped.lock().len(), CONNECTIONS_MAX);
        let again = scoped.way_to(at(9999)).await.unwrap();
        assert_eq!(
            again,
            scoped.way_to(at(9999)).await.unwrap(),
            "one way to each"
        );
    }
}
