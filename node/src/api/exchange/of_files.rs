//! What files have said of a case beside what stands in it: under which numbers registers keep the patient, and of
//! when the measurements are, which an entry does not say. Digests only.

use std::collections::{BTreeMap, BTreeSet};

use clinical::FindingValue;
use clinical::date::instant;
use protocol::{CaseId, Digest};
use record::exchange::RegisterNumber;
use record::exchange::time::moment;
use record::{CaseView, Entry};
use serde::{Deserialize, Serialize};

use crate::api::entries::CLOCK_FROM_S;
use crate::api::{Look, Refusal};
use crate::store::Setting;

/// Numbers of one register that are kept of one case.
const NUMBERS_MAX: usize = 16;

/// What files have said of a case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OfFiles {
    /// By a register, the numbers that the patient has there.
    numbers: BTreeMap<String, BTreeSet<String>>,
    /// By a field, of when its newest measurement is, and which it is.
    measured: BTreeMap<String, (i64, String)>,
}

fn short(text: &str) -> String {
    Digest::of(text.as_bytes()).short()
}

impl OfFiles {
    /// What is kept of a case; nothing where it cannot be read.
    pub(super) fn of(cx: &dyn Look, id: &CaseId) -> Result<Self, Refusal> {
        let kept = cx.store().setting(&Setting::from_files(id))?;
        let read = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(read.unwrap_or_default())
    }

    /// As it is kept; nothing where that is as before.
    pub(super) fn unless(&self, before: &Self) -> Vec<u8> {
        match self == before {
            true => Vec::new(),
            false => serde_json::to_vec(self).unwrap_or_default(),
        }
    }

    /// Whether a register that both name knows the patient of the case by other numbers only.
    pub(super) fn is_another(&self, numbers: &[RegisterNumber]) -> bool {
        let mut said: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for RegisterNumber { system, value } in numbers.iter().filter(|n| !n.value.is_empty()) {
            said.entry(short(system)).or_default().insert(short(value));
        }
        said.iter().any(|(system, numbers)| {
            let here = self.numbers.get(system);
            here.is_some_and(|here| here.is_disjoint(numbers))
        })
    }

    /// Notes the numbers of a record of the patient's.
    pub(super) fn know(&mut self, numbers: &[RegisterNumber]) {
        for RegisterNumber { system, value } in numbers.iter().filter(|n| !n.value.is_empty()) {
            let here = self.numbers.entry(short(system)).or_default();
            if here.len() < NUMBERS_MAX {
                here.insert(short(value));
            }
        }
    }

    /// Measurements of a file that are of before what is here, and why: the newer counts, whenever it comes.
    pub(super) fn take_older(
        &self,
        view: &CaseView,
        measured: &BTreeMap<String, i64>,
        entries: &mut Vec<Entry>,
    ) -> Vec<String> {
        let mut told = Vec::new();
        entries.retain(|entry| {
            let Some((name, value)) = entry.word() else {
                return true;
            };
            let newer = measured.get(name).zip(self.newest(view, name));
            let here = || view.findings.get(name).map(|state| &state.said);
            let said = here().into_iter().flatten().any(|(_, held)| held == value);
            let older = !said && newer.is_some_and(|(at, newest)| *at < newest);
            if older {
                told.push(format!(
                    "{name} = {}: of before what is here; the newer counts",
                    value.words()
                ));
            }
            !older
        });
        told
    }

    /// Of when the last that was said of a field is: by the file that it came from, else when it was said here.
    fn newest(&self, view: &CaseView, name: &str) -> Option<i64> {
        // That it is not known is no measurement.
        let mut said = view.findings.get(name)?.said.iter().rev();
        let (stamp, value) = said.find(|(_, value)| *value != FindingValue::Unknown)?;
        let from_file = self
            .measured
            .get(name)
            .filter(|(_, said)| *said == short(&value.words()));
        let here = || moment(&instant(stamp.at_s)).map(|at| at.from_ms);
        match from_file {
            Some((at, _)) => Some(*at),
            // A clock of before all phones says nothing.
            None => here().filter(|_| stamp.at_s >= CLOCK_FROM_S),
        }
    }

    /// Notes of when the measurements are that a file brings.
    pub(super) fn measure(&mut self, measured: &BTreeMap<String, i64>, entries: &[Entry]) {
        for (name, value) in entries.iter().filter_map(Entry::word) {
            if let (Some(at), false) = (measured.get(name), *value == FindingValue::Unknown) {
                self.measured
                    .insert(name.to_owned(), (*at, short(&value.words())));
            }
        }
    }
}
