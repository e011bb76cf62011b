//! A phone's body without links: what workers may and may not bring about.

use std::sync::Arc;

use protocol::{Area, CaseId};
use tokio::sync::oneshot;

use super::body::Message;
use super::sqlite::SqliteStore;
use super::{DataFolder, Host, HostOptions};
use crate::agent::{Command, Reply};
use crate::api::Refusal;
use crate::store::{EnvelopeStore, Setting, TrustStore};
use sync::SpaceKey;

fn area() -> Area {
    Area::parse("north").unwrap()
}

fn started() -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let options = HostOptions {
        offline: true,
        ..HostOptions::default()
    };
    let data = DataFolder::open(folder.path()).unwrap();
    let mut store = SqliteStore::open(folder.path(), &data.keys().unwrap()).unwrap();
    // Not certified yet, it writes into the space whose key it has.
    store
        .put_space_key(&SpaceKey::new(area(), [7; 32]))
        .unwrap();
    store.commit().unwrap();
    drop(store);
    let host = Host::start(data, options, Arc::new(|_| {})).unwrap();
    (folder, host)
}

fn act(host: &Host, command: Command, seen: Option<(CaseId, u64)>) -> Result<Reply, Refusal> {
    let (reply, acted) = oneshot::channel();
    let command = Box::new(command);
    let message = Message::Act {
        command,
        seen,
        reply,
    };
    host.messages.blocking_send(message).unwrap();
    let (result, moment) = acted.blocking_recv().unwrap();
    assert!(moment.is_ok(), "how things stand comes with every answer");
    result
}

fn add(case: Option<CaseId>, request: u8) -> Command {
    let value = clinical::FindingValue::Yes;
    let name = "cough".to_owned();
    Command::AddToCase {
        case,
        area: area(),
        entries: vec![record::Entry::Finding { name, value }],
        request: [request; 16],
    }
}

/// A meeting may bring a danger sign between a look at a case and what is written of it.
#[test]
fn what_was_judged_before_more_was_said_is_not_written() {
    let (_folder, host) = started();
    let Ok(Reply::Case(case)) = act(&host, add(None, 1), None) else {
        panic!("a case begins")
    };
    let seen = |entries| Some((case, entries));
    assert!(
        act(&host, add(Some(case), 2), seen(1)).is_ok(),
        "the control"
    );
    let stale = act(&host, add(Some(case), 3), seen(1));
    assert_eq!(stale, Err(Refusal::CaseMoved));
    assert!(
        act(&host, add(Some(case), 3), seen(2)).is_ok(),
        "looked at again"
    );
    host.stop();
}

/// What was judged of a case that is gone meanwhile leaves nothing of it behind.
#[test]
fn nothing_is_remembered_of_a_case_that_is_gone() {
    let (folder, host) = started();
    let Ok(Reply::Case(here)) = act(&host, add(None, 1), None) else {
        panic!("a case begins")
    };
    let gone = CaseId([9; 16]);
    let judged = vec![(gone, vec![1]), (here, vec![2])];
    host.messages
        .blocking_send(Message::Remember(judged))
        .unwrap();
    host.stop();
    let data = DataFolder::open(folder.path()).unwrap();
    let keys = data.keys().unwrap();
    let store = SqliteStore::open(folder.path(), &keys).unwrap();
    assert_eq!(store.setting(&Setting::now(&gone)).unwrap(), None);
    assert_eq!(store.setting(&Setting::now(&here)).unwrap(), Some(vec![2]));
}
