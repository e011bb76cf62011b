//! `kijiti doctor`: is this installation well, and what does it cost?

use std::path::Path;
use std::time::{Duration, Instant};

use node::api::Request;
use node::api::views::idle::Idle;
use node::host::DataFolder;
use node::host::links::radio::RadioState;
#[cfg(target_os = "linux")]
use node::host::links::{bluetooth, wifi};
use serde_json::json;

use crate::Failure;
use crate::run::Phone;
use crate::show::size;

/// Looks everything over.
pub fn run(folder: &Path, json: bool) -> Result<(), Failure> {
    let exe = std::env::current_exe().map_err(|e| Failure::new(e, ""))?;
    let binary =
        stripped_bytes(&exe).unwrap_or_else(|| std::fs::metadata(&exe).map_or(0, |m| m.len()));
    let idle = idle_memory(&exe)?;
    let model = inference::TriageModel::load("reference", crate::REFERENCE_MODEL)
        .map_err(|e| Failure::new(e, "reinstall kijiti"))?;
    let pack = inference::RulePack::built_in().map_err(|e| Failure::new(e, "reinstall kijiti"))?;
    let golden = model
        .self_test(&pack)
        .map_err(|e| Failure::new(e, "this processor computes otherwise: report it"))?;
    let writable = tempfile_in(folder);
    let sealed = DataFolder::key_is_sealed(folder);
    let (bluetooth, wifi) = radios()?;
    let clock = desk::wall_s();
    let clock_sane = (1_760_000_000..2_524_608_000).contains(&clock);
    let report = json!({
        "schema": "kijiti.doctor/3",
        "version": env!("CARGO_PKG_VERSION"),
        "binary_bytes": binary,
        "idle_memory_bytes": idle,
        "golden_cases_passed": golden,
        "data_folder_writable": writable.is_ok(),
        "clock_plausible": clock_sane,
        "key_sealed": sealed,
        "bluetooth": radio_name(&bluetooth),
        "wifi_direct": radio_name(&wifi),
    });
    if json {
        crate::say::json(&format!("{report:#}"));
        return Ok(());
    }
    println!("kijiti {}", env!("CARGO_PKG_VERSION"));
    println!(
        "binary           {} stripped ({})",
        size(binary),
        exe.display()
    );
    println!(
        "idle memory      {} resident in `kijiti start` after two seconds",
        size(idle)
    );
    println!(
        "reference model  {} of {} golden cases as published on this processor",
        golden, golden
    );
    say_folder(folder, writable, sealed);
    say_radios(&bluetooth, &wifi);
    match clock_sane {
        true => println!("clock            plausible; nothing depends on it"),
        false => println!(
            "clock            looks wrong; nothing depends on it, but times shown will be wrong"
        ),
    }
    Ok(())
}

fn say_folder(folder: &Path, writable: std::io::Result<()>, sealed: Option<bool>) {
    match writable {
        Ok(()) => println!("data folder      {} can be written", folder.display()),
        Err(e) => println!(
            "data folder      {} CANNOT be written: {e}",
            folder.display()
        ),
    }
    match sealed {
        Some(true) => println!("key              sealed with a passphrase"),
        Some(false) => println!(
            "key              lies open in the folder: whoever has the folder reads the cases; `kijiti passphrase` seals it"
        ),
        None => println!("key              none yet"),
    }
}

fn say_radios(bluetooth: &RadioState, wifi: &RadioState) {
    println!("bluetooth        {}", radio(&BLUETOOTH, bluetooth));
    if matches!(*bluetooth, RadioState::Ready | RadioState::Off)
        && !node::host::links::bluetooth::address_changes()
    {
        println!(
            "                 its address stays the same, by which this phone can be followed: write Privacy=device"
        );
        println!(
            "                 under [General] of /etc/bluetooth/main.conf and restart bluetoothd"
        );
    }
    println!("wi-fi direct     {}", radio(&WIFI, wifi));
}

/// Prints what the running phone costs, line by line; each line is about the time since the one before.
pub fn watch(phone: &Phone, every_s: u64, lines: Option<u64>) -> Result<(), Failure> {
    let mut before: Option<Idle> = None;
    let mut printed = 0;
    loop {
        let now: Idle = phone.ask(Request::Idle)?;
        if !now.running {
            return Err(Failure::new(
                "no phone is running on this data folder",
                "start it with `kijiti start`, then watch it from another terminal",
            ));
        }
        if phone.json {
            phone.show(&now, |_| {})?;
            printed += 1;
        } else if let Some(before) = before.filter(|before| before.since_ms < now.since_ms) {
            println!("{}", by_the_hour(&before, &now));
            printed += 1;
        } else {
            println!("by the hour, over the last {every_s} s; Ctrl-C stops");
        }
        if lines.is_some_and(|lines| printed >= lines) {
            return Ok(());
        }
        before = Some(now);
        std::thread::sleep(Duration::from_secs(every_s));
    }
}

