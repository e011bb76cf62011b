//! L2CAP credit-based channels: the kernel's sockets.

use std::time::Duration;

use bluer::l2cap::{Socket, SocketAddr, Stream, StreamListener};
use bluer::{Adapter, Address, AddressType, DiscoveryFilter, DiscoveryTransport};

use super::bluez::of_error;
use crate::host::links::radio::RadioState;

pub use bluer::l2cap::StreamListener as Listener;

/// Bytes of one packet of ours on an L2CAP channel. The kernel grants credits for one of them at a
/// time, so that a larger one keeps more of them in the air.
const PACKET_BYTES: u16 = 16 * 1024;

/// Where a phone was noticed.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Its address of the moment.
    pub address: Address,
    /// Whether that changes.
    pub kind: AddressType,
    /// Its channel.
    pub psm: u8,
}

impl Place {
    /// Reads it as [`super::Bluetooth`] writes it: `address/random/channel`.
    pub fn parse(at: &str) -> Option<Self> {
        let mut parts = at.split('/');
        let place = Self {
            address: parts.next()?.parse().ok()?,
            kind: match parts.next()? {
                "random" => AddressType::LeRandom,
                "public" => AddressType::LePublic,
                _ => return None,
            },
            psm: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(place)
    }
}

/// What the radio looks for: all LE devices, however often they speak.
pub fn filter() -> DiscoveryFilter {
    DiscoveryFilter {
        transport: DiscoveryTransport::Le,
        duplicate_data: true,
        ..Default::default()
    }
}

/// A channel at which others can call, and its number.
pub async fn listen(adapter: &Adapter) -> Result<(StreamListener, u8), RadioState> {
    let failed = |e: std::io::Error| RadioState::Failed(format!("no channel: {e}"));
    let address = adapter.address().await.map_err(of_error)?;
    let kind = adapter.address_type().await.map_err(of_error)?;
    let socket = Socket::new_stream().map_err(failed)?;
    // Any channel that is free; the token says which.
    socket
        .bind(SocketAddr::new(address, kind, 0))
        .map_err(failed)?;
    socket.set_recv_mtu(PACKET_BYTES).map_err(failed)?;
    let listener = socket.listen(8).map_err(failed)?;
    let psm = listener.as_ref().local_addr().map_err(failed)?.psm;
    let psm = u8::try_from(psm).map_err(|e| RadioState::Failed(e.to_string()))?;
    Ok((listener, psm))
}

/// Opens an L2CAP channel.
pub async fn connect(adapter: &Adapter, place: &Place) -> std::io::Result<Stream> {
    let gone = |e: bluer::Error| std::io::Error::other(e.to_string());
    // Both before the socket is made: it is watched from then on, and what it said before it was
    // connected would be taken for "connected".
    let own = adapter.address().await.map_err(gone)?;
    let kind = adapter.address_type().await.map_err(gone)?;
    let socket = Socket::new_stream()?;
    socket.bind(SocketAddr::new(own, kind, 0))?;
    socket.set_recv_mtu(PACKET_BYTES)?;
    let to = SocketAddr::new(place.address, place.kind, u16::from(place.psm));
    let stream = socket.connect(to).await?;
    while !stream.peer_addr().is_ok_and(|peer| peer.cid != 0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_phone_was_noticed_is_read_as_it_was_written() {
        let place = Place::parse("5A:01:02:03:04:05/random/133").unwrap();
        assert_eq!((place.kind, place.psm), (AddressType::LeRandom, 133));
        for other in [
            "",
            "5A:01:02:03:04:05",
            "5A:01:02:03:04:05/random/300",
            "10.0.0.1:9",
        ] {
            assert_eq!(Place::parse(other), None, "{other}");
        }
    }
}
