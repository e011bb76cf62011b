//! `kijiti hotspot`: a network for those who stand around, joined by a code on the screen. Phones of the
//! ministry that are on it find each other by themselves. Link-local addresses are enough for them; NetworkManager,
//! where it looks after the interface, gives out others too.

#[cfg(target_os = "linux")]
use node::host::links::radio::RadioState;
#[cfg(target_os = "linux")]
use node::host::links::wifi::{Hotspot, group};

use crate::Failure;

/// Raises one, or joins one by its code, until Ctrl-C.
#[cfg(target_os = "linux")]
pub fn run(join: Option<&str>, interface: Option<&str>) -> Result<(), Failure> {
    let network = join.map(|code| {
        group::of_code(code).ok_or_else(|| {
            let hint = "scan the code that the other phone shows, and put its text in quotes: 'WIFI:T:WPA;S:…;P:…;;'";
            Failure::new("this is no code of a Wi-Fi network with a passphrase", hint).with_code(2)
        })
    });
    let network = network.transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("no thread: {e}"), "restart"))?;
    let failed = |state: RadioState| {
        let why = crate::doctor::radio(&crate::doctor::WIFI, &state);
        Failure::new(
            format!("no hotspot: {why}"),
            "`kijiti doctor` says how the radios stand; a card carries too (`kijiti carry`)",
        )
    };
    runtime.block_on(async {
        let hotspot = match &network {
            Some(network) => {
                let joined = Hotspot::join(interface, network).await.map_err(failed)?;
                println!("joined {}", network.ssid);
                joined
            }
            None => {
                let (raised, network) = Hotspot::raise(interface).await.map_err(failed)?;
                let code = group::to_code(&network);
                crate::codes::draw_text(&code)?;
                println!("scan this, or: network {}", network.ssid);
                println!("            passphrase {}", network.passphrase);
                println!("or on another kijiti: kijiti hotspot --join '{code}'");
                raised
            }
        };
        println!("it stays until Ctrl-C; `kijiti start` meets whoever is on it");
        let terminate = async {
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(mut signal) => drop(signal.recv().await),
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = terminate => {}
        }
        hotspot.leave().await;
        Ok(())
    })
}

/// Raises one, or joins one by its code, until Ctrl-C.
#[cfg(not(target_os = "linux"))]
pub fn run(_join: Option<&str>, _interface: Option<&str>) -> Result<(), Failure> {
    let hint = "raise one in this machine's settings: phones that are on it meet over it";
    Err(Failure::new(
        "this machine's hotspots are not raised by kijiti",
        hint,
    ))
}
