//! What a phone tells beside its refusals: warnings, checks, why something waits, what was said.

use clinical::FindingsError;
use clinical::age::AgeError;
use node::agent::Standing;
use node::api::views::case::{PictureRead, PictureSays, Said, Stays};
use node::api::views::meetings::NotInStep;
use node::api::views::releases::{Check, State};
use node::api::views::status::Warning;
use node::store::Aside;
use record::photo::Advice;

use super::phone::{Words, words};

/// Why something of a case is set aside.
pub fn aside(why: &Aside) -> String {
    match why {
        Aside::Late => "its author's phone is lost: somebody above must countersign it".to_owned(),
        Aside::Alone => "it waits while another is opened alone".to_owned(),
        Aside::Parked => {
            "the program stopped twice while it was being opened: it is not opened any more"
                .to_owned()
        }
        Aside::Refused(why) => why.clone(),
    }
}

/// Why two phones are not in step after a meeting.
pub fn not_in_step(why: &NotInStep) -> String {
    match why {
        NotInStep::Uncertified => {
            "this phone is not certified, so no cases were exchanged".to_owned()
        }
        NotInStep::OtherUncertified => {
            "the other phone is not certified, so no cases were exchanged".to_owned()
        }
        NotInStep::MayNotCarry => "one of the two phones may not carry cases".to_owned(),
        NotInStep::MoreWritten => {
            "more was written while they met, or does not fit here: meet again".to_owned()
        }
        NotInStep::AuthorsUnknown(some) => format!(
            "{some} changes were passed over: this phone does not know their author's certificates yet"
        ),
    }
}

/// Why findings cannot be read.
pub fn findings(error: &FindingsError) -> Words {
    match error {
        FindingsError::TooLong => words(
            "the findings file is too long",
            "one case needs a few kilobytes at most",
        ),
        FindingsError::Malformed(form, why) => words(
            format!("the findings file is not valid {form}: {why}"),
            "write lines such as: age_months = 11, cough_or_difficult = \"yes\", spo2 = \"unknown\"",
        ),
        FindingsError::AgeNotANumber(name) => words(
            format!("{name} is not a number"),
            "write for example age_months = 11",
        ),
        FindingsError::Age(why @ AgeError::InfantInMonths) => {
            words(why, "write for example age_days = 40")
        }
        FindingsError::Age(why @ AgeError::NotAChild) => words(
            why,
            "write age_months (2–59), or age_days (0–59) for an infant under 2 months; from ten years on write age_years, of five to nine years begin a case with --kind adult, where you decide",
        ),
        FindingsError::Age(why) => words(
            why,
            "write age_months (2–59), or age_days (0–59) for an infant under 2 months",
        ),
        FindingsError::NoSuchFinding(name, of, near) => words(
            format!("{name:?} is not a finding of {of}"),
            format!("did you mean {near:?}?"),
        ),
        FindingsError::NotAFlag(name) => words(
            format!("{name} must be yes, no or unknown"),
            format!("write {name} = \"yes\""),
        ),
        FindingsError::Impossible(name, number, unit, min, max) => words(
            format!("{name} of {number} {unit} cannot be: it lies between {min} and {max}"),
            "measure again, or write \"unknown\"",
        ),
        FindingsError::NotANumber(name, min) => words(
            format!("{name} is not a number"),
            format!("write {name} = {min}, or \"unknown\""),
        ),
        FindingsError::NotAChoice(name, choices) => words(
            format!("{name} has no such choice"),
            format!("write one of: {}, unknown", choices.join(", ")),
        ),
        FindingsError::NotAnAge => words(
            "the rules need an age",
            "write your best guess, for example 11 (months), 1y, or 40d under 2 months",
        ),
    }
}

/// Why what was typed is no answer to a question.
pub fn answer(error: &FindingsError) -> String {
    match error {
        FindingsError::NotAFlag(_) => {
            "write y or n, or press Enter where it is not known".to_owned()
        }
        FindingsError::Impossible(_, number, unit, min, max) => {
            format!("{number} {unit} cannot be: it lies between {min} and {max}; measure again")
        }
        FindingsError::NotANumber(..) => "write a number in digits, such as 38.5".to_owned(),
        FindingsError::NotAChoice(_, choices) => format!("write one of: {}", choices.join(", ")),
        FindingsError::TooLong
        | FindingsError::Malformed(..)
        | FindingsError::AgeNotANumber(_)
        | FindingsError::Age(_)
        | FindingsError::NoSuchFinding(..)
        | FindingsError::NotAnAge => {
            let (reason, hint) = findings(error);
            format!("{reason}: {hint}")
        }
    }
}

