//! Requests of those who keep a space: its keys, lost phones, late envelopes, old cases; and cases
//! that leave or come as files.

use std::io::Read;
use std::path::Path;

use protocol::certificate::Right;
use protocol::{Area, DeviceId, EnvelopeId};
use record::exchange::{ExchangeError, csv, fhir};
use record::{Entry, PhotoEntry, photo};
use serde_json::{Value as Json, json};
use sync::archive::{self, ArchiveError, ArchivedCase};

use super::super::requests::PhotoWords;
use super::answers::{Answered, parse_area, parse_chain, parse_request, to_hex};
use super::*;
use crate::agent::Reply;
use crate::api::Paper;

pub(super) fn exchange_failure(error: ExchangeError) -> Refusal {
    Refusal::FileRefused(error.to_string())
}

pub(super) fn archive_failure(error: ArchiveError) -> Refusal {
    match error {
        ArchiveError::Malformed(why) => Refusal::Damaged(Paper::Archive, why.to_string()),
        ArchiveError::TooLarge => Refusal::ArchiveTooLarge,
        ArchiveError::OtherPhone(device) => Refusal::ArchiveForAnother(device),
        ArchiveError::NoCertificate | ArchiveError::Signature(_) | ArchiveError::Sealed(_) => {
            Refusal::ArchiveSealed(error.to_string())
        }
    }
}

impl Body {
    pub(super) fn space_rotate(&mut self, area: &str, without: &[String]) -> Answered {
        let parse = |id: &String| {
            id.parse::<DeviceId>()
                .map_err(|e: protocol::ids::IdError| Refusal::NotAnId(e.to_string()))
        };
        let without = without.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        self.command(Command::RotateSpace(parse_area(area)?, without))?;
        Ok(json!({ "area": area, "rotated": true }))
    }

    pub(super) fn space_retire(&mut self, area: &str, keep_days: u64) -> Answered {
        // Counted from the newest time that the ministry has signed, or an earlier clock: one that
        // is ahead deletes nothing early.
        let floor_s = self
            .agent
            .trust()
            .map_or(0, |trust| trust.freshness().floor_s);
        let now_s = self.now().wall_s.min(floor_s);
        let since_s = match keep_days {
            0 => u64::MAX, // all that are closed
            days => now_s.saturating_sub(days.saturating_mul(86_400)),
        };
        let before = self.store.cases()?.len();
        self.command(Command::Retire(parse_area(area)?, since_s))?;
        let gone = before.saturating_sub(self.store.cases()?.len());
        Ok(
            json!({ "area": area, "cases_gone": gone, "counted_from": clinical::date::instant(now_s) }),
        )
    }

    pub(super) fn revoke(&mut self, area: &str, device: &str, reason: String) -> Answered {
        let device = device
            .parse()
            .map_err(|e: protocol::ids::IdError| Refusal::NotAnId(e.to_string()))?;
        self.command(Command::Revoke(parse_area(area)?, device, reason))?;
        Ok(json!({ "revoked": device.to_string() }))
    }

    pub(super) fn unlock_code(&mut self, area: &str, device: &str) -> Answered {
        let device = device
            .parse()
            .map_err(|e: protocol::ids::IdError| Refusal::NotAnId(e.to_string()))?;
        match self.command(Command::UnlockCode(parse_area(area)?, device))? {
            Reply::Document(code) => Ok(json!({ "code": String::from_utf8_lossy(&code) })),
            Reply::Done | Reply::Unchanged | Reply::Case(_) => Err(Refusal::Nothing),
        }
    }

    /// Lets in what was set aside, or only shows it.
    pub(super) fn countersign(&mut self, envelopes: &[String], show: bool) -> Answered {
        let parse = |id: &String| {
            let digest: protocol::Digest = id
                .parse()
                .map_err(|e: protocol::ids::IdError| Refusal::NotAnId(e.to_string()))?;
            Ok(EnvelopeId(digest.0))
        };
        let ids = envelopes
            .iter()
            .map(parse)
            .collect::<Result<Vec<_>, Refusal>>()?;
        if show {
            let chosen = |id: &EnvelopeId| ids.is_empty() || ids.contains(id);
            let waiting = self
                .store
                .quarantined()?
                .into_iter()
                .filter(|(id, _)| chosen(id));
            let waiting = waiting
                .map(|(id, why)| self.set_aside(&id, &why))
                .collect::<Result<Vec<_>, _>>()?;
            return Ok(json!({ "schema": "kijiti.set-aside/1", "waiting": waiting }));
        }
        let reply = self.command(Command::Countersign(ids))?;
        Ok(json!({ "changed": reply == Reply::Done }))
    }

