//! The door, from this side: what Kotlin, Swift and Python would call.

use kijiti_mobile::{Phone, PhoneError};

const FINDINGS: &str = include_str!("../../app/examples/severe-pneumonia.toml");

#[test]
fn a_phone_starts_assesses_and_stops_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let phone = Phone::start(folder.path().display().to_string(), false).unwrap();
    assert!(phone.status().unwrap().contains("kijiti.status/2"));
    assert!(
        phone
            .triage(FINDINGS.into(), "iccm".into())
            .unwrap()
            .contains("\"urgency\":\"pink\"")
    );
    let error = phone
        .triage(
            "age_months = 11\ndrinking = \"gladly\"\n".into(),
            "iccm".into(),
        )
        .unwrap_err();
    assert!(
        matches!(&error, PhoneError::Refused { code, values } if code == "Findings" && values.contains("unable")),
        "{error:?}"
    );
    assert!(
        phone
            .begin_case(FINDINGS.into(), "iccm".into(), Vec::new(), "00".repeat(16))
            .is_err(),
        "not enrolled"
    );
    assert!(
        Phone::start(folder.path().display().to_string(), false).is_err(),
        "the folder is in use"
    );
    phone.stop();
    assert!(matches!(phone.cases(), Err(PhoneError::Stopped)));
}

/// Two screens follow one phone, which a stranger calls: both hear how that ends.
#[test]
fn any_number_of_screens_follow_what_happens() {
    let folders = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let [phone, stranger] = folders
        .each_ref()
        .map(|f| Phone::start(f.path().display().to_string(), false).unwrap());
    let screens = [phone.follow().unwrap(), phone.follow().unwrap()];
    let status: serde_json::Value = serde_json::from_str(&phone.status().unwrap()).unwrap();
    let device = status["device"].as_str().unwrap().to_owned();
    let addresses = status["listening"].as_array().unwrap().iter();
    let port = addresses
        .filter_map(|a| a.as_str()?.parse::<std::net::SocketAddr>().ok())
        .find(std::net::SocketAddr::is_ipv4)
        .unwrap()
        .port();
    let met = stranger.meet(device, format!("127.0.0.1:{port}"));
    assert!(met.is_err(), "neither is enrolled: {met:?}");
    for screen in screens {
        let event = screen.next(20_000).unwrap().expect("something happens");
        let event: serde_json::Value = serde_json::from_str(&event).unwrap();
        assert_eq!(event["schema"], "kijiti.event/1");
        assert_eq!(event["event"], "meeting_ended");
        assert_eq!(event["complete"], false);
        assert_eq!(screen.next(1).unwrap(), None);
    }
    let late = phone.follow().unwrap();
    phone.stop();
    assert!(matches!(late.next(20_000), Err(PhoneError::Refused { .. })));
}

#[test]
fn a_secret_of_the_keystore_seals_the_key_and_opens_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    Phone::start(path.clone(), false).unwrap().stop();
    Phone::start_sealed(path.clone(), false, "a secret of the keystore".into())
        .unwrap()
        .stop();
    assert!(
        std::fs::read_to_string(folder.path().join("key"))
            .unwrap()
            .starts_with("-----BEGIN AGE")
    );
    assert!(Phone::start_sealed(path.clone(), false, "another".into()).is_err());
    let phone = Phone::start_sealed(path, false, "a secret of the keystore".into()).unwrap();
    assert!(phone.history("abcd".into()).is_err(), "no such case");
    assert!(
        phone
            .add_to_case("abcd".into(), "not json".into(), "00".repeat(16))
            .is_err()
    );
    phone.stop();
}