/// What a person should know of how old a phone's knowledge is.
pub fn warning(warning: &Warning) -> String {
    match warning {
        Warning::ClockBehind => {
            "this phone's clock is behind the ministry's last word: set it".into()
        }
        Warning::ClockAheadOrNoNews => {
            "either this phone's clock is far ahead, or it has heard nothing new for over a year".into()
        }
        Warning::ListExpired { meetings } => format!(
            "the release list is older than the ministry meant it to be; {meetings} meetings since brought none newer. What runs goes on"
        ),
        Warning::RootExpired => "the ministry's root is older than it meant it to be".into(),
        Warning::NewerList { version } => {
            format!("release list {version} exists and has not come here: meet your supervisor")
        }
        Warning::NewerRecall => {
            "a recall exists that has not come here: meet your supervisor before you trust the model".into()
        }
        Warning::ListRetired => {
            "the keys of the release list have been retired: nothing is fetched until the next list comes".into()
        }
        Warning::Recalled { release, digest, reason } => {
            let name = release.clone().unwrap_or_else(|| format!("bundle {}", digest.short()));
            format!("the ministry has recalled {name}: {reason}. This phone does not run it")
        }
        Warning::NotCertifiedAnyMore => {
            "this phone's certificate counts no more: its signer has left or it was revoked; ask your supervisor to enrol it again".into()
        }
        Warning::Locked { area } => format!(
            "the keys of {area} are locked after their time: call whoever keeps the space for a code, then kijiti enrol unlock CODE --area {area}"
        ),
        Warning::CertificateExpired => {
            "this phone's certificate has expired: it works on with what it has, and gets no new keys; ask your supervisor".into()
        }
        Warning::CertificateEnded { at } => format!(
            "by this phone's clock its certificate ended on {at}: ask your supervisor for a new one before the ministry's next word ends it"
        ),
        Warning::KeyElsewhere { at } => format!(
            "another phone has this phone's key, or this data folder was set back to an older copy (noticed last at {at}). Nothing that either wrote is lost, but nobody can tell them apart: go on with one; copy the other with kijiti backup, restore the copy into a new folder, where it gets a key of its own, and enrol that"
        ),
        Warning::ImportCutOff => {
            "a file of cases is not all in yet: it goes on by itself, at the next start or once there is room".into()
        }
        Warning::ImportGivenUp => {
            "a file of cases was cut off and is not all here: import it again, in parts if that fails; what is here is not taken twice".into()
        }
        Warning::Revoked { reason } => format!(
            "this phone has been revoked ({reason}): its cases stay readable here, and others take nothing from it"
        ),
    }
}

/// How a phone that is near stands to this one.
pub fn standing(standing: Standing) -> String {
    match standing {
        Standing::Meeting => "meeting it now".into(),
        Standing::Called => "being called".into(),
        Standing::NothingNew => "met, nothing new since".into(),
        Standing::Waits => "waits for its turn".into(),
        Standing::NoAnswer { calls } => format!(
            "heard, but nobody answers there ({calls} calls): a firewall, or an access point that keeps phones apart"
        ),
        Standing::Refused => {
            "one of the two would not go on: see kijiti meetings; it is tried again".into()
        }
        Standing::CutOff => "the last meeting was cut off: it is tried again".into(),
        Standing::ThisPhone => {
            "says that it is this phone: the same key is on two phones (make one of them out of a backup, with kijiti restore, and enrol it), or somebody pretends".into()
        }
        Standing::SavesPower => {
            "not known here, and this battery is nearly empty: not called".into()
        }
    }
}

/// How a release stands here.
pub fn state(state: &State) -> String {
    match state {
        State::Recalled(why) => format!("recalled: {why}"),
        State::Active => "active".into(),
        State::WaitsForBase(base) => format!(
            "says nothing: the model that it stands beside ({}…) does not run here",
            base.short()
        ),
        State::Parked(why) => format!("parked: {why}"),
        State::TriedAgain { fell, wait_s } => format!(
            "whole; this phone stopped {fell} times while loading it, and tries again once it has been on for {}",
            match wait_s {
                0..60 => format!("{wait_s} seconds"),
                60..7200 => format!("{} minutes", wait_s / 60),
                _ => format!("{} hours", wait_s / 3600),
            }
        ),
        State::WaitsForStage => "whole; waits until its stage reaches this phone".into(),
        State::CarriedForOthers => "whole; carried for others".into(),
        State::Whole => "whole".into(),
        State::Partial => "not all here".into(),
    }
}

