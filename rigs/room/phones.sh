#!/usr/bin/env bash
# Makes N phones of one ministry: the first has a release, each of the others a sealed case; all may read all.
# Usage: phones.sh path/to/kijiti FOLDER N BYTES
set -euo pipefail
kijiti=$(readlink -f "$1") folder=$2 count=$3 bytes=$4
mkdir -p "$folder"
cd "$folder"
export KIJITI_PASSPHRASE="a rig guards nothing"
"$kijiti" --data 1 ministry keys --out keys --keys 1 --threshold 1 --work-factor 10 >/dev/null
printf 'age_months = 14\ncough_or_difficult = "yes"\nchest_indrawing = "yes"\n' >findings.toml
for n in $(seq "$count"); do
    "$kijiti" --data "$n" enrol request --name "phone $n" --out request.json >/dev/null
    "$kijiti" --data "$n" enrol sign request.json --ministry keys --area all --rights carry,read,write,grant --out answer.json >/dev/null
    "$kijiti" --data "$n" enrol accept answer.json >/dev/null
    if [ "$n" = 1 ]; then
        "$kijiti" --data 1 enrol space --area all >/dev/null
    else
        "$kijiti" --data 1 enrol grant answer.json --area all --out grant.json >/dev/null
        "$kijiti" --data "$n" enrol accept grant.json >/dev/null
        "$kijiti" --data "$n" case new --findings findings.toml --set "patient.name=Zawadi$n" --consent share >/dev/null 2>&1
    fi
done
head -c "$bytes" /dev/urandom >bundle
"$kijiti" --data 1 ministry release draft --file bundle --module test-bundle --out draft.json >/dev/null
"$kijiti" --data 1 ministry release sign draft.json --key keys/key-1.age >/dev/null
"$kijiti" --data 1 ministry release publish draft.json >/dev/null
rm -rf bundle draft.json request.json answer.json grant.json keys
