//! The door to Kotlin, Swift and Python: one object, [`Phone`], whose answers are JSON with named
//! schemas, the same that `kijiti --json` prints. No rules here, and no panic crosses the door.

// What no input may bring about: see also `clippy.toml`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::indexing_slicing,
        clippy::wildcard_enum_match_arm
    )
)]

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clinical::{Profile, Urgency};
use node::api::views::events::Told;
use node::api::{CaseWords, DecisionInput, Refusal, Request, RequestId};
use node::host::folder::key_is_sealed;
use node::host::{DataFolder, Host, HostOptions};

use serde_json::Value;

uniffi::setup_scaffolding!();

/// Why a phone does not do what was asked, for a screen to word in its own language.
#[derive(Debug, thiserror::Error, uniffi::Error)]
pub enum PhoneError {
    /// A refusal ([`node::api::Refusal`]): its code, and its values as JSON (`null` if none).
    #[error("{code} {values}")]
    Refused {
        /// Which.
        code: String,
        /// Its values.
        values: String,
    },
    /// An argument that is none: which, and how it was read.
    #[error("{argument}: {why}")]
    Argument {
        /// Which.
        argument: String,
        /// Why not.
        why: String,
    },
    /// The phone has been stopped.
    #[error("the phone has been stopped")]
    Stopped,
}

impl From<Refusal> for PhoneError {
    fn from(refusal: Refusal) -> Self {
        let (code, values) = match serde_json::to_value(&refusal) {
            Ok(Value::Object(map)) => map.into_iter().next().unwrap_or_default(),
            Ok(Value::String(code)) => (code, Value::Null),
            Ok(_) | Err(_) => (format!("{refusal:?}"), Value::Null),
        };
        PhoneError::Refused {
            code,
            values: values.to_string(),
        }
    }
}

/// One running phone.
#[derive(uniffi::Object)]
pub struct Phone {
    host: Mutex<Option<Host>>,
}

#[uniffi::export]
impl Phone {
    /// Starts the phone whose data lies in `folder`. With `discover` it finds neighbours on the
    /// local network by itself.
    #[uniffi::constructor]
    pub fn start(folder: String, discover: bool) -> Result<Arc<Self>, PhoneError> {
        Self::begin(&folder, discover, None)
    }

    /// The same, with a secret from the platform's keystore: the phone's key, and so all that can
    /// be read of patients, opens with it only. The first start with a secret seals what a start
    /// without one left open.
    #[uniffi::constructor]
    pub fn start_sealed(
        folder: String,
        discover: bool,
        secret: String,
    ) -> Result<Arc<Self>, PhoneError> {
        Self::begin(&folder, discover, Some(secret))
    }
    /// Who and how this phone is (`kijiti.status/2`).
    pub fn status(&self) -> Result<String, PhoneError> {
        self.ask(Request::Status)
    }

    /// Assesses findings (JSON or TOML) without keeping them (`kijiti.assessment/1`). `profile`:
    /// `iccm` or `imci`.
    pub fn triage(&self, findings: String, profile: String) -> Result<String, PhoneError> {
        self.ask(Request::Triage {
            findings,
            profile: read_profile(&profile)?,
        })
    }

    /// Begins a case (`kijiti.case-new/2`). `consent`: what the patient, or who speaks for the
    /// patient, has agreed to (`care`, `share`, `photo`, `training`); without `share` the case
    /// stays on this phone. `request`: 32 hexadecimal digits, fresh for every case; asked again
    /// with the same ones after a crash, nothing is done twice.
    pub fn begin_case(
        &self,
        findings: String,
        profile: String,
        consent: Vec<String>,
        request: String,
    ) -> Result<String, PhoneError> {
        let (profile, request) = (read_profile(&profile)?, read_number(&request)?);
        let consent = consent.into_iter().map(|to| (to, true)).collect();
        let (head, area, decision) = (Vec::new(), None, None);
        self.ask(Request::CaseNew {
            findings,
            profile,
            head,
            consent,
            area,
            decision,
            request,
        })
    }

    /// Adds to a case (`kijiti.case/2`). `words`: JSON with any of `set`, `settle`, `consent`,
    /// `note`, `dose`, `hand_to`, `reason`, `links`, as `kijiti case add` has them.
    pub fn add_to_case(
        &self,
        case: String,
        words: String,
        request: String,
    ) -> Result<String, PhoneError> {
        let words: CaseWords = serde_json::from_str(&words).map_err(|e| PhoneError::Argument {
            argument: "words".into(),
            why: e.to_string(),
        })?;
        let request = read_number(&request)?;
        self.ask(Request::CaseAdd {
            case,
            words: Box::new(words),
            request,
        })
    }

