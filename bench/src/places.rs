//! Mapping that hear of each other only through a medium: a network namespace for each phone, joined
//! to one in the middle in which the measuring process runs. Nothing is forwarded there, so no
//! phone finds a way around the medium (QUIC would: it probes every address that the other names).

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use crate::failed;

use app::Failure;

/// Set for the process that runs in the middle.
const HUB: &str = "KIJITI_BENCH_HUB";

/// One phone's place.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its address.
    pub address: IpAddr,
    /// The middle's address on its side.
    pub gateway: IpAddr,
}

/// The place with this number.
fn place(run: &str, number: u8) -> Place {
    let address = |last| IpAddr::V4(Ipv4Addr::new(10, 78, number, last));
    Place {
        namespace: format!("{run}-{number}"),
        address: address(2),
        gateway: address(1),
    }
}

/// The namespaces of one run; they go when this does.
struct Namespaces {
    run: String,
    made: Vec<String>,
}

impl Namespaces {
    fn add(&mut self, name: &str) -> Result<(), Failure> {
        ip(&["netns", "add", name])?;
        self.made.push(name.to_owned());
        ip(&["-n", name, "link", "set", "lo", "up"])
    }

    fn join(&mut self, number: u8) -> Result<(), Failure> {
        let place = place(&self.run, number);
        let (hub, name, end) = (self.run.clone(), place.namespace, format!("kj{number}"));
        self.add(&name)?;
        ip(&[
            "link", "add", &end, "netns", &hub, "type", "veth", "peer", "name", "kj", "netns",
            &name,
        ])?;
        for (namespace, end, address) in [
            (&hub, end.as_str(), place.gateway),
            (&name, "kj", place.address),
        ] {
            ip(&[
                "-n",
                namespace,
                "addr",
                "add",
                &format!("{address}/30"),
                "dev",
                end,
            ])?;
            ip(&["-n", namespace, "link", "set", end, "up"])?;
        }
        Ok(())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.made {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

fn ip(words: &[&str]) -> Result<(), Failure> {
    let hint = "it needs root and the `ip` command (Debian: iproute2)";
    let output = Command::new("ip").args(words).output();
    let output =
        output.map_err(|e| Failure::new(format!("no network namespaces here: {e}"), hint))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::new(
        format!("no network namespaces here: ip {}: {why}", words.join(" ")),
        hint,
    ))
}

/// Runs `measure` in the middle of so many places: by making them and starting this program again
/// there.
pub fn between(
    places: u8,
    measure: impl FnOnce(&[Place]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if let Ok(run) = std::env::var(HUB) {
        return measure(
            &(1..=places)
                .map(|number| place(&run, number))
                .collect::<Vec<_>>(),
        );
    }
    let run = format!("kj{}", std::process::id());
    let mut namespaces = Namespaces {
        run: run.clone(),
        made: Vec::new(),
    };
    namespaces.add(&run)?;
    (1..=places).try_for_each(|number| namespaces.join(number))?;
    let program = std::env::current_exe().map_err(failed)?;
    let mut inside = Command::new("ip");
    inside
        .args(["netns", "exec", &run])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(HUB, &run);
    match inside.status().map_err(failed)?.success() {
        true => Ok(()),
        false => Err(Failure::new(
            "the measurement failed",
            "see what it said above",
        )),
    }
}
