//! Tables of other systems, one row a patient: read as their mapping says, or refused with a reason; what
//! cannot be read of a row is listed and leaves its field unknown.

use std::collections::BTreeMap;

use clinical::FindingValue;
use record::Entry;
use record::exchange::csv::{Column, MAPPING_FORMAT, Mapping, draft, read_mapped};
use record::exchange::{ExchangeError, Imported};

const TABLE: &str =
    "Reg No,Child's name,DOB,Sex,Weight (lb),Temp,RDT,Fits,Amox mg,Visit,Remarks,Clerk
17,Amina Juma,3/2/2025,F,22,38.5,POS,no,250,28/11/2026,fell from a cart,Odhiambo
18,Baraka,31/01/2026,M,,36.9,ND,perhaps,0,28/11/2026,,Odhiambo
19,\"Chebet, K\",30/02/2025,F,18,99,NEG,yes,-5,28/11/2026,,Odhiambo
";

fn field(name: &str) -> Column {
    Column {
        field: Some(name.into()),
        ..Column::default()
    }
}

/// A field with more said of its column.
fn column(name: &str, more: impl FnOnce(&mut Column)) -> Column {
    let mut column = field(name);
    more(&mut column);
    column
}

fn in_unit(name: &str, unit: &str) -> Column {
    column(name, |column| column.unit = Some(unit.into()))
}

fn with_words(name: &str, words: &[(&str, &str)]) -> Column {
    let words = words
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
    column(name, |column| column.values = words.collect())
}

fn mapping() -> Mapping {
    let tests = [("pos", "positive"), ("NEG", "negative"), ("ND", "not_done")];
    let amoxicillin = Column {
        dose: Some("amoxicillin".into()),
        unit: Some("mg".into()),
        given: Some("Visit".into()),
        date: Some("DD/MM/YYYY".into()),
        ..Column::default()
    };
    let note = Column {
        note: true,
        ..Column::default()
    };
    let columns = [
        ("Child's name", field("patient.name")),
        (
            "DOB",
            column("patient.born", |c| c.date = Some("DD/MM/YYYY".into())),
        ),
        (
            "Sex",
            with_words("patient.sex", &[("F", "female"), ("M", "male")]),
        ),
        ("Weight (lb)", in_unit("weight", "[lb_av]")),
        ("Temp", in_unit("temperature", "Cel")),
        ("RDT", with_words("malaria_test", &tests)),
        ("Fits", field("convulsions")),
        ("Amox mg", amoxicillin),
        ("Remarks", note),
    ];
    Mapping {
        format: MAPPING_FORMAT.into(),
        system: "Kitui register".into(),
        known_by: vec!["reg no".into()],
        ignore: Vec::new(),
        columns: columns
            .map(|(name, column)| (name.to_owned(), column))
            .into(),
    }
}

fn findings(case: &Imported) -> BTreeMap<&str, &FindingValue> {
    let entries = case.entries.iter();
    entries
        .filter_map(|entry| match entry {
            Entry::Finding { name, value } => Some((name.as_str(), value)),
            _ => None,
        })
        .collect()
}

fn refused(text: &str, mapping: &Mapping) -> String {
    let ExchangeError::Malformed(why) = read_mapped(text, mapping).unwrap_err();
    why
}

#[test]
fn a_row_becomes_a_case_by_its_mapping_and_what_cannot_be_read_is_listed() {
    let read = read_mapped(TABLE, &mapping()).unwrap();
    let [amina, baraka, chebet, beside] = &read[..] else {
        panic!("{read:?}");
    };
    let text = |words: &str| FindingValue::Text(words.into());
    let said = findings(amina);
    assert_eq!(said["patient.name"], &text("Amina Juma"));
    assert_eq!(said["patient.born"], &text("2025-02-03"));
    assert_eq!(said["patient.sex"], &text("female"));
    assert_eq!(said["malaria_test"], &text("positive"));
    assert_eq!(said["convulsions"], &FindingValue::No);
    assert!(matches!(said["weight"], FindingValue::Number(kg) if (kg - 9.979).abs() < 0.01));
    let dose = amina.entries.iter().find_map(|entry| match entry {
        Entry::Dose(dose) => Some((dose.amount, dose.unit.as_str(), dose.given.as_str())),
        _ => None,
    });
    assert_eq!(dose, Some((250.0, "mg", "2026-11-28")));
    assert!(
        amina
            .entries
            .contains(&Entry::Note("Remarks: fell from a cart".into()))
    );
    assert!(
        amina
            .entries
            .contains(&Entry::Note("of Kitui register: 17".into()))
    );
    assert!(amina.left_out.is_empty());
    // An empty cell says nothing, none given is no dose, and a danger sign that nobody understood is no "no".
    let said = findings(baraka);
    assert!(!said.contains_key("weight") && !said.contains_key("convulsions"));
    assert_eq!(said["malaria_test"], &text("not_done"));
    assert!(
        baraka
            .entries
            .iter()
            .all(|entry| !matches!(entry, Entry::Dose(_)))
    );
    assert!(
        baraka.left_out[0].contains("line 3, Fits"),
        "{:?}",
        baraka.left_out
    );
    // A day that is none, a temperature that cannot be, a dose below nothing: each by its line and column.
    assert_eq!(findings(chebet)["convulsions"], &FindingValue::Yes);
    for column in ["DOB", "Temp", "Amox mg"] {
        let listed = format!("line 4, {column}: ");
        assert!(
            chebet.left_out.iter().any(|why| why.starts_with(&listed)),
            "{:?}",
            chebet.left_out
        );
    }
    let unspoken = "column Clerk: the mapping does not speak of it";
    assert_eq!(beside.left_out, [unspoken]);
}

