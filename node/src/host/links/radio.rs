//! How a radio of this machine stands, whichever it is: said once when it changes, and looked at by whoever
//! wants to use it.

use std::path::Path;
use std::sync::Mutex;

use crate::host::Log;

/// Where the kernel says which radios are switched off.
pub(super) const SWITCHES: &str = "/sys/class/rfkill";

/// How a radio stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RadioState {
    /// It can be used.
    Ready,
    /// The service that looks after it (`bluetoothd`, `wpa_supplicant`) does not answer.
    NoService,
    /// That service does not let this user in.
    NotPermitted,
    /// This machine has none.
    NoAdapter,
    /// It is switched off by `rfkill` or a switch.
    Blocked,
    /// It is not powered; a phone that uses it switches it on.
    Off,
    /// It cannot do what is needed: raise networks of its own (P2P).
    Unsupported,
    /// A person uses it for something else, and is not disturbed.
    InUse,
    /// It does not work, for this reason.
    Failed(String),
}

/// For logs; a screen has words of its own (`kijiti doctor`).
impl std::fmt::Display for RadioState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::NoService => "its service does not answer",
            Self::NotPermitted => "its service does not let this user in",
            Self::NoAdapter => "there is no adapter",
            Self::Blocked => "it is switched off (rfkill)",
            Self::Off => "it is not powered",
            Self::Unsupported => "it cannot raise networks (P2P)",
            Self::InUse => "a person uses it for something else",
            Self::Failed(why) => why,
        })
    }
}

/// What is known of one radio.
pub(super) struct Standing {
    name: &'static str,
    ready: &'static str,
    state: Mutex<Option<RadioState>>,
    log: Log,
}

impl Standing {
    /// Nothing yet. `ready`: what is logged once it can be used.
    pub(super) fn of(name: &'static str, ready: &'static str, log: Log) -> Self {
        Self {
            name,
            ready,
            state: Mutex::default(),
            log,
        }
    }

    /// It stands so now; `true`: that is new.
    pub(super) fn note(&self, state: RadioState) -> bool {
        let mut before = self.state.lock().unwrap_or_else(|e| e.into_inner());
        let new = before.as_ref() != Some(&state);
        if new {
            let (name, ready) = (self.name, self.ready);
            match state == RadioState::Ready {
                true => (self.log)(&format!("{name}: {ready}")),
                false => (self.log)(&format!(
                    "{name}: {state}; tried again later, and kijiti doctor says what to do"
                )),
            }
            *before = Some(state);
        }
        new
    }

    /// Whether it can be used.
    pub(super) fn works(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        *state == Some(RadioState::Ready)
    }
}

/// What an error of the system's bus says of a radio's service, by the bus's own name for it; `None` if it
/// says nothing of that. A service that is not there is started by the bus where it can be, so what that
/// failed of is as good as no service.
#[cfg(all(feature = "radios", target_os = "linux"))]
pub(super) fn of_bus(error: &str) -> Option<RadioState> {
    const NO_SERVICE: [&str; 7] = [
        "Spawn",
        "ServiceUnknown",
        "NameHasNoOwner",
        "FileNotFound",
        "NoServer",
        "Disconnected",
        "NoReply",
    ];
    const NOT_PERMITTED: [&str; 4] = [
        "AccessDenied",
        "AuthFailed",
        "PermissionDenied",
        "NotAuthorized",
    ];
    let says = |words: &[&str]| words.iter().any(|word| error.contains(word));
    if says(&NO_SERVICE) {
        return Some(RadioState::NoService);
    }
    says(&NOT_PERMITTED).then_some(RadioState::NotPermitted)
}

/// Whether all switches of a kind of radio (`bluetooth`, `wlan`) are off, the machine's own or its
/// software's: one that is free is enough.
pub(super) fn blocked(switches: &Path, kind: &str) -> bool {
    let reads =
        |path: &Path, name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
    let off = |path: &Path| {
        let mut ways = ["soft", "hard"].iter();
        ways.any(|way| reads(path, way).trim() == "1")
    };
    let switches = std::fs::read_dir(switches).into_iter().flatten().flatten();
    let paths = switches.map(|switch| switch.path());
    let mut of_kind = paths
        .filter(|path| reads(path, "type").trim() == kind)
        .peekable();
    of_kind.peek().is_some() && of_kind.all(|path| off(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switch(folder: &Path, name: &str, kind: &str, soft: &str) {
        let at = folder.join(name);
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("type"), kind).unwrap();
        std::fs::write(at.join("soft"), soft).unwrap();
        std::fs::write(at.join("hard"), "0").unwrap();
    }

    /// A second adapter that is switched off does not keep the first from being used.
    #[test]
    fn a_radio_is_blocked_where_all_its_switches_are_off() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for kind in ["wlan", "bluetooth"] {
            assert!(!blocked(at, kind));
            switch(at, &format!("{kind}0"), kind, "1");
            assert!(blocked(at, kind));
            switch(at, &format!("{kind}1"), kind, "0");
            assert!(!blocked(at, kind));
        }
        assert!(!blocked(&at.join("nowhere"), "wlan"));
    }

    #[test]
    #[cfg(all(feature = "radios", target_os = "linux"))]
    fn what_the_bus_says_of_a_service_is_understood() {
        for (name, state) in [
            ("Spawn.PermissionsInvalid", Some(RadioState::NoService)),
            ("Spawn.ServiceNotFound", Some(RadioState::NoService)),
            ("ServiceUnknown", Some(RadioState::NoService)),
            ("AccessDenied", Some(RadioState::NotPermitted)),
            ("InvalidArgs", None),
        ] {
            let name = format!("org.freedesktop.DBus.Error.{name}");
            assert_eq!(of_bus(&name), state, "{name}");
        }
    }

    #[test]
    fn what_a_radio_is_said_to_be_is_said_once() {
        let said = std::sync::Arc::new(Mutex::new(Vec::new()));
        let log = said.clone();
        let log: Log =
            std::sync::Arc::new(move |line: &str| log.lock().unwrap().push(line.to_owned()));
        let standing = Standing::of("bluetooth", "ready", log);
        assert!(!standing.works());
        for state in [
            RadioState::NoAdapter,
            RadioState::NoAdapter,
            RadioState::Ready,
            RadioState::Ready,
        ] {
            standing.note(state);
        }
        assert!(standing.works());
        assert!(!standing.note(RadioState::Ready) && standing.note(RadioState::Blocked));
        let said = said.lock().unwrap().clone();
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[1], "bluetooth: ready");
    }
}
