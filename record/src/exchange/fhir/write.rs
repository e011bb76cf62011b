//! A case as a bundle.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Area, DeviceId};
use serde_json::{Map, Value, json};

use super::super::SYSTEM;
use super::observed::{category, observed};
use super::resource::{DEVICE_SYSTEM, coding, concept, entry, performer, reference};
use super::{CASE_SYSTEM, COLOUR_SYSTEM, DOSE_SYSTEM, ESTIMATED, HL7, LOINC, NATIONAL_SYSTEM};
use clinical::date::instant;
use clinical::{FindingValue, Urgency, catalogue};

use crate::{CaseView, DecisionEntry, Stamp};

/// Fields that the resources of the patient and of the caregiver carry.
const OF_THE_PATIENT: [&str; 10] = [
    "patient.national_id",
    "patient.name",
    "patient.family_name",
    "patient.born",
    "patient.born_estimated",
    "patient.sex",
    "patient.village",
    "patient.caregiver",
    "patient.caregiver_relation",
    "patient.caregiver_phone",
];
const OF_THE_CAREGIVER: [&str; 3] = [
    "patient.caregiver",
    "patient.caregiver_relation",
    "patient.caregiver_phone",
];
const ICD11: &str = "http://id.who.int/icd/release/11/mms";

/// A field's name: ours, LOINC's where there is one, and words.
fn field_concept(name: &str) -> Value {
    let loinc = catalogue::field(name)
        .map(|f| f.code)
        .filter(|code| !code.is_empty());
    let codings: Vec<_> = loinc
        .map(|code| coding(LOINC, code))
        .into_iter()
        .chain([coding(SYSTEM, name)])
        .collect();
    json!({ "coding": codings, "text": name.replace(['_', '.'], " ") })
}

struct Writer<'a> {
    view: &'a CaseView,
    entries: Vec<Value>,
    /// What each phone said: references.
    said: BTreeMap<DeviceId, (u64, Vec<Value>)>,
}

