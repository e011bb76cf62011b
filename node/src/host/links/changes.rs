//! Word of when interfaces come, go, or change their addresses: the kernel tells (rtnetlink), so that
//! nothing is looked at while nothing happens.

#[cfg(target_os = "linux")]
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};

/// Links, IPv4 and IPv6 addresses (`RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV6_IFADDR`).
#[cfg(target_os = "linux")]
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// Changes come in flocks: after the first, the rest is waited for.
const SETTLES: std::time::Duration = std::time::Duration::from_millis(300);
/// Where nobody tells, it is assumed so often that something may have changed.
const PERHAPS: std::time::Duration = std::time::Duration::from_secs(60);

/// Where changes are told.
pub(super) struct Changes {
    #[cfg(target_os = "linux")]
    socket: Option<TokioSocket>,
    /// Since when something has changed that nobody has been told yet.
    #[cfg(target_os = "linux")]
    since: Option<tokio::time::Instant>,
}

impl Changes {
    /// Begins to listen.
    pub(super) fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            socket: listening(),
            #[cfg(target_os = "linux")]
            since: None,
        }
    }

    /// Waits until something has changed, and for what comes with it. What was heard is not lost where
    /// this is given up and begun again.
    pub(super) async fn changed(&mut self) {
        #[cfg(target_os = "linux")]
        while let Some(socket) = self.socket.as_mut() {
            let until = self.since.map(|since| since + SETTLES);
            let settled = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = settled => {
                    self.since = None;
                    return;
                }
                heard = socket.recv_from_full() => match heard {
                    Ok(_) => drop(self.since.get_or_insert_with(tokio::time::Instant::now)),
                    Err(_) => self.socket = None,
                }
            }
        }
        tokio::time::sleep(PERHAPS).await;
    }
}

#[cfg(target_os = "linux")]
fn listening() -> Option<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE).ok()?;
    // Newer Androids forbid it to apps.
    socket.socket_mut().bind(&SocketAddr::new(0, GROUPS)).ok()?;
    Some(socket)
}
