#!/usr/bin/env bash
# HL7's own validator (HAPI FHIR, from Maven Central) judges 200 and more exports of varied cases, as bundles and as patient summaries: no error, and no warning that is
# ours. Usage: rigs/validator.sh path/to/kijiti FOLDER
set -euo pipefail
kijiti=$(readlink -f "${1:?usage: validator.sh path/to/kijiti FOLDER}")
mkdir -p "${2:?a folder to work in}/cases"
work=$(readlink -f "$2")
here=$(dirname "$(readlink -f "$0")")
if ! command -v mvn >/dev/null || ! command -v java >/dev/null; then
    echo "SKIPPED: there is no mvn or no java here (apt-get install maven default-jdk-headless)"
    exit 0
fi
cp "$here"/validator/* "$work"
cd "$work"
[ -s classpath ] || mvn -q -B dependency:build-classpath -Dmdep.outputFile=classpath
rm -f cases/*
(cd "$here/.." && CASES=${CASES:-110} EXPORTS=$work/cases cargo test --release -q --workspace --test round_trips as_fhir >/dev/null)
# The codes of ours that the files name: fields of the catalogue and what may stand in them, colours, rules.
"$kijiti" --json case fields | python3 -c '
import glob, json, sys
fields = [field["name"] for field in json.load(sys.stdin)["fields"]]
codes = {}
def walk(at):
    if isinstance(at, dict):
        if str(at.get("system", "")).startswith("https://kijiti.org/") and "code" in at:
            codes.setdefault(at["system"], set()).add(at["code"])
        for each in at.values():
            walk(each)
    elif isinstance(at, list):
        for each in at:
            walk(each)
for file in glob.glob("cases/*.json"):
    walk(json.load(open(file)))
codes.setdefault("https://kijiti.org/fhir/field", set()).update(fields)
systems = [{"resource": {"resourceType": "CodeSystem", "url": url, "status": "active", "content": "complete",
            "concept": [{"code": code} for code in sorted(found)]}} for url, found in sorted(codes.items())]
json.dump({"resourceType": "Bundle", "type": "collection", "entry": systems}, open("codes.json", "w"))
'
java -Xmx2g -cp "$(cat classpath)" Judge.java codes.json cases/*.json
