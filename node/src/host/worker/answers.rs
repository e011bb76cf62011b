//! Requests about files, and about what runs here.

use std::io::Read;
use std::path::Path;

use protocol::{BundleId, BundleKind, Digest};
use record::{Entry, PhotoEntry, photo};

use super::super::backup;
use super::super::folder::{open_plain, unusable, write_private};
use super::super::triage::try_release;
use super::Worker;
use crate::agent::Command;
use crate::api::Assessor;
use crate::api::views::case::{PhotoLooked, PhotoOut, PictureRead, PictureSays};
use crate::api::views::exchange::Exported;
use crate::api::views::releases::{Active, Check, Imported, Verified};
use crate::api::views::status::BackedUp;
use crate::api::{
    self, Cx, Format, Look, PhotoWords, Refusal, Request, RequestId, assess, cases, consent,
    exchange, releases, show_case,
};
use crate::store::{Setting, TrustStore};

pub(super) type Answered = Result<api::Reply, Refusal>;

/// Bytes of a file of cases.
const CASES_BYTES_MAX: u64 = 64 << 20;

/// Reads a plain file that is no longer than `max`.
fn read_file(path: &str, max: u64) -> Result<Vec<u8>, Refusal> {
    let unreadable = |e: std::io::Error| Refusal::Unreadable(path.to_owned(), e.to_string());
    let file = open_plain(Path::new(path)).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match bytes.len() as u64 > max {
        true => Err(Refusal::FileTooLong(path.to_owned())),
        false => Ok(bytes),
    }
}

/// A picture's file.
fn picture_at(path: &str) -> Result<Vec<u8>, Refusal> {
    let picture = read_file(path, protocol::limits::ATTACHMENT_BYTES_MAX);
    picture.map_err(|refusal| match matches!(refusal, Refusal::FileTooLong(_)) {
        true => Refusal::PictureTooLarge,
        false => refusal,
    })
}

impl Worker {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    pub(super) fn answer_of_files(&mut self, request: Request) -> Answered {
        Ok(match request {
            Request::CasePhoto {
                case,
                path,
                words,
                request,
            } => self.case_photo(&case, &path, words, request)?,
            Request::PhotoLook { path, shows } => {
                let picture = picture_at(&path)?;
                let quality = photo::look(&picture).map_err(Refusal::PictureRefused)?;
                let seen = self.read_picture(&picture, &quality, &shows)?;
                PhotoLooked { quality, seen }.into()
            }
            Request::CasePhotoOut { case, number, path } => {
                self.case_photo_out(&case, number, &path)?.into()
            }
            Request::CaseExport {
                cases,
                format,
                to,
                path,
            } => self
                .case_export(&cases, format, to.as_deref(), &path)?
                .into(),
            Request::CaseImport {
                format,
                path,
                area,
                dry_run,
                mapping,
            } => {
                let bytes = read_file(&path, CASES_BYTES_MAX)?;
                let source = exchange::Source { format, mapping };
                exchange::import(self, source, &bytes, (area, dry_run))?.into()
            }
            Request::ModelShow { module } => self.model_show(&module)?.into(),
            Request::ModelVerify { module } => self.model_verify(&module)?.into(),
            Request::ModelBack { module } => self.model_back(&module)?.into(),
            Request::BackUp { to, passphrase } => {
                self.moment.store.roll_back(); // a copy is made outside of any transaction
                let (store, phone) = (&self.moment.store, (&*self.desk.folder, &self.desk.keys));
                let path = Path::new(&to);
                let bytes = backup::back_up(store, phone, path, passphrase.as_deref())?;
                BackedUp { to, bytes }.into()
            }
            Request::CarryOut { to } => self.carry_out(&to)?.into(),
            Request::CarryIn { from } => self.carry_in(&from)?.into(),
            Request::Import { path } => self.import(&path)?.into(),
            _ => return Err(Refusal::Nothing), // not of Concern::FilesIn or FilesOut
        })
    }