    /// Everything that was said about a case, in order (`kijiti.case-history/2`).
    pub fn history(&self, case: String) -> Result<String, PhoneError> {
        self.ask(Request::CaseHistory { case })
    }

    /// Decides on a case (`kijiti.case-decide/1`). `urgency`: `pink`, `yellow` or `green`.
    pub fn decide(
        &self,
        case: String,
        urgency: String,
        plan: String,
        reason: String,
        request: String,
    ) -> Result<String, PhoneError> {
        let urgency = Urgency::parse(&urgency).ok_or_else(|| argument("urgency", &urgency))?;
        let request = read_number(&request)?;
        self.ask(Request::CaseDecide {
            case,
            decision: DecisionInput {
                urgency,
                plan,
                reason,
            },
            request,
        })
    }

    /// All cases, and sealed ones that are carried (`kijiti.case-list/1`).
    pub fn cases(&self) -> Result<String, PhoneError> {
        self.ask(Request::all_cases())
    }

    /// One case (`kijiti.case/2`).
    pub fn case(&self, case: String) -> Result<String, PhoneError> {
        self.ask(Request::CaseShow { case })
    }

    /// Meets a phone at `address:port` and waits until it is over (`kijiti.meeting/2`).
    pub fn meet(&self, device: String, address: String) -> Result<String, PhoneError> {
        let peer = device.parse().map_err(|_| argument("device", &device))?;
        self.ask(Request::Meet { peer, address })
    }

    /// Follows what happens from now on, beside any other screens that do.
    pub fn follow(&self) -> Result<Arc<Follower>, PhoneError> {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        let host = host.as_ref().ok_or(PhoneError::Stopped)?;
        let follower = Mutex::new(host.follow());
        Ok(Arc::new(Follower { follower }))
    }

    /// Stops the phone. Asking it afterwards is an error, not a crash.
    pub fn stop(&self) {
        let host = self
            .host
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(host) = host {
            host.stop();
        }
    }
}

/// A screen that follows what happens on a phone.
#[derive(uniffi::Object)]
pub struct Follower {
    follower: Mutex<node::host::Follower>,
}

#[uniffi::export]
impl Follower {
    /// The next event (`kijiti.event/1`: [`node::api::views::events::Event`]), once it happens; none
    /// if nothing does for so many milliseconds.
    pub fn next(&self, wait_ms: u64) -> Result<Option<String>, PhoneError> {
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let event = follower.next(Duration::from_millis(wait_ms))?;
        let json = event.map(|event| serde_json::to_string(&Told { event }));
        Ok(json.transpose().map_err(|_| Refusal::Nothing)?)
    }
}

impl Phone {
    fn begin(
        folder: &str,
        discover: bool,
        secret: Option<String>,
    ) -> Result<Arc<Self>, PhoneError> {
        let path = Path::new(folder);
        let data = DataFolder::open(path)?.with_secret(secret.clone());
        if secret.is_some() && !key_is_sealed(path) {
            data.seal_with(secret.as_deref())?;
        }
        let options = HostOptions {
            listen: None,
            offline: false,
            discover,
            ..HostOptions::default()
        };
        let host = Host::start(data, options, Arc::new(|_| {}))?;
        Ok(Arc::new(Self {
            host: Mutex::new(Some(host)),
        }))
    }

    fn ask(&self, request: Request) -> Result<String, PhoneError> {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        let host = host.as_ref().ok_or(PhoneError::Stopped)?;
        let reply = host.request(request, &mut |_| {})?;
        let json = reply.view().to_json().map_err(|_| Refusal::Nothing)?;
        Ok(json.to_string())
    }
}

fn read_profile(text: &str) -> Result<Profile, PhoneError> {
    Profile::parse(text).ok_or_else(|| argument("profile", text))
}

fn read_number(text: &str) -> Result<RequestId, PhoneError> {
    let id: protocol::CaseId = text.parse().map_err(|_| argument("request", text))?;
    Ok(RequestId(id.0))
}

fn argument(argument: &str, said: &str) -> PhoneError {
    PhoneError::Argument {
        argument: argument.into(),
        why: format!("{said:?}"),
    }
}
