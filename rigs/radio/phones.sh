#!/usr/bin/env bash
# Makes two phones of one ministry: `a` has a release, `b` has a sealed case, each lacks the other's.
# Usage: phones.sh path/to/kijiti FOLDER [BYTES of the release]
set -euo pipefail
kijiti=$(readlink -f "$1") folder=$2 bytes=${3:-100000}
mkdir -p "$folder"
cd "$folder"
export KIJITI_PASSPHRASE="a rig guards nothing"
"$kijiti" --data a ministry keys --out keys --name "Ministry of the Rig" --keys 1 --threshold 1 --work-factor 10 >/dev/null
for phone in a b; do
    "$kijiti" --data $phone enrol request --name "phone $phone" --out request.json >/dev/null
    "$kijiti" --data $phone enrol sign request.json --ministry keys --area kilifi-south --rights carry,read,write,grant --out answer.json >/dev/null
    "$kijiti" --data $phone enrol accept answer.json >/dev/null
done
"$kijiti" --data a enrol space --area kilifi-south >/dev/null
"$kijiti" --data a enrol grant answer.json --area kilifi-south --out grant.json >/dev/null
"$kijiti" --data b enrol accept grant.json >/dev/null
head -c "$bytes" /dev/urandom >bundle
"$kijiti" --data a ministry release draft --file bundle --module test-bundle --out draft.json >/dev/null
"$kijiti" --data a ministry release sign draft.json --key keys/key-1.age >/dev/null
"$kijiti" --data a ministry release publish draft.json >/dev/null
printf 'age_months = 14\ncough_or_difficult = "yes"\nchest_indrawing = "yes"\n' >findings.toml
"$kijiti" --data b case new --findings findings.toml --set patient.name=Zawadi --consent share >/dev/null 2>&1
rm -rf bundle draft.json request.json answer.json findings.toml grant.json keys
