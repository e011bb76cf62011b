//! GATT as a channel: one characteristic, written without response one way, notified the other. BlueZ
//! drops notifications that come faster than they are read; [`credits`](super::super::credits) sees to
//! it that none do.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bluer::gatt::local::{
    Application, ApplicationHandle, Characteristic, CharacteristicControlEvent,
    CharacteristicNotify, CharacteristicNotifyMethod, CharacteristicWrite,
    CharacteristicWriteMethod, Service, characteristic_control,
};
use bluer::gatt::{CharacteristicReader, CharacteristicWriter};
use bluer::{Adapter, Address, Device, Uuid};
use futures::{Stream, StreamExt};
use tokio::io::DuplexStream;

use super::token::{PACKETS, SERVICE};
use crate::host::links::Later;
use crate::host::links::credits::{self, Packets};

/// How long the other's services may take to be found.
const RESOLVED: Duration = Duration::from_secs(15);
/// Of a packet of the attribute protocol: what it is, and of which attribute.
const ATT_HEAD_BYTES: usize = 3;
/// Callers who have begun only one direction.
const HALVES_MAX: usize = 8;

struct Characteristics {
    writer: CharacteristicWriter,
    reader: CharacteristicReader,
}

impl Packets for Characteristics {
    fn most_bytes(&self) -> usize {
        // What BlueZ calls so is the whole packet's: the head of a write or a notification is part of it.
        let whole = self.writer.mtu().min(self.reader.mtu());
        whole.saturating_sub(ATT_HEAD_BYTES)
    }

    fn send<'a>(&'a mut self, packet: &'a [u8]) -> Later<'a, io::Result<()>> {
        Box::pin(self.writer.send(packet))
    }

    fn receive(&mut self) -> Later<'_, io::Result<Vec<u8>>> {
        Box::pin(async move {
            match self.reader.recv().await {
                Ok(packet) if packet.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
                received => received,
            }
        })
    }
}

/// The two directions of a caller, once both are there.
pub(super) struct Callers {
    events: std::pin::Pin<Box<dyn Stream<Item = CharacteristicControlEvent> + Send>>,
    readers: BTreeMap<Address, CharacteristicReader>,
    writers: BTreeMap<Address, CharacteristicWriter>,
}

impl Callers {
    /// The next one.
    pub(super) async fn next(&mut self) -> Option<(Address, DuplexStream)> {
        while let Some(event) = self.events.next().await {
            let from = match event {
                CharacteristicControlEvent::Write(request) => {
                    let from = request.device_address();
                    if let Ok(reader) = request.accept() {
                        self.readers.insert(from, reader);
                    }
                    from
                }
                CharacteristicControlEvent::Notify(writer) => {
                    let from = writer.device_address();
                    self.writers.insert(from, writer);
                    from
                }
            };
            if self.readers.len() + self.writers.len() > HALVES_MAX {
                self.readers.retain(|address, _| *address == from);
                self.writers.retain(|address, _| *address == from);
            }
            if !self.readers.contains_key(&from) || !self.writers.contains_key(&from) {
                continue; // the other direction comes too
            }
            let both = (self.readers.remove(&from), self.writers.remove(&from));
            if let (Some(reader), Some(writer)) = both {
                return Some((from, credits::stream(Characteristics { writer, reader })));
            }
        }
        None
    }
}

/// Serves the characteristic for as long as the handle lives.
pub(super) async fn serve(adapter: &Adapter) -> bluer::Result<(ApplicationHandle, Callers)> {
    let (control, control_handle) = characteristic_control();
    let packets = Characteristic {
        uuid: Uuid::from_u128(PACKETS),
        write: Some(CharacteristicWrite {
            write_without_response: true,
            method: CharacteristicWriteMethod::Io,
            ..Default::default()
        }),
        notify: Some(CharacteristicNotify {
            notify: true,
            method: CharacteristicNotifyMethod::Io,
            ..Default::default()
        }),
        control_handle,
        ..Default::default()
    };
    let service = Service {
        uuid: Uuid::from_u128(SERVICE),
        primary: true,
        characteristics: vec![packets],
        ..Default::default()
    };
    let application = Application {
        services: vec![service],
        ..Default::default()
    };
    let handle = adapter.serve_gatt_application(application).await?;
    let callers = Callers {
        events: Box::pin(control),
        readers: BTreeMap::new(),
        writers: BTreeMap::new(),
    };
    Ok((handle, callers))
}

/// Calls a phone.
pub(super) async fn connect(device: &Device) -> bluer::Result<DuplexStream> {
    let missing = || bluer::Error {
        kind: bluer::ErrorKind::NotFound,
        message: "the phone serves no such characteristic".into(),
    };
    if !device.is_connected().await? {
        device.connect().await?;
    }
    let found = tokio::time::timeout(RESOLVED, find(device)).await;
    let packets = found.map_err(|_| missing())??.ok_or_else(missing)?;
    let reader = packets.notify_io().await?;
    let writer = packets.write_io().await?;
    Ok(credits::stream(Characteristics { writer, reader }))
}

async fn find(device: &Device) -> bluer::Result<Option<bluer::gatt::remote::Characteristic>> {
    let (service, packets) = (Uuid::from_u128(SERVICE), Uuid::from_u128(PACKETS));
    for found in device.services().await? {
        if found.uuid().await? != service {
            continue;
        }
        for characteristic in found.characteristics().await? {
            if characteristic.uuid().await? == packets {
                return Ok(Some(characteristic));
            }
        }
    }
    Ok(None)
}
