//! Measurements, each beside what one would use instead, in one run on one machine, as a ratio.

#[cfg(target_os = "linux")]
pub mod bluetooth;
pub mod cases;
pub mod cli;
pub mod couriers;
pub mod delta;
pub mod kernels;
pub mod link;
pub mod medium;
pub mod places;
pub mod reconcile;
pub mod room;
pub mod siege;
pub mod triage;

use std::io::Write;
use std::path::{Path, PathBuf};

use node::api::views::status::EnrolRequest;
use node::api::{Answer, Request};
use node::host::control;

use app::Failure;
use app::demo::process::{Phone, Phones, Site};
use app::enrol::accept;
use app::ministry::publish_requests;
use desk::draft::{self, NewRelease};
use desk::enrol::EnrolmentDesk;
use desk::keys::{self, Ceremony};
use desk::sign::{self, Signer};

/// The passphrase of the bench's keys.
fn passphrase(_: &Path) -> Result<String, desk::Refusal> {
    Ok("a bench guards nothing".to_owned())
}

fn failed(e: impl ToString) -> Failure {
    Failure::new(
        e,
        "see that loopback works and the temporary folder has room",
    )
}

/// Asks a phone from within its network namespace: its control socket is there.
pub fn ask(folder: &Path, request: &str) -> Result<(), Failure> {
    let request: Request = serde_json::from_str(request).map_err(failed)?;
    let answer = Answer::Done(control::ask(folder, &request, &mut |_| {}));
    app::say::json(&serde_json::to_string(&answer).map_err(failed)?);
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Phones of one ministry in a folder that goes when this does.
struct Scene {
    folder: PathBuf,
    keys: PathBuf,
    phones: Phones,
}

impl Scene {
    fn new(name: &str) -> Result<Self, Failure> {
        let folder =
            std::env::temp_dir().join(format!("kijiti-bench-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let (keys, phones) = (folder.join("keys"), Phones::new(&folder));
        let scene = Self {
            folder,
            keys,
            phones,
        };
        let passphrase = || passphrase(Path::new(""));
        keys::hold(&scene.keys, &scene.ceremony(), &passphrase, false)?;
        Ok(scene)
    }

    fn ceremony(&self) -> Ceremony<'static> {
        Ceremony {
            keys: 1,
            threshold: 1,
            recall_keys: 0,
            enrol_keys: 1,
            enrol_threshold: 1,
            name: "Bench",
            tokens: &[],
            work_factor: Some(10),
        }
    }

    /// A phone that runs and is certified, at a place of its own if one is named.
    fn phone(&self, name: &str, place: Option<&places::Place>) -> Result<Phone, Failure> {
        self.phone_as(name, place, "all", "carry,read,write")
            .map(|(phone, _)| phone)
    }

    /// The same for an area, with these rights; and its certificates.
    fn phone_as(
        &self,
        name: &str,
        place: Option<&places::Place>,
        area: &str,
        rights: &str,
    ) -> Result<(Phone, String), Failure> {
        let phone = match place {
            None => self.phones.phone(name),
            Some(p) => self.phones.phone_at(
                name,
                Site {
                    namespace: Some(p.namespace.clone()),
                    address: p.address,
                },
            ),
        };
        phone.start()?;
        let request: EnrolRequest = phone.ask(Request::EnrolRequest {
            name: phone.name.clone(),
        })?;
        let request = desk::files::from_text("request", &request.request)?;
        let desk = EnrolmentDesk::open(&self.keys, None, &passphrase)?;
        let file = desk.certify(&request, area, (rights, ""), None)?.done()?;
        let chain = file.chain.clone().unwrap_or_default();
        phone.have(accept(file))?;
        Ok((phone, chain))
    }

    /// A phone publishes a file as a release.
    fn publish(&self, phone: &Phone, file: &Path) -> Result<(), Failure> {
        self.requests(file)?
            .into_iter()
            .try_for_each(|request| phone.have(request))
    }

    /// A phone knows of the release and has nothing of it.
    fn publish_list(&self, phone: &Phone, file: &Path) -> Result<(), Failure> {
        let documents = self
            .requests(file)?
            .into_iter()
            .filter(|r| !matches!(r, Request::Import { .. }));
        documents
            .into_iter()
            .try_for_each(|request| phone.have(request))
    }

    fn requests(&self, file: &Path) -> Result<Vec<Request>, Failure> {
        let release = NewRelease {
            file,
            module: "bench",
            kind: None,
            version: None,
            area: "all",
            language: "und",
            notes: "",
            delta_from: &[],
            bases: &[],
            beside: &self.folder,
            stage: None,
            lineage: None,
        };
        let mut draft = draft::draft(None, Some(&release), None)?;
        for key in keys::load_keys(&self.keys, "key", &passphrase)? {
            sign::sign(&mut draft, &Signer::Key(key))?;
        }
        Ok(publish_requests(&draft))
    }

    /// A file of so many bytes that no compressor makes smaller.
    fn random_file(&self, bytes: u64) -> Result<PathBuf, Failure> {
        use rand::{Rng, SeedableRng};
        let path = self.folder.join("bundle");
        let mut file = std::fs::File::create(&path).map_err(failed)?;
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let mut block = vec![0; 1 << 20];
        let mut left = bytes;
        while left > 0 {
            rng.fill_bytes(&mut block);
            let now = left.min(block.len() as u64);
            file.write_all(block.get(..now as usize).unwrap_or_default())
                .map_err(failed)?;
            left -= now;
        }
        Ok(path)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