    /// What an envelope that is set aside would add to its case, for whoever must judge it.
    fn set_aside(&self, id: &EnvelopeId, why: &str) -> Answered {
        let author = self
            .store
            .envelope(id)?
            .and_then(|bytes| sync::Envelope::parse(bytes).ok());
        let author = author.map(|envelope| self.name_of_author(&envelope.author));
        let (case, said) = self.agent.preview(id, &self.store)?.unzip();
        let title = case.and_then(|case| {
            Some(
                self.store
                    .cases()
                    .ok()?
                    .into_iter()
                    .find(|row| row.id == case)?
                    .title,
            )
        });
        let words = |(stamp, entry): &(record::Stamp, Entry)| {
            json!({ "by": self.name_of(&stamp.by), "what": self.entry_words(entry),
                    "by_their_clock": clinical::date::instant(stamp.at_s) })
        };
        Ok(
            json!({ "envelope": protocol::Digest(id.0).to_string(), "author": author, "why": why,
            "case": case.map(|case| case.to_string()), "title": title,
            "adds": said.unwrap_or_default().iter().map(words).collect::<Vec<_>>() }),
        )
    }

    /// Envelopes that are set aside: which, whose, and why.
    pub(super) fn quarantined(&self) -> Result<Vec<Json>, Refusal> {
        let mut rows = Vec::new();
        for (id, why) in self.store.quarantined()? {
            let author = self
                .store
                .envelope(&id)?
                .and_then(|bytes| sync::Envelope::parse(bytes).ok());
            let author = author.map(|envelope| self.name_of_author(&envelope.author));
            rows.push(json!({ "envelope": protocol::Digest(id.0).to_string(), "author": author, "why": why }));
        }
        Ok(rows)
    }

    pub(super) fn lost(&self) -> Vec<Json> {
        let lost = self.agent.lost();
        lost.map(|(device, why)| json!({ "device": device.to_string(), "name": self.name_of(device), "why": why }))
            .collect()
    }

    /// Phones that are said to be lost, of which nothing here shows that they are where that
    /// counts.
    pub(super) fn perhaps_lost(&self) -> Vec<Json> {
        let lost = self.agent.perhaps_lost();
        lost.map(|(device, why)| json!({ "device": device.to_string(), "name": self.name_of(device), "why": why }))
            .collect()
    }

    /// For every area from which cases have come: how many of this phone's meetings ago the last
    /// did.
    pub(super) fn villages(&self) -> Result<Vec<Json>, Refusal> {
        let mut ages: BTreeMap<Area, u64> = BTreeMap::new();
        for (author, meeting) in crate::agent::heard(&self.store)? {
            for bytes in self.store.chains(author)? {
                let leaf = protocol::Chain::from_bytes(&bytes)
                    .ok()
                    .and_then(|c| c.certificates.last()?.read().ok());
                if let Some(leaf) = leaf.filter(|leaf| leaf.rights.has(Right::Write)) {
                    let ago = self.agent.meetings_so_far().saturating_sub(meeting);
                    ages.entry(leaf.area)
                        .and_modify(|held| *held = ago.min(*held))
                        .or_insert(ago);
                }
            }
        }
        Ok(ages
            .into_iter()
            .map(|(area, ago)| json!({ "area": area.to_string(), "meetings_ago": ago }))
            .collect())
    }

    /// Seals a picture, keeps it among the bundles, and notes it in the case. Asked for twice it
    /// may leave a blob that no case knows; it is never announced, and goes with the next quota.
    pub(super) fn case_photo(
        &mut self,
        case: &str,
        path: &str,
        words: PhotoWords,
        request: &str,
    ) -> Answered {
        let request = parse_request(request)?;
        let (row, view) = self.open_case(self.find_case(case)?)?;
        if !view.consents("photo") {
            return Err(Refusal::NoPhotoConsent);
        }
        let unreadable = |e: std::io::Error| Refusal::Unreadable(path.to_owned(), e.to_string());
        let file = super::super::folder::open_plain(Path::new(path)).map_err(unreadable)?;
        let mut picture = Vec::new();
        file.take(protocol::limits::ATTACHMENT_BYTES_MAX + 1)
            .read_to_end(&mut picture)
            .map_err(unreadable)?;
        if picture.len() as u64 > protocol::limits::ATTACHMENT_BYTES_MAX {
            return Err(Refusal::PictureTooLarge);
        }
        let picture = photo::without_metadata(&picture)
            .map_err(|e| Refusal::PictureRefused(e.to_string()))?;
        let (mut key, mut nonce) = ([0; 32], [0; 24]);
        let dice = getrandom::fill(&mut key).and_then(|()| getrandom::fill(&mut nonce));
        dice.map_err(|e| Refusal::NoRandomness(e.to_string()))?;
        let blob = photo::seal(&picture, &key, &nonce)
            .map_err(|e| Refusal::PictureRefused(e.to_string()))?;
        let draft = self.folder.path().join("photo.new");
        let kept = super::super::folder::write_private(&draft, &blob).and_then(|()| {
            self.store
                .bundles
                .import(protocol::BundleKind::Photo, &draft)
        });
        let _ = std::fs::remove_file(&draft);
        let (digest, bytes) =
            kept.map_err(|e| super::super::folder::unusable(self.folder.path(), &e))?;
        self.command(Command::KeepPhoto(digest, bytes))?;
        let [shows, camera, light] =
            [words.shows, words.camera, words.light].map(|text| record::clip(&text));
        let entry = Entry::Photo(PhotoEntry {
            blob: digest,
            key,
            bytes,
            shows,
            camera,
            light,
        });
        let id = self.add(Some(view.id), row.area, vec![entry], request)?;
        self.case_show(&id.to_string())
    }