    /// What a picture seems to show, where a reader of such pictures runs and it is good enough to be looked
    /// at: of one that is dark, bright, blurred or small nothing is read.
    fn read_picture(
        &self,
        picture: &[u8],
        quality: &photo::Quality,
        shows: &str,
    ) -> Result<Option<PictureRead>, Refusal> {
        let engine = &self.moment.engine;
        if !engine.reads_pictures_of(shows) || !quality.advice.is_empty() {
            return Ok(None);
        }
        // Decoded once more, in colours, only for a reader.
        let small = photo::middle(picture, inference::vision::SIDE);
        let small = small.map_err(Refusal::PictureRefused)?;
        Ok(engine.look(&small, shows))
    }

    /// Seals a picture, keeps it among the bundles, and notes it in the case. Asked for twice it
    /// may leave a blob that no case knows; it is never announced, and goes with the next quota.
    fn case_photo(
        &mut self,
        case: &str,
        path: &str,
        words: PhotoWords,
        request: RequestId,
    ) -> Answered {
        let (row, view) = cases::open(self, cases::find(self, case)?)?;
        consent::may_photograph(&view)?;
        let picture =
            photo::without_metadata(&picture_at(path)?).map_err(Refusal::PictureRefused)?;
        let subject = words.shows.trim().replace([' ', '-'], "_").to_lowercase();
        // One that cannot be looked at is kept all the same, and nothing is read from it.
        let quality = photo::look(&picture).ok();
        let seen =
            quality.and_then(|quality| self.read_picture(&picture, &quality, &subject).ok()?);
        let read = match seen.map(|seen| seen.said) {
            Some(PictureSays::Reads { word, .. }) => Some((subject, word)),
            Some(PictureSays::NotThis | PictureSays::Unsure) | None => None,
        };
        let (key, fresh) = (self.randomness()?, self.randomness()?);
        let mut nonce = [0; 24];
        nonce
            .iter_mut()
            .zip(fresh)
            .for_each(|(byte, fresh)| *byte = fresh);
        let blob = photo::seal(&picture, &key, &nonce).map_err(Refusal::PictureRefused)?;
        let draft = self.desk.folder.join("photo.new");
        let kept = write_private(&draft, &blob)
            .and_then(|()| self.moment.store.bundles.import(BundleKind::Photo, &draft));
        let _ = std::fs::remove_file(&draft);
        let (digest, bytes) = kept.map_err(|e| unusable(&self.desk.folder, &e))?;
        self.command(Command::KeepPhoto(digest, bytes))?;
        let mut entries = vec![Entry::Photo(PhotoEntry {
            blob: digest,
            key,
            bytes,
            shows: record::clip(&words.shows),
            camera: record::clip(&words.camera),
            light: record::clip(&words.light),
        })];
        if let Some((subject, word)) = read {
            entries.push(assess::picture_read(&subject, &word));
        }
        let id = cases::add(self, Some(view.id), row.area, entries, request)?;
        Ok(show_case(self, &id.to_string())?.into())
    }

    fn case_photo_out(
        &mut self,
        case: &str,
        number: usize,
        path: &str,
    ) -> Result<PhotoOut, Refusal> {
        let (_, view) = cases::open(self, cases::find(self, case)?)?;
        let found = number.checked_sub(1).and_then(|n| view.photos.get(n));
        let (_, entry) = found.ok_or(Refusal::NoSuchPhoto(view.photos.len()))?;
        let id = BundleId::photo(entry.blob);
        if !self.moment.store.bundles.whole(&id) {
            return Err(Refusal::PhotoNotHere);
        }
        let blob = self.moment.store.bundles.read_whole(&id)?;
        if Digest::of(&blob) != entry.blob {
            // Others may have it still.
            self.command(Command::BundleDoubted(id))?;
            return Err(Refusal::PhotoNotHere);
        }
        let opened = photo::open(&blob, &entry.key);
        let picture = opened.map_err(Refusal::PhotoDamaged)?;
        self.write_out(path, &picture)?;
        Ok(PhotoOut {
            shows: entry.shows.clone(),
            bytes: picture.len(),
        })
    }