impl Writer<'_> {
    fn reference(&self, what: &str) -> Value {
        reference(&self.view.id, what)
    }

    fn put(&mut self, what: &str, kind: &str, fields: Value) {
        self.entries.push(entry(&self.view.id, what, kind, fields));
    }

    /// The same, said by somebody.
    fn put_said(&mut self, stamp: &Stamp, what: &str, kind: &str, mut fields: Value) {
        if let Some(fields) = fields.as_object_mut().filter(|_| kind == "Observation") {
            fields.insert("performer".into(), performer(stamp));
        }
        self.put(what, kind, fields);
        let reference = self.reference(what);
        let (latest, said) = self.said.entry(stamp.by).or_default();
        *latest = stamp.at_s.max(*latest);
        said.push(reference);
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.view.findings.get(name).map(|f| &f.value) {
            Some(FindingValue::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn patient(&mut self) {
        let case = json!({ "system": CASE_SYSTEM, "value": self.view.id.to_string() });
        let national = self.text("patient.national_id");
        let national =
            national.map(|id| json!({ "use": "official", "system": NATIONAL_SYSTEM, "value": id }));
        let identifiers: Vec<_> = [Some(case), national].into_iter().flatten().collect();
        let (name, family) = (self.text("patient.name"), self.text("patient.family_name"));
        let mut human = Map::new();
        name.map(|name| human.insert("text".into(), json!(name)));
        family.map(|family| human.insert("family".into(), json!(family)));
        let gender = self
            .text("patient.sex")
            .map(|sex| if sex == "not_specified" { "other" } else { sex })
            .unwrap_or("unknown");
        let estimated = self.view.findings.get("patient.born_estimated");
        let estimated = estimated.and_then(|f| match f.value {
            FindingValue::Yes => Some(true),
            FindingValue::No => Some(false),
            FindingValue::Unknown | FindingValue::Number(_) | FindingValue::Text(_) => None,
        });
        let estimated =
            estimated.map(|it| json!({ "extension": [{ "url": ESTIMATED, "valueBoolean": it }] }));
        let fields = json!({
            "identifier": identifiers,
            "name": (!human.is_empty()).then(|| json!([human])),
            "gender": gender,
            "birthDate": self.text("patient.born"),
            "_birthDate": estimated,
            "deceasedBoolean": (self.text("outcome") == Some("died")).then_some(true),
            "address": self.text("patient.village").map(|village| json!([{ "text": village }])),
        });
        self.put("patient", "Patient", fields);
        if self.caregiver().is_some() {
            let caregiver = self.text("patient.caregiver");
            let relation = self.text("patient.caregiver_relation");
            let phone = self.text("patient.caregiver_phone");
            let fields = json!({
                "patient": self.reference("patient"),
                "relationship": relation.map(|r| json!([{ "text": r }])),
                "name": caregiver.map(|name| json!([{ "text": name }])),
                "telecom": phone.map(|n| json!([{ "system": "phone", "value": n }])),
            });
            self.put("caregiver", "RelatedPerson", fields);
        }
    }

    /// Whether anything is known of who cares for the patient.
    fn caregiver(&self) -> Option<()> {
        let said = OF_THE_CAREGIVER.iter().find_map(|name| self.text(name));
        said.map(|_| ())
    }

    fn encounter(&mut self, area: &Area) {
        let stamps = self
            .view
            .findings
            .values()
            .flat_map(|f| &f.said)
            .map(|(stamp, _)| stamp.at_s);
        let start = stamps.min().map(|at_s| json!({ "start": instant(at_s) }));
        let closed = self
            .text("outcome")
            .is_some_and(|outcome| outcome != "under_treatment");
        let fields = json!({
            "status": if closed { "finished" } else { "in-progress" },
            "class": { "system": format!("{HL7}/v3-ActCode"), "code": "HH" },
            "subject": self.reference("patient"),
            "period": start,
            "participant": self.caregiver().map(|()| json!([{ "individual": self.reference("caregiver") }])),
            "location": [{ "location": { "display": area.to_string() } }],
        });
        self.put("encounter", "Encounter", fields);
    }

    fn observations(&mut self) {
        for (name, state) in &self.view.findings {
            if OF_THE_PATIENT.contains(&name.as_str()) || name.starts_with("consent.") {
                continue; // Patient, RelatedPerson and Consent say it
            }
            for (n, (stamp, value)) in state.standing.iter().enumerate() {
                let mut fields = json!({
                    "status": if state.disputed { "preliminary" } else { "final" },
                    "category": category(name),
                    "code": field_concept(name),
                    "subject": self.reference("patient"),
                    "encounter": self.reference("encounter"),
                    "effectiveDateTime": instant(stamp.at_s),
                });
                let (key, value) = observed(name, value);
                if let Some(fields) = fields.as_object_mut() {
                    fields.insert(key.into(), value);
                    if state.disputed {
                        fields.insert(
                            "note".into(),
                            json!([{ "text": "people differ about this: not settled yet" }]),
                        );
                    }
                }
                self.put_said(
                    stamp,
                    &format!("observation {name} {n}"),
                    "Observation",
                    fields,
                );
            }
        }
        for (n, (stamp, note)) in self.view.notes.iter().enumerate() {
            let fields = json!({
                "status": "final",
                "code": field_concept("note"),
                "subject": self.reference("patient"),
                "encounter": self.reference("encounter"),
                "effectiveDateTime": instant(stamp.at_s),
                "valueString": note,
            });
            self.put_said(stamp, &format!("note {n}"), "Observation", fields);
        }
    }

    fn form(&mut self) {
        let item = |(name, state): (&String, &crate::FindingState)| {
            let answer = match &state.value {
                FindingValue::Yes => json!({ "valueBoolean": true }),
                FindingValue::No => json!({ "valueBoolean": false }),
                FindingValue::Unknown => return json!({ "linkId": name }),
                FindingValue::Number(number) => json!({ "valueDecimal": number }),
                FindingValue::Text(text) => json!({ "valueString": text }),
            };
            json!({ "linkId": name, "answer": [answer] })
        };
        let items: Vec<_> = self.view.findings.iter().map(item).collect();
        let fields = json!({
            "status": "in-progress",
            "subject": self.reference("patient"),
            "encounter": self.reference("encounter"),
            "item": (!items.is_empty()).then_some(items),
        });
        self.put("form", "QuestionnaireResponse", fields);
    }

    fn assessments(&mut self) {
        for (n, (stamp, assessment)) in self.view.assessments.iter().enumerate() {
            // What was classified before is history, and what could not be cleared is no condition.
            let last = n + 1 == self.view.assessments.len();
            let fired = assessment
                .rules_fired
                .iter()
                .filter(|rule| last && !rule.starts_with("cannot clear ") && !rules_out(rule));
            for (m, rule) in fired.enumerate() {
                let fields = json!({
                    "clinicalStatus": concept(&format!("{HL7}/condition-clinical"), "active"),
                    "verificationStatus": concept(&format!("{HL7}/condition-ver-status"), "provisional"),
                    "code": { "text": rule },
                    "subject": self.reference("patient"),
                    "encounter": self.reference("encounter"),
                    "recordedDate": instant(stamp.at_s),
                    "note": [{ "text": format!("by rules {}", assessment.rules) }],
                });
                self.put_said(stamp, &format!("condition {n} {m}"), "Condition", fields);
            }
            let predictions: Vec<_> = assessment
                .differential
                .iter()
                .filter_map(|line| prediction(line))
                .collect();
            if !predictions.is_empty() {
                let fields = json!({
                    "status": "final",
                    "method": { "text": assessment.model },
                    "subject": self.reference("patient"),
                    "encounter": self.reference("encounter"),
                    "occurrenceDateTime": instant(stamp.at_s),
                    "prediction": predictions,
                });
                self.put_said(stamp, &format!("risk {n}"), "RiskAssessment", fields);
            }
        }
    }

    fn decisions(&mut self) {
        for (n, (stamp, decision)) in self.view.decisions.iter().enumerate() {
            let agrees = if decision.agrees {
                "as assessed"
            } else {
                "otherwise than assessed"
            };
            let note = [agrees, &decision.reason]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join(": ");
            let fields = json!({
                "status": "completed",
                "code": concept(COLOUR_SYSTEM, decision.urgency.name()),
                "description": (!decision.plan.is_empty()).then_some(&decision.plan),
                "subject": self.reference("patient"),
                "encounter": self.reference("encounter"),
                "effectiveDateTime": instant(stamp.at_s),
                "summary": format!(
                    "{} by rules {} and model {}; {}", decision.urgency.name(), decision.rules, decision.model, decision.app
                ),
                "note": [{ "text": note }],
            });
            self.put_said(
                stamp,
                &format!("decision {n}"),
                "ClinicalImpression",
                fields,
            );
            if decision.urgency == Urgency::Pink {
                self.referral(n, stamp, decision);
            }
        }
        if let Some(date) = self.text("follow_up.date") {
            let fields = json!({
                "status": "active",
                "intent": "plan",
                "subject": self.reference("patient"),
                "encounter": self.reference("encounter"),
                "activity": [{ "detail": { "status": "scheduled", "scheduledString": date } }],
            });
            self.put("follow-up", "CarePlan", fields);
        }
    }

    fn referral(&mut self, n: usize, stamp: &Stamp, decision: &DecisionEntry) {
        let referral = format!("referral {n}");
        let facility = self
            .text("referral.facility")
            .map(|f| json!([{ "display": f }]));
        let fields = json!({
            "status": "active",
            "intent": "order",
            "priority": "stat",
            "category": [{ "text": "referral" }],
            "code": { "text": if decision.plan.is_empty() { "refer urgently" } else { &decision.plan } },
            "subject": self.reference("patient"),
            "encounter": self.reference("encounter"),
            "authoredOn": instant(stamp.at_s),
            "performer": facility,
        });
        self.put_said(stamp, &referral, "ServiceRequest", fields);
        let arrived = self
            .view
            .findings
            .get("referral.arrived")
            .is_some_and(|f| f.value == FindingValue::Yes);
        let fields = json!({
            "status": if arrived { "completed" } else { "requested" },
            "intent": "order",
            "description": "arrival at the facility",
            "focus": self.reference(&referral),
            "for": self.reference("patient"),
        });
        self.put(&format!("arrival {n}"), "Task", fields);
    }

    fn doses(&mut self) {
        for (n, given) in self.view.doses.iter().enumerate() {
            let (stamp, dose) = (&given.stamp, &given.dose);
            let status = if given.counts() {
                "completed"
            } else {
                "entered-in-error"
            };
            let why = given
                .taken_back
                .iter()
                .map(|(_, reason)| format!("not given after all: {reason}"));
            let why: Vec<_> = why.map(|text| json!({ "text": text })).collect();
            let at = if dose.given.is_empty() {
                instant(stamp.at_s)
            } else {
                dose.given.clone()
            };
            let request = format!("prescribed {n}");
            let medicine = json!({ "text": dose.medicine });
            let amount = json!({ "value": dose.amount, "unit": dose.unit });
            let dosage = match dose.route.as_str() {
                "" => json!({ "dose": amount }),
                route => json!({ "dose": amount, "route": { "text": route } }),
            };
            let fields = json!({
                "status": status, "intent": "order", "medicationCodeableConcept": medicine,
                "subject": self.reference("patient"), "authoredOn": instant(stamp.at_s),
            });
            self.put_said(stamp, &request, "MedicationRequest", fields);
            let fields = json!({
                "identifier": [{ "system": DOSE_SYSTEM, "value": given.key }],
                "status": status,
                "medicationCodeableConcept": medicine,
                "subject": self.reference("patient"),
                "effectiveDateTime": at,
                "request": self.reference(&request),
                "dosage": dosage,
                "note": (!why.is_empty()).then_some(why),
            });
            self.put_said(
                stamp,
                &format!("given {n}"),
                "MedicationAdministration",
                fields,
            );
        }
    }

    fn photos(&mut self) {
        for (n, (stamp, photo)) in self.view.photos.iter().enumerate() {
            let fields = json!({
                "identifier": [{ "system": "https://kijiti.org/fhir/blob", "value": photo.blob.to_string() }],
                "status": "completed",
                "subject": self.reference("patient"),
                "createdDateTime": instant(stamp.at_s),
                "deviceName": (!photo.camera.is_empty()).then_some(&photo.camera),
                // The picture travels sealed, by the meetings of phones: it is named, and not in here.
                "content": { "url": format!("urn:blake3:{}", photo.blob), "size": photo.bytes, "title": (!photo.shows.is_empty()).then_some(&photo.shows) },
                "note": (!photo.light.is_empty()).then(|| json!([{ "text": format!("light: {}", photo.light) }])),
            });
            self.put_said(stamp, &format!("photo {n}"), "Media", fields);
        }
    }

    fn consents(&mut self) {
        for (name, state) in &self.view.findings {
            let Some(to) = name.strip_prefix("consent.") else {
                continue;
            };
            // What a consent is about, by the codes of its value set.
            let (scope, about) = match to {
                "care" => ("treatment", "hcd"),
                "training" => ("research", "research"),
                _ => ("patient-privacy", "npp"),
            };
            let given = state.value == FindingValue::Yes;
            let status = match state.value {
                FindingValue::Yes => "active",
                FindingValue::No => "rejected",
                FindingValue::Unknown | FindingValue::Number(_) | FindingValue::Text(_) => {
                    "proposed"
                }
            };
            let stamp = state.standing.last().map(|(stamp, _)| *stamp);
            let said_on = self.text(&format!("consent_date.{to}")).map(str::to_owned);
            let fields = json!({
                "status": status,
                "scope": concept(&format!("{HL7}/consentscope"), scope),
                "identifier": [{ "system": SYSTEM, "value": name }],
                "category": [concept(&format!("{HL7}/consentcategorycodes"), about)],
                "patient": self.reference("patient"),
                "dateTime": said_on.or(stamp.map(|s| instant(s.at_s))),
                "policy": [{ "uri": "https://kijiti.org/fhir/consent" }],
                "provision": { "type": if given { "permit" } else { "deny" } },
            });
            match stamp {
                Some(stamp) => self.put_said(&stamp, name, "Consent", fields),
                None => self.put(name, "Consent", fields),
            }
        }
    }

    fn provenance(&mut self) {
        let models = self
            .view
            .assessments
            .iter()
            .flat_map(|(_, a)| [&a.rules, &a.model]);
        let models: BTreeSet<_> = models.filter(|name| !name.is_empty()).cloned().collect();
        for model in &models {
            let fields = json!({ "deviceName": [{ "name": model, "type": "model-name" }], "type": { "text": "decision support" } });
            self.put(&format!("device {model}"), "Device", fields);
        }
        let worker = self
            .text("visit.worker")
            .map(|name| json!({ "name": [{ "text": name }] }));
        if let Some(fields) = &worker {
            self.put("worker", "Practitioner", fields.clone());
        }
        let agent = |kind: &str, who: Value| json!({ "type": concept(&format!("{HL7}/provenance-participant-type"), kind), "who": who });
        for (by, (at_s, said)) in std::mem::take(&mut self.said) {
            let device = format!("device {by}");
            let fields = json!({
                "identifier": [{ "system": DEVICE_SYSTEM, "value": by.to_string() }],
                "type": { "text": "a health worker's phone" },
            });
            self.put(&device, "Device", fields);
            let used: Vec<_> = models
                .iter()
                .map(|model| json!({ "role": "source", "what": self.reference(&format!("device {model}")) }))
                .collect();
            let fields = json!({
                "target": said,
                "recorded": instant(at_s),
                "agent": std::iter::once(agent("author", self.reference(&device)))
                    .chain(worker.iter().map(|_| agent("performer", self.reference("worker"))))
                    .collect::<Vec<_>>(),
                "entity": (!used.is_empty()).then_some(used),
            });
            self.put(&format!("provenance {by}"), "Provenance", fields);
        }
    }

    /// Of each decision: on which phone, with which program, rules and model before whoever
    /// decided.
    fn audit(&mut self) {
        for (n, (stamp, decision)) in self.view.decisions.iter().enumerate() {
            let device = self.reference(&format!("device {}", stamp.by));
            let seen = [
                ("rules", &decision.rules),
                ("model", &decision.model),
                ("app", &decision.app),
            ];
            let seen = seen.into_iter().filter(|(_, what)| !what.is_empty());
            let seen: Vec<_> = seen
                .map(|(kind, what)| json!({ "type": kind, "valueString": what }))
                .collect();
            let fields = json!({
                "type": coding("http://dicom.nema.org/resources/ontology/DCM", "110110"),
                "action": "C",
                "recorded": instant(stamp.at_s),
                "agent": [{ "who": device, "requestor": true }],
                "source": { "observer": device },
                "entity": [{ "what": self.reference(&format!("decision {n}")),
                             "detail": (!seen.is_empty()).then_some(seen) }],
            });
            self.put(&format!("audit {n}"), "AuditEvent", fields);
        }
    }
}

/// Whether a rule says what is not the matter: "N5 No acute malnutrition" is no condition.
fn rules_out(rule: &str) -> bool {
    let (id, class) = rule.split_once(' ').unwrap_or((rule, rule));
    class.starts_with("No ") || id == "MS" // a main symptom was not asked
}

/// `1B70.Z cellulitis 0.42` as a prediction.
fn prediction(line: &str) -> Option<Value> {
    let (code, rest) = line.split_once(' ')?;
    let (name, probability) = rest.rsplit_once(' ')?;
    let probability: f64 = probability
        .parse()
        .ok()
        .filter(|p| (0.0..=1.0).contains(p))?;
    let outcome = json!({ "coding": [coding(ICD11, code)], "text": name });
    Some(json!({ "outcome": outcome, "probabilityDecimal": probability }))
}

/// The case as resources.
pub(super) fn resources(view: &CaseView, area: &Area) -> Vec<Value> {
    let mut writer = Writer {
        view,
        entries: Vec::new(),
        said: BTreeMap::new(),
    };
    writer.patient();
    writer.encounter(area);
    writer.observations();
    writer.form();
    writer.assessments();
    writer.decisions();
    writer.doses();
    writer.photos();
    writer.consents();
    writer.provenance();
    writer.audit();
    writer.entries
}

/// The case as a FHIR R4 bundle of type `collection`.
pub fn write(view: &CaseView, area: &Area) -> Value {
    json!({
        "resourceType": "Bundle",
        "identifier": { "system": CASE_SYSTEM, "value": view.id.to_string() },
        "type": "collection",
        "entry": resources(view, area),
    })
}
