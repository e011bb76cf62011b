//! The reader of pictures: what it reads of drawings that it has not seen, and what it does not read.

use inference::pictures::SUBJECTS;
use inference::vision::{Defences, Look, Picture, PictureReader, SIDE};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use teach::see::{self, Plan, Tower};

const REFERENCE: &[u8] = include_bytes!("../../../../models/vision-reference.gguf");

fn reader() -> PictureReader {
    PictureReader::load("reference", REFERENCE).unwrap()
}

#[test]
fn the_reference_reader_passes_its_golden_pictures_on_this_machine() {
    assert_eq!(reader().self_test().unwrap(), 14);
    assert!(reader().card().contains("NOT CLINICALLY VALIDATED"));
}

/// On every skin tone, and for every subject.
#[test]
fn most_drawings_are_read_and_hardly_one_of_them_wrongly() {
    let report = see::measure(&reader(), 1400);
    assert!(
        report.all.read() > 0.85 && report.all.right() > 0.95,
        "{report:?}"
    );
    for (group, count) in &report.groups {
        assert!(
            count.right() > 0.9 && count.read() > 0.6,
            "{group}: {count:?}"
        );
    }
}

/// With the control: without asking what a picture is, it reads something in most of them.
#[test]
fn pictures_of_nothing_or_of_something_else_are_not_read() {
    let report = see::measure(&reader(), 700);
    assert!(report.nothing.read() < 0.03, "{report:?}");
    assert!(report.nothing_undefended.read() > 0.15, "{report:?}");
}

/// With the control: without its defences it is wrong about many more.
#[test]
fn what_a_foe_has_made_of_a_picture_is_hardly_ever_read_wrongly() {
    let tower = Tower::of_file(REFERENCE).unwrap();
    let [defended, undefended] = see::foes(&tower, &reader(), 96, 6).unwrap();
    let wrongly = |count: see::Count| count.read() * (1.0 - count.right());
    assert!(
        wrongly(defended) < 0.08 && wrongly(undefended) > 2.0 * wrongly(defended) + 0.04,
        "{defended:?} {undefended:?}"
    );
}

#[test]
fn what_is_no_photograph_at_all_is_not_read() {
    let reader = reader();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let flat = |colour: [u8; 3]| colour.repeat(SIDE * SIDE);
    let grey: Vec<u8> = (0..SIDE * SIDE)
        .map(|_| rng.random_range(0..=255u8))
        .collect();
    let grey = grey.into_iter();
    let noise = (0..SIDE * SIDE * 3).map(|_| rng.random_range(0..=255u8));
    let pictures = [
        flat([0; 3]),
        flat([255; 3]),
        flat([255, 0, 0]),
        flat([206, 46, 48]),
        flat([224, 172, 105]),
        flat([92, 58, 40]),
        flat([128; 3]),
        grey.flat_map(|grey| [grey; 3]).collect(),
        noise.collect(),
    ];
    for (n, bytes) in pictures.into_iter().enumerate() {
        let picture = Picture::new(bytes).unwrap();
        for subject in &SUBJECTS {
            let look = reader.look(&picture, subject).unwrap();
            assert!(
                !matches!(look, Look::Reads(..)),
                "{n} {}: {look:?}",
                subject.name
            );
        }
    }
    // The control: without asking what it is, black is read as skin.
    let undefended = Defences {
        what: false,
        ..Defences::ALL
    };
    let skin = SUBJECTS.iter().find(|s| s.name == "skin").unwrap();
    let look = reader
        .look_with(&Picture::black(), skin, undefended)
        .unwrap();
    assert!(matches!(look, Look::Reads(..)), "{look:?}");
    // And whatever is drawn shows something.
    for n in 0..2000 {
        let drawn = see::nth(41, n);
        let is_nothing = drawn.subject.is_none();
        assert!(
            is_nothing || drawn.picture.shows_anything(),
            "{n} {:?}",
            drawn.subject
        );
    }
}

#[test]
fn damaged_and_hostile_files_are_refused() {
    let tower = see::learn(Plan::TINY, &mut |_, _| {}).unwrap();
    let file = see::pack(&tower, Plan::TINY, 40).unwrap();
    let reader = PictureReader::load("tiny", &file).unwrap();
    assert_eq!(reader.self_test().unwrap(), 14);
    for at in (0..file.len() * 59 / 60).step_by(file.len() / 60) {
        assert!(PictureReader::load("cut", &file[..at]).is_err(), "{at}");
    }
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = file.windows(from.len()).position(|w| w == from.as_bytes());
        let mut spoilt = file.clone();
        spoilt[at.unwrap()..][..to.len()].copy_from_slice(to.as_bytes());
        PictureReader::load("spoilt", &spoilt).and_then(|reader| reader.self_test())
    };
    for (from, to) in [
        ("kijiti-vision-1", "kijiti-vision-9"),
        ("\"width\":32", "\"width\":64"),
        ("\"layers\":1", "\"layers\":9"),
        ("\"positive\"", "\"negative\""),
        ("\"is_above\":0.5", "\"is_above\":9.5"),
        ("\"pixels\":", "\"pixelz\":"),
        ("halvings.0.weight", "halvings.0.weighs"),
    ] {
        assert!(replaced(from, to).is_err(), "{from}");
    }
    // A weight that is no number hides in no sum.
    let mut spoilt = file.clone();
    let end = spoilt.len();
    spoilt[end - 32 * 50 * 4..].fill(0xff);
    let loaded = PictureReader::load("nan", &spoilt);
    assert!(loaded.is_err() || loaded.unwrap().self_test().is_err());
    let golden = file.windows(8).rposition(|w| w == b"\"what\":[").unwrap();
    let mut other = file.clone();
    other[golden + 8..golden + 11].copy_from_slice(b"0.9");
    other[golden + 11..golden + 13].copy_from_slice(b"99");
    let tested = PictureReader::load("golden", &other).and_then(|r| r.self_test());
    assert!(tested.is_err());
}