/// The same table again, its rows otherwise, in another spreadsheet's form.
#[test]
fn a_row_is_the_same_case_in_whatever_form_the_table_comes() {
    let read = read_mapped(TABLE, &mapping()).unwrap();
    let amina = &read[0];
    let lines: Vec<_> = TABLE.lines().collect();
    let turned = [lines[0], lines[3], lines[1], lines[2]].join("\r\n");
    let turned = turned
        .replace("\"Chebet, K\"", "Chebet# K")
        .replace(',', ";")
        .replace('#', ",")
        .replace("38.5", "38,5");
    let again = read_mapped(&format!("\u{feff}{turned}"), &mapping()).unwrap();
    assert_eq!(again[1].entries, amina.entries);
    assert_eq!(again[1].known_as, amina.known_as);
    let other = Mapping {
        system: "another".into(),
        ..mapping()
    };
    assert_ne!(
        read_mapped(TABLE, &other).unwrap()[0].known_as,
        amina.known_as,
        "the control"
    );
}

#[test]
fn days_of_another_calendar_are_read_by_its_name() {
    let of = |mark: &str, cell: &str| {
        let mut mapping = mapping();
        let born = mapping.columns.get_mut("DOB").unwrap();
        born.calendar = Some(mark.into());
        let read = read_mapped(&TABLE.replace("3/2/2025", cell), &mapping).unwrap();
        findings(&read[0])
            .get("patient.born")
            .map(|value| value.words())
    };
    assert_eq!(of("EC", "26/5/2017").as_deref(), Some("2025-02-03"));
    assert_eq!(of("BS", "२१/१०/२०८१").as_deref(), Some("2025-02-03"));
    assert_eq!(of("BS", "26/5/2017 10:30").as_deref(), Some("1960-09-10"));
    assert_eq!(of("EC", "26/5/2017 EC").as_deref(), Some("2025-02-03"));
    for none in [
        "31/5/2017",
        "26/5/2017 BS",
        "26/5/2017 or 2018",
        "26/5/2017T99",
        "26/5/20171",
    ] {
        assert_eq!(of("EC", none), None, "{none}");
    }
}

#[test]
fn a_mapping_that_cannot_work_is_refused_with_what_to_do() {
    let with = |change: &dyn Fn(&mut Mapping)| {
        let mut mapping = mapping();
        change(&mut mapping);
        refused(TABLE, &mapping)
    };
    let of_column = |name: &'static str, column: Column| {
        with(&move |mapping| drop(mapping.columns.insert(name.into(), column.clone())))
    };
    assert!(with(&|m| m.format = "kijiti.mapping/9".into()).contains("this version reads"));
    assert!(with(&|m| m.system.clear()).contains("no system"));
    assert!(with(&|m| m.known_by = vec!["Card".into()]).contains("the table's are"));
    assert!(of_column("Temp", field("temprature")).contains("there is no field"));
    assert!(of_column("Temp", field("temperature")).contains("say its unit"));
    let kilograms = Column {
        unit: Some("kg".into()),
        ..field("temperature")
    };
    assert!(of_column("Temp", kilograms).contains("is none of it"));
    let both = Column {
        note: true,
        ..field("weight")
    };
    assert!(of_column("Temp", both).contains("one of field, dose and note"));
    let date = Column {
        date: Some("DD/MM/YY".into()),
        ..field("patient.born")
    };
    assert!(of_column("DOB", date).contains("YYYY, MM and DD"));
    let lunar = Column {
        calendar: Some("lunar".into()),
        ..field("patient.born")
    };
    assert!(of_column("DOB", lunar).contains("none of EC, BS"));
    let both = [("F", "female"), ("f", "male")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    let both = Column {
        values: BTreeMap::from(both),
        ..field("patient.sex")
    };
    assert!(of_column("Sex", both).contains("there twice"));
    let undated = Column {
        calendar: Some("EC".into()),
        ..field("patient.born")
    };
    assert!(of_column("DOB", undated).contains("a calendar needs"));
    assert!(with(&|m| m.known_by.clear()).contains("known_by names no column"));
    let values = BTreeMap::from([("F".to_owned(), "woman".to_owned())]);
    assert!(
        of_column(
            "Sex",
            Column {
                values,
                ..field("patient.sex")
            }
        )
        .contains("no value")
    );
    let dose = Column {
        dose: Some("zinc".into()),
        unit: Some("mg/kg".into()),
        ..Column::default()
    };
    assert!(of_column("Amox mg", dose).contains("no unit of a dose"));
}

