//! A model so small that it is made while one waits.

use inference::RulePack;
use inference::model::TriageModel;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use teach::learn::{Course, Plan};
use teach::net::Net;
use teach::publish::{self, Beside, Stored};

/// A plan of a few steps.
pub(crate) const TINY: Plan = Plan::TINY;

/// A course of the tiny plan, and a network that knows nothing yet.
pub(crate) fn tiny(seed: u64) -> (Course, Net) {
    let course = Course::new(TINY, &RulePack::built_in().unwrap()).unwrap();
    let net = Net::new(course.shape(), &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
    (course, net)
}

/// Its file, as it would be published.
pub(crate) fn file_of(course: &Course, net: &Net) -> Vec<u8> {
    let mut beside = publish::uncalibrated();
    let draft = publish::write(course, net, Stored::Q8, &beside).unwrap();
    let model = TriageModel::load("draft", &draft).unwrap();
    beside.golden = publish::golden(&model, teach::patients::World::LEARNING, 1, 6).unwrap();
    let beside = Beside {
        card: "NOT CLINICALLY VALIDATED".into(),
        ..beside
    };
    publish::write(course, net, Stored::Q8, &beside).unwrap()
}
