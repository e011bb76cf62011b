//! Cases as HL7 FHIR R4 bundles (hl7.org/fhir/R4), after the mapping of `field/clinical.md` §1.7,
//! and bundles as cases.
//!
//! | part of the case | resource |
//! |---|---|
//! | the head | Patient, RelatedPerson |
//! | the visit | Encounter |
//! | each word that stands about a finding | Observation; unknown is `dataAbsentReason`, never "no" |
//! | the whole form | QuestionnaireResponse |
//! | what the rules said | Condition, provisional |
//! | what the model said | RiskAssessment |
//! | what a person decided | ClinicalImpression; pink also ServiceRequest and Task, a date also CarePlan |
//! | doses | MedicationRequest, MedicationAdministration |
//! | photos | Media |
//! | consents | Consent |
//! | phones, rules and models; who said what, and when by their clock | Device, Practitioner, Provenance |
//! | what was before whoever decided | AuditEvent |
//!
//! The same as an International Patient Summary: a document whose Composition orders these
//! resources into the sections that every reader of summaries knows, and allergies as
//! AllergyIntolerance.
//!
//! Names of fields are codings of our own system beside LOINC. Read back, they become the same
//! fields; a bundle of another system is read by its LOINC codes. What is not understood is listed,
//! not guessed.

mod ips;
mod narrative;
mod observed;
mod read;
mod resource;
mod write;

pub use ips::write_ips;
pub use read::{read, read_until};
pub use write::write;

const LOINC: &str = "http://loinc.org";
const CASE_SYSTEM: &str = "https://kijiti.org/fhir/case";
/// Of a patient's number with the state.
const NATIONAL_SYSTEM: &str = "https://kijiti.org/fhir/national-id";
/// On a birth date: whether it was estimated. FHIR R4 has no word of its own for it.
const ESTIMATED: &str = "https://kijiti.org/fhir/birth-date-estimated";
const DOSE_SYSTEM: &str = "https://kijiti.org/fhir/dose";
const COLOUR_SYSTEM: &str = "https://kijiti.org/fhir/urgency";
const HL7: &str = "http://terminology.hl7.org/CodeSystem";
