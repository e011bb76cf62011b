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

fn mapping() -> Mapping {
    let some = |text: &str| Some(text.to_owned());
    let values = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    };
    let columns = [
        ("Child's name", field("patient.name")),
        (
            "DOB",
            Column {
                date: some("DD/MM/YYYY"),
                ..field("patient.born")
            },
        ),
        (
            "Sex",
            Column {
                values: values(&[("F", "female"), ("M", "male")]),
                ..field("patient.sex")
            },
        ),
        (
            "Weight (lb)",
            Column {
                unit: some("[lb_av]"),
                ..field("weight")
            },
        ),
        (
            "Temp",
            Column {
                unit: some("Cel"),
                ..field("temperature")
            },
        ),
        (
            "RDT",
            Column {
                values: values(&[("pos", "positive"), ("NEG", "negative"), ("ND", "not_done")]),
                ..field("malaria_test")
            },
        ),
        ("Fits", field("convulsions")),
        (
            "Amox mg",
            Column {
                dose: some("amoxicillin"),
                unit: some("mg"),
                given: some("Visit"),
                date: some("DD/MM/YYYY"),
                ..Column::default()
            },
        ),
        (
            "Remarks",
            Column {
                note: true,
                ..Column::default()
            },
        ),
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
    let of = |entry| match entry {
        &Entry::Finding {
            ref name,
            ref value,
        } => Some((name.as_str(), value)),
        _ => None,
    };
    case.entries.iter().filter_map(of).collect()
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
    // The same table again, its rows and columns otherwise, in another spreadsheet's form.
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
    assert_eq!(of("EC", "31/5/2017"), None);
}

#[test]
fn a_mapping_that_cannot_work_is_refused_with_what_to_do() {
    let with = |change: &dyn Fn(&mut Mapping)| {
        let mut mapping = mapping();
        change(&mut mapping);
        refused(TABLE, &mapping)
    };
    let column = |name: &'static str, column: Column| {
        with(&move |mapping| drop(mapping.columns.insert(name.into(), column.clone())))
    };
    assert!(with(&|m| m.format = "kijiti.mapping/9".into()).contains("this version reads"));
    assert!(with(&|m| m.system.clear()).contains("no system"));
    assert!(with(&|m| m.known_by = vec!["Card".into()]).contains("the table's are"));
    assert!(column("Temp", field("temprature")).contains("there is no field"));
    assert!(column("Temp", field("temperature")).contains("say its unit"));
    let kilograms = Column {
        unit: Some("kg".into()),
        ..field("temperature")
    };
    assert!(column("Temp", kilograms).contains("is none of it"));
    let both = Column {
        note: true,
        ..field("weight")
    };
    assert!(column("Temp", both).contains("one of field, dose and note"));
    let date = Column {
        date: Some("DD/MM/YY".into()),
        ..field("patient.born")
    };
    assert!(column("DOB", date).contains("YYYY, MM and DD"));
    let lunar = Column {
        calendar: Some("lunar".into()),
        ..field("patient.born")
    };
    assert!(column("DOB", lunar).contains("none of EC, BS"));
    let values = BTreeMap::from([("F".to_owned(), "woman".to_owned())]);
    assert!(
        column(
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
    assert!(column("Amox mg", dose).contains("no unit of a dose"));
}

#[test]
fn rows_that_cannot_be_told_apart_or_are_cut_are_refused_by_their_line() {
    let twice = format!("{TABLE}17,Amina Juma,3/2/2025,F,23,37,NEG,no,0,29/11/2026,,O\n");
    assert!(refused(&twice, &mapping()).contains("lines 2 and 5 are of one patient (17)"));
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
}

#[test]
fn a_draft_knows_the_columns_that_are_called_as_fields() {
    let (draft, others) = draft(
        "name;Weight;muac;patient.born;Temp\nA;7;120;2025-01-01;37\n",
        "x",
    )
    .unwrap();
    draft.check().unwrap();
    let of = |name: &str| draft.columns[name].field.clone().unwrap();
    assert_eq!(
        ["name", "Weight", "muac", "patient.born"].map(of),
        ["patient.name", "weight", "muac", "patient.born"]
    );
    assert_eq!(draft.columns["muac"].unit.as_deref(), Some("mm"));
    assert_eq!(others, ["Temp"]);
}