/// However many threads there are, and whichever of them takes which part.
#[test]
fn the_same_seed_gives_the_same_reader() {
    let of = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let tower = see::learn(Plan::TINY, &mut |_, _| {}).unwrap();
            see::pack(&tower, Plan::TINY, 40).unwrap()
        })
    };
    let one = of(1);
    assert!([2, 3, 2].into_iter().all(|threads| of(threads) == one));
}

/// What a picture was read as moves a model and no rule.
#[test]
fn a_reading_is_one_more_thing_that_a_model_is_told_and_no_rule_reads_it() {
    use clinical::Profile;
    use inference::{Findings, RulePack, TriageModel, assess};
    let pack = RulePack::built_in().unwrap();
    let model = include_bytes!("../../../../models/triage-reference.gguf");
    let model = TriageModel::load("reference", model).unwrap();
    let file = "age_months = 20\nfever = \"yes\"\nfever_days = 2\n";
    let of = |reading: &str| {
        let file = format!("{file}\"photo.rapid_test\" = \"{reading}\"\n");
        Findings::parse(&file, &pack).unwrap()
    };
    let plain = Findings::parse(file, &pack).unwrap();
    let malaria = |findings: &Findings| {
        let (all, _) = model.probabilities(findings).unwrap();
        let named = |name: &str| model.labels().iter().position(|l| l.name == name).unwrap();
        all[named("Malaria")] + all[named("Severe malaria")]
    };
    let [positive, negative] = ["positive", "negative"].map(of);
    assert!(malaria(&positive) > malaria(&plain) && malaria(&plain) > malaria(&negative));
    for profile in Profile::ALL {
        let rules = |findings: &Findings| assess(findings, &pack, profile, []).said();
        assert_eq!(rules(&positive), rules(&plain));
    }
    for wrong in [
        "\"photo.hand\" = \"x\"",
        "\"photo.eye\" = \"blue\"",
        "\"photo.eye\" = 3",
    ] {
        assert!(
            Findings::parse(&format!("{file}{wrong}\n"), &pack).is_err(),
            "{wrong}"
        );
    }
}

/// Two phones come to the same words, whatever their processors, and how many threads they have.
#[test]
fn the_same_picture_is_read_alike_however_often_and_from_how_many_threads() {
    let reader = reader();
    let drawn: Vec<_> = (0..24).map(|n| see::nth(8, n)).collect();
    let look = |n: usize| {
        let at = drawn[n].subject.unwrap_or(n % SUBJECTS.len());
        reader.look(&drawn[n].picture, &SUBJECTS[at]).unwrap()
    };
    let once: Vec<_> = (0..drawn.len()).map(look).collect();
    let again = std::thread::scope(|threads| {
        let some = (0..drawn.len()).map(|n| threads.spawn(move || look(n)));
        let some: Vec<_> = some.collect();
        let all = some.into_iter().map(|thread| thread.join().unwrap());
        all.collect::<Vec<_>>()
    });
    assert_eq!(once, again);
    let read = once.iter().filter(|look| matches!(look, Look::Reads(..)));
    assert!(read.count() > 12, "{once:?}");
}

/// Each defence alone: with both off, a picture of nothing is read as anything.
#[test]
fn each_defence_is_what_keeps_its_own_kind_of_picture_from_being_read() {
    let reader = reader();
    let nothing: Vec<_> = (0..200)
        .map(|n| see::nth(21, n))
        .filter(|drawn| drawn.subject.is_none())
        .collect();
    assert!(nothing.len() > 20);
    let read = |defences: Defences| {
        let each = nothing.iter().enumerate().filter(|(n, drawn)| {
            let subject = &SUBJECTS[n % SUBJECTS.len()];
            let look = reader.look_with(&drawn.picture, subject, defences);
            matches!(look, Ok(Look::Reads(..)))
        });
        each.count()
    };
    let off = |what, views| read(Defences { what, views });
    assert_eq!(read(Defences::ALL), 0);
    assert!(off(false, false) > off(false, true) && off(false, true) > 0);
    assert!(off(true, false) <= 1);
}