    pub(super) fn case_photo_out(&mut self, case: &str, number: usize, path: &str) -> Answered {
        let (_, view) = self.open_case(self.find_case(case)?)?;
        let Some((_, entry)) = number.checked_sub(1).and_then(|n| view.photos.get(n)) else {
            return Err(Refusal::NoSuchPhoto(view.photos.len()));
        };
        let id = protocol::BundleId::photo(entry.blob);
        if !self.store.bundles.whole(&id) {
            return Err(Refusal::PhotoNotHere);
        }
        let blob = self.store.bundles.read_whole(&id)?;
        let picture =
            photo::open(&blob, &entry.key).map_err(|e| Refusal::PhotoDamaged(e.to_string()))?;
        super::super::folder::write_private(Path::new(path), &picture)
            .map_err(|e| Refusal::Unwritable(path.to_owned(), e.to_string()))?;
        Ok(json!({ "shows": entry.shows, "bytes": picture.len() }))
    }

    pub(super) fn case_export(
        &mut self,
        cases: &[String],
        format: &str,
        to: Option<&str>,
    ) -> Answered {
        let mut ids = match cases {
            [] => self.store.cases()?.into_iter().map(|row| row.id).collect(),
            some => some
                .iter()
                .map(|case| self.find_case(case))
                .collect::<Result<Vec<_>, _>>()?,
        };
        // A file leaves the phone like an envelope does.
        let all = ids.len();
        let (mut may, mut views) = (Vec::new(), Vec::new());
        for id in &ids {
            // Each case on its own: its twin may not leave because this one may.
            if let Some(case) = self
                .load_case(*id)?
                .filter(|case| case.view().consents("share"))
            {
                may.push(*id);
                views.push((self.find_row(*id)?, case.view()));
            } else if !cases.is_empty() {
                return Err(Refusal::MayNotLeave(*id));
            }
        }
        ids = may;
        let text = match format {
            "csv" => {
                let mut text = csv::head();
                views
                    .iter()
                    .for_each(|(row, view)| text += &csv::write(view, &row.area));
                text
            }
            "fhir" => {
                let bundles: Vec<_> = views
                    .iter()
                    .map(|(row, view)| fhir::write(view, &row.area))
                    .collect();
                match bundles.as_slice() {
                    [only] => format!("{only:#}\n"),
                    // Newline-delimited JSON, as FHIR's bulk data has it.
                    several => several.iter().map(|bundle| format!("{bundle}\n")).collect(),
                }
            }
            "archive" => self.archive(&ids, to)?,
            other => {
                return Err(Refusal::NotAnId(other.to_owned()));
            }
        };
        Ok(
            json!({ "schema": "kijiti.case-export/1", "format": format, "cases": ids.len(), "kept_back": all - ids.len(), "text": text }),
        )
    }

    fn archive(&mut self, ids: &[protocol::CaseId], to: Option<&str>) -> Result<String, Refusal> {
        let Some(to) = to else {
            return Err(Refusal::ArchiveForWhom);
        };
        let chain = parse_chain(to)?;
        let judged = self
            .agent
            .judge(&chain)
            .map_err(|e| Refusal::ChainRefused(e.to_string()))?;
        if !judged.rights.has(Right::Read) {
            return Err(Refusal::MayNotRead(judged.name.clone()));
        }
        let Some(own) = self.agent.certificate().map(|c| c.chain().clone()) else {
            return Err(Refusal::NotCertified);
        };
        let mut cases = Vec::new();
        for id in ids {
            let Some(mut case) = self.load_case(*id)? else {
                continue;
            };
            cases.push(ArchivedCase {
                case: *id,
                changes: case.changes().into_iter().map(Into::into).collect(),
            });
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Refusal::NoRandomness(e.to_string()))?;
        let mut rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::from_seed(seed);
        let bytes = archive::write(
            &cases,
            (judged.device, &judged.sealing_key),
            (&own, &self.keys),
            &mut rng,
        );
        bytes.map(|bytes| to_hex(&bytes)).map_err(archive_failure)
    }
}