    /// Whole or not at all: a full card keeps no half of a patient.
    fn write_out(&self, path: &str, bytes: &[u8]) -> Result<(), Refusal> {
        // Not over the phone itself; what a command passes on from here it names so.
        let to = keyfile::whole::followed(Path::new(path));
        let within = to.parent().and_then(|folder| folder.canonicalize().ok());
        let own = within.is_some() && within == self.desk.folder.canonicalize().ok();
        if own && to.extension().is_none_or(|ending| ending != "new") {
            let why = "it lies in this phone's own folder".to_owned();
            return Err(Refusal::Unwritable(path.to_owned(), why));
        }
        let written = keyfile::whole::write_whole(&to, bytes);
        written.map_err(|e| Refusal::Unwritable(path.to_owned(), e.to_string()))
    }

    fn case_export(
        &mut self,
        named: &[String],
        format: Format,
        to: Option<&str>,
        path: &str,
    ) -> Result<Exported, Refusal> {
        let export = exchange::export(self, named, format, to)?;
        self.write_out(path, &export.bytes)?;
        Ok(Exported {
            cases: export.cases,
            kept_back: export.kept_back,
            photos: export.photos,
            bytes: export.bytes.len() as u64,
        })
    }

    fn model_show(&self, module: &str) -> Result<Active, Refusal> {
        let current = releases::active(self.known(), module)?;
        let checks = self
            .moment
            .store
            .setting(&Setting::checks(module))?
            .unwrap_or_default();
        Ok(Active {
            module: module.to_owned(),
            version: current.version,
            digest: current.digest,
            // What an earlier version kept in words is shown again once the release is tried again.
            checks: serde_json::from_slice::<Vec<Check>>(&checks).unwrap_or_default(),
            card: self.moment.engine.card(module),
        })
    }

    fn model_verify(&mut self, module: &str) -> Result<Verified, Refusal> {
        let current = releases::active(self.known(), module)?;
        let listed = self
            .known()
            .trust()
            .map(|t| t.releases())
            .unwrap_or_default();
        let mut listed = listed.into_iter();
        let release = listed.find(|r| r.module == module && r.digest == current.digest);
        let release = release.ok_or_else(|| Refusal::NotListed(module.to_owned()))?;
        let release = release.clone();
        let file = self.moment.store.bundles.open_checked(&release.digest)?;
        let Some(file) = file else {
            let damaged = BundleId::release(release.digest);
            self.command(Command::BundleDoubted(damaged))?;
            return Err(Refusal::BundleDamaged);
        };
        let mut checks = releases::checks(self.known(), &release);
        let by_ministry = releases::by_ministry(self.known(), &release);
        let tried = try_release(&release, (file, by_ministry), &self.moment.engine);
        checks.extend(tried.map_err(Refusal::TestFailed)?.1);
        Ok(Verified {
            module: module.to_owned(),
            version: release.version,
            checks,
        })
    }

    fn model_back(&mut self, module: &str) -> Result<Active, Refusal> {
        self.command(Command::GoBack(module.to_owned()))?;
        self.model_show(module)
    }

    fn import(&mut self, path: &str) -> Result<Imported, Refusal> {
        let plain = open_plain(Path::new(path)).map(drop);
        let import = plain.and_then(|()| {
            self.moment
                .store
                .bundles
                .import(BundleKind::Release, Path::new(path))
        });
        let (digest, bytes) =
            import.map_err(|e| Refusal::Unreadable(path.to_owned(), e.to_string()))?;
        self.command(Command::BundleImported(digest))?;
        Ok(Imported { digest, bytes })
    }
}