/// What was spent between two looks, by the hour.
fn by_the_hour(before: &Idle, now: &Idle) -> String {
    let ms = (now.since_ms - before.since_ms).max(1) as f64;
    let by_hour = |before: u64, now: u64| now.saturating_sub(before) as f64 * 3_600_000.0 / ms;
    let (was, is) = (&before.spent, &now.spent);
    let packets = by_hour(
        was.announced + was.datagrams_sent,
        is.announced + is.datagrams_sent,
    );
    let heard = by_hour(
        was.heard + was.datagrams_received,
        is.heard + is.datagrams_received,
    );
    let scanned = by_hour(was.scanned_ms, is.scanned_ms) / 1e3;
    let woken = before.wakeups.zip(now.wakeups);
    let woken = woken.map_or("?".to_owned(), |(was, is)| {
        format!("{:.0}", by_hour(was, is))
    });
    let processor = before.processor_ms.zip(now.processor_ms);
    let processor = processor.map_or(0.0, |(was, is)| by_hour(was, is) / 1e3);
    let meetings = now.meetings.saturating_sub(before.meetings);
    format!(
        "wake-ups {woken:>7}  packets sent {packets:>6.0}  received {heard:>6.0}  scanning {scanned:>5.0} s  processor {processor:>5.1} s  ({meetings} meetings)"
    )
}

/// How Bluetooth and Wi-Fi Direct stand here.
fn radios() -> Result<(RadioState, RadioState), Failure> {
    #[cfg(target_os = "linux")]
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|e| Failure::new(format!("no thread: {e}"), "restart"))?;
        let late = || RadioState::Failed("no answer from the system bus".into());
        Ok(runtime.block_on(async {
            let wait = Duration::from_secs(5);
            let bluetooth = tokio::time::timeout(wait, bluetooth::state(None)).await;
            let wifi = tokio::time::timeout(wait, wifi::state(None)).await;
            (
                bluetooth.unwrap_or_else(|_| late()),
                wifi.unwrap_or_else(|_| late()),
            )
        }))
    }
    #[cfg(not(target_os = "linux"))]
    Ok((RadioState::NoService, RadioState::NoService))
}

fn radio_name(state: &RadioState) -> &'static str {
    match state {
        RadioState::Ready => "ready",
        RadioState::NoService => "no_service",
        RadioState::NotPermitted => "not_permitted",
        RadioState::NoAdapter => "no_adapter",
        RadioState::Blocked => "blocked",
        RadioState::Off => "off",
        RadioState::Unsupported => "unsupported",
        RadioState::InUse => "in_use",
        RadioState::Failed(_) => "failed",
    }
}

/// What a radio is called, and what looks after it.
pub(crate) struct Radio {
    service: &'static str,
    start: &'static str,
    group: &'static str,
    switch: &'static str,
}

const BLUETOOTH: Radio = Radio {
    service: "bluetoothd",
    start: "install `bluez` and start it (`systemctl start bluetooth`)",
    group: "bluetooth",
    switch: "bluetooth",
};
pub(crate) const WIFI: Radio = Radio {
    service: "wpa_supplicant",
    start: "install `wpasupplicant` and start it with D-Bus (`systemctl start wpa_supplicant`)",
    group: "netdev",
    switch: "wlan",
};

/// In words, with what to do.
pub(crate) fn radio(radio: &Radio, state: &RadioState) -> String {
    let Radio {
        service,
        start,
        group,
        switch,
    } = radio;
    let trouble = match state {
        RadioState::Ready => return "ready".into(),
        RadioState::NoService => format!("{service} does not answer: {start}"),
        RadioState::NotPermitted => {
            format!("this user may not use it: join the group `{group}` and log in again")
        }
        RadioState::NoAdapter => "this machine has no adapter: plug one in".into(),
        RadioState::Blocked => {
            format!("switched off: `rfkill unblock {switch}`, or the machine's switch")
        }
        RadioState::Off => "switched off; `kijiti start` switches it on".into(),
        RadioState::Unsupported => {
            "this adapter raises no networks of its own (P2P): another adapter may, and a hotspot of one of the two does".into()
        }
        RadioState::InUse => {
            "on a network that a person chose: phones on that network meet over it, and it is not left for others".into()
        }
        RadioState::Failed(why) => format!("does not work: {why}"),
    };
    format!("{trouble}; other links go on")
}

/// Bytes of the program without its symbols, as a phone would install it; `None` where there is no
/// `strip`.
fn stripped_bytes(exe: &Path) -> Option<u64> {
    let copy = std::env::temp_dir().join(format!("kijiti-stripped-{}", std::process::id()));
    let stripped = std::process::Command::new("strip")
        .arg("-o")
        .arg(&copy)
        .arg(exe)
        .status()
        .ok()?
        .success();
    let bytes = std::fs::metadata(&copy)
        .ok()
        .filter(|_| stripped)
        .map(|m| m.len());
    let _ = std::fs::remove_file(&copy);
    bytes
}

fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let made = !folder.exists();
    std::fs::create_dir_all(folder)?;
    let probe = folder.join(".doctor");
    std::fs::write(&probe, b"kijiti")?;
    std::fs::remove_file(probe)?;
    match made {
        true => std::fs::remove_dir(folder),
        false => Ok(()),
    }
}

/// Resident memory of a real `kijiti start` on an empty folder.
fn idle_memory(exe: &Path) -> Result<u64, Failure> {
    let folder = std::env::temp_dir().join(format!("kijiti-doctor-{}", std::process::id()));
    let failed = |e: std::io::Error| {
        Failure::new(
            format!("cannot start a phone to measure: {e}"),
            "check the temporary folder",
        )
    };
    let mut child = std::process::Command::new(exe)
        .arg("--data")
        .arg(&folder)
        .args(["start", "--listen", "127.0.0.1:0", "--no-discovery"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .map_err(failed)?;
    let began = Instant::now();
    while !folder.join("control").exists() && began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(2));
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let resident = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    let _ = child.kill();
    let _ = child.wait();
    let _ = std::fs::remove_dir_all(&folder);
    Ok(resident.unwrap_or(0) * 1024)
}