/// Something that was checked of a release.
pub fn check(check: &Check) -> String {
    match check {
        Check::Root { version, ministry } => {
            format!("root version {version} reached from the anchor of {ministry}")
        }
        Check::List {
            version,
            signed,
            needed,
        } => {
            format!("release list {version} signed by {signed} keys, {needed} needed")
        }
        Check::ListRetired { version } => {
            format!("release list {version} was in force when it came; its keys are retired since")
        }
        Check::NotOlder => "no list or release older than one held before".into(),
        Check::Digest {
            groups,
            bytes,
            digest,
        } => format!(
            "all {groups} groups and the whole {bytes} bytes match digest {}",
            digest.short()
        ),
        Check::MeantFor { area, engine } => {
            format!("meant for area {area} and engine {engine} or newer")
        }
        Check::ModelLoads { labels } => format!("loads within its limits, {labels} labels"),
        Check::ModelGolden { cases } => {
            format!("{cases} of {cases} golden cases come out as published on this phone")
        }
        Check::PicturesGolden { pictures } => format!(
            "{pictures} of {pictures} golden pictures come out as published on this phone; not clinically validated"
        ),
        Check::RulesRead { pack } => format!("every rule of {pack} reads known findings"),
        Check::RulesGolden { cases } => {
            format!("{cases} of {cases} golden cases come out as they must, by its rules alone")
        }
        Check::StandsBeside { base } => format!("stands beside model {}", base.short()),
        Check::RulesKept { before } => {
            format!("every pink rule of {before} is there, or given up by an explicit word")
        }
    }
}

/// Why a case does not leave this phone.
pub fn stays(stays: &Stays, case: &str) -> String {
    match stays {
        Stays::Locked(area) => format!(
            "the keys of {area} are locked here: it waits for the code of who keeps the space"
        ),
        Stays::NoConsent => {
            format!("no consent to share it: kijiti case add {case} --consent share")
        }
        Stays::NotEnrolled => "this phone is not enrolled: kijiti enrol request".into(),
        Stays::NoKey => {
            "the key of its space was ended because a phone was lost, or has not come yet: meet the clinic".into()
        }
        Stays::AboutToBeSealed => "it is about to be sealed".into(),
    }
}

/// One thing that was said of a case.
pub fn said(said: &Said) -> String {
    match said {
        Said::Finding(name, value) => format!("{name} = {}", value.words()),
        Said::Settled(name, value) => format!("settled: {name} = {}", value.words()),
        Said::Link(other, true) => format!("the same patient as case {}", other.short()),
        Said::Link(other, false) => format!("not the same patient as case {}", other.short()),
        Said::Assessment(urgency, rules, model) => {
            format!("assessed {} by {rules} and {model}", urgency.name())
        }
        Said::Decision {
            urgency,
            agrees,
            reason,
            plan,
            rules,
            model,
            app,
        } => {
            let agrees = match agrees {
                None => "without an assessment",
                Some(true) => "as assessed",
                Some(false) => "otherwise than assessed",
            };
            let why = if reason.is_empty() {
                String::new()
            } else {
                format!(" ({reason})")
            };
            let seen = if app.is_empty() {
                String::new()
            } else {
                format!(" in {app}")
            };
            let urgency = urgency.name();
            format!("decided {urgency} {agrees}{why}; seen{seen}: {rules} and {model}; {plan}")
        }
        Said::Dose {
            medicine,
            amount,
            unit,
            route,
            given,
        } => {
            let what = format!("gave {medicine} {amount} {unit}");
            let said = [&what, route, given]
                .into_iter()
                .filter(|words| !words.is_empty());
            said.cloned().collect::<Vec<_>>().join(", ")
        }
        Said::NotGiven(dose, why) => format!("dose {dose} was not given after all: {why}"),
        Said::Note(note) => format!("noted: {note}"),
        Said::Handover(to, why) => format!("handed to {to}: {why}"),
        Said::Photo(shows) => format!("photo of {shows}"),
    }
}

/// What to do where a picture is not taken.
pub(super) const JPEG: &str =
    "photograph again, as jpeg: \"most compatible\" in the camera's settings";

/// What a reader of pictures says of one, and that nobody should take its word for it.
pub fn picture_read(read: &PictureRead) -> String {
    let of = read.subject.replace('_', " ");
    let said = match &read.said {
        PictureSays::Reads { word, probability } => format!(
            "seems to show, of {of}: {} ({:.0} in 100)",
            word.replace('_', " "),
            probability * 100.0
        ),
        PictureSays::NotThis => format!("does not look like {of}: nothing is read from it"),
        PictureSays::Unsure => {
            format!("may show more than one thing of {of}: nothing is read from it")
        }
    };
    let by = &read.by;
    format!("the photo {said}. {by}, not clinically validated: write down what you see yourself")
}

/// What to do about a photo.
pub fn photo_advice(advice: Advice) -> &'static str {
    match advice {
        Advice::TooDark => "too dark: go to a window or outside, and hold the phone nearer",
        Advice::TooBright => "too bright: turn, so that the light comes from behind you",
        Advice::Blurred => {
            "not sharp: rest your elbows, touch the screen where it matters, and wait"
        }
        Advice::TooSmall => "too small to see anything: photograph it larger",
    }
}