#[test]
fn rows_that_cannot_be_told_apart_or_are_cut_are_refused_by_their_line() {
    let twice = format!("{TABLE}17,Amina Juma,3/2/2025,F,23,37,NEG,no,0,29/11/2026,,O\n");
    assert!(refused(&twice, &mapping()).contains("lines 2 and 5 are under one number (17)"));
    let visits = Mapping {
        known_by: vec!["Reg No".into(), "Visit".into()],
        ..mapping()
    };
    assert_eq!(
        read_mapped(&twice, &visits).unwrap().len(),
        5,
        "the control"
    );
    assert!(
        refused(&TABLE.replace(",Odhiambo", ""), &mapping())
            .contains("line 2: 11 cells instead of 12")
    );
    assert!(refused(&TABLE.replace("Clerk", "Temp"), &mapping()).contains("twice"));
    assert!(refused("", &mapping()).contains("first line"));
    assert!(refused(TABLE.lines().next().unwrap(), &mapping()).contains("no row"));
    // A table of which nothing can be read says why; a line is one of the file, whatever its cells hold.
    let fits = Mapping {
        columns: BTreeMap::from([("Fits".into(), field("convulsions"))]),
        ..mapping()
    };
    let odd = "Reg No,Fits\n1,\"per\nhaps\"\n2,never\n";
    assert!(
        refused(odd, &fits).contains("line 2, Fits"),
        "{}",
        refused(odd, &fits)
    );
    let read = read_mapped(&format!("{odd}3,no\n"), &fits).unwrap();
    assert!(read[1].left_out[0].contains("line 4, Fits"), "{read:?}");
    let nameless = read_mapped("Reg No,Fits,\n1,no,what\n", &fits).unwrap();
    assert_eq!(nameless[1].left_out, ["column 3: it has no name"]);
}

#[test]
fn a_draft_knows_the_columns_that_are_called_as_fields() {
    let (draft, others) = draft(
        "name;Weight;muac;patient.born;Temp\nA;7;120;2025-01-01;37\n",
        "x",
    )
    .unwrap();
    assert!(
        draft.check().is_err(),
        "by what a patient is known only a person can say"
    );
    let of = |name: &str| draft.columns[name].field.clone().unwrap();
    assert_eq!(
        ["name", "Weight", "muac", "patient.born"].map(of),
        ["patient.name", "weight", "muac", "patient.born"]
    );
    assert_eq!(draft.columns["muac"].unit.as_deref(), Some("mm"));
    assert_eq!(others, ["Temp"]);
}

/// A row that is put right is the same row: its doses are the same doses. Two columns are two doses.
#[test]
fn a_column_is_one_dose_whatever_is_put_right_in_it() {
    let dose = |medicine: &str, unit: &str| Column {
        dose: Some(medicine.into()),
        unit: Some(unit.into()),
        ..Column::default()
    };
    let mapping = Mapping {
        columns: BTreeMap::from([
            ("Morning".into(), dose("amoxicillin", "mg")),
            ("Evening".into(), dose("amoxicillin", "mg")),
        ]),
        known_by: vec!["Reg".into()],
        ..mapping()
    };
    let doses = |text: &str| -> BTreeMap<String, f64> {
        let read = read_mapped(text, &mapping).unwrap();
        let entries = read[0].entries.iter();
        entries
            .filter_map(|entry| match entry {
                Entry::Dose(dose) => Some((dose.origin.clone(), dose.amount)),
                _ => None,
            })
            .collect()
    };
    let first = doses("Reg,Morning,Evening\n1,250,250\n");
    let right = doses("Reg;Evening;Morning\n1;500;250 mg\n");
    assert_eq!(first.len(), 2);
    assert!(first.keys().eq(right.keys()) && right.values().any(|amount| *amount == 500.0));
    // Digits of another script, and a comma before tenths; thousands are not guessed at.
    assert_eq!(doses("Reg\tMorning\tEvening\n1\t१२५\t62,5\n").len(), 2);
    assert_eq!(doses("Reg;Morning;Evening\n1;1.250;125\n").len(), 1);
}

#[test]
fn words_are_not_taken_for_numbers_and_a_row_of_nobody_is_listed() {
    let mapping = Mapping {
        columns: BTreeMap::from([
            ("Phone".into(), field("patient.caregiver_phone")),
            ("Id".into(), field("patient.national_id")),
        ]),
        known_by: vec!["Reg".into()],
        ..mapping()
    };
    let read = read_mapped("Reg;Phone;Id\n1;0712,34;123,45\n;07;9\n", &mapping).unwrap();
    let said = findings(&read[0]);
    assert_eq!(said["patient.caregiver_phone"].words(), "0712,34");
    assert_eq!(said["patient.national_id"].words(), "123,45");
    assert!(
        read[1].left_out[0].contains("line 3") && read.len() == 2,
        "{read:?}"
    );
}
