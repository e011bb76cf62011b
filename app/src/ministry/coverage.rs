//! `kijiti ministry coverage`: which releases run where, from receipts that phones have carried.

use std::path::Path;

use desk::files::unhex;
use desk::keys::load_key;
use node::api::Request;
use node::api::views::status::Receipts;
use node::host::receipt;
use serde_json::json;

use super::fields::{list, number, text};
use super::trust_of;
use crate::run::Phone;
use crate::{Failure, passphrase};

/// Opens every receipt here, believes those whose certificates hold, and counts.
pub(super) fn coverage(phone: &Phone, key: &Path) -> Result<(), Failure> {
    let trust = trust_of(phone)?;
    let answer: Receipts = phone.ask(Request::Receipts)?;
    eprintln!(
        "this opens {} receipts that have come here",
        answer.receipts.len()
    );
    let key = load_key(key, &passphrase::of_file)?;
    let (mut believed, mut doubtful, mut closed) = (Vec::new(), 0, Vec::new());
    for text in &answer.receipts {
        let sealed = receipt::verify(&unhex("receipt", text)?);
        let opened = sealed.and_then(|s| Ok((s.device, receipt::open(&s, &key)?)));
        let (device, said) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                closed.push(error);
                continue;
            }
        };
        match trust.verify_chain(&said.chain) {
            Some(Ok(chain)) if chain.device == device => believed.push((chain.area.clone(), said)),
            _ => doubtful += 1,
        }
    }
    let none_opened = believed.is_empty() && doubtful == 0;
    doubtful += closed.len();
    if let (Some(error), true) = (closed.pop(), none_opened) {
        let hint = "use the ministry's receipts key, such as keys/receipts-1.age";
        return Err(Failure::new(error, hint).with_code(4));
    }
    let rows: Vec<_> = receipt::coverage(&believed)
        .into_iter()
        .map(|((area, module, version), phones)| json!({ "area": area, "module": module, "version": version, "phones": phones }))
        .collect();
    let newest = trust.list_version();
    let behind = believed.iter().filter(|(_, r)| r.list < newest).count();
    let report = json!({ "schema": "kijiti.coverage-of-releases/1", "phones": believed.len(), "behind": behind,
        "doubtful": doubtful, "release_list": newest, "rows": rows });
    phone.show(&report, |r| {
        println!(
            "{} phones have reported; {} of them before list {newest}",
            number(r, "phones"),
            number(r, "behind")
        );
        for row in list(r, "rows") {
            println!(
                "  {:<30} {} version {}: {} phones",
                text(row, "area"),
                text(row, "module"),
                number(row, "version"),
                number(row, "phones")
            );
        }
        if number(r, "doubtful") > 0 {
            println!(
                "{} receipts that do not open or whose certificates do not hold were left out",
                number(r, "doubtful")
            );
        }
    })
}
