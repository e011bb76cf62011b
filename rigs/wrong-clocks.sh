#!/usr/bin/env bash
# Phones whose clocks stand at 1970 and at 2100: they enrol, verify, take a release and the next one, warn, meet each other,
# make cases, and go on as before once their clocks are set.
# usage: rigs/wrong-clocks.sh PATH-OF-KIJITI     needs: faketime (Debian)
set -euo pipefail
kijiti=$(realpath "${1:?usage: wrong-clocks.sh path/to/kijiti}")
example=$(realpath "$(dirname "$0")/../app/examples/severe-pneumonia.toml")
if ! command -v faketime >/dev/null; then
    echo "SKIPPED: there is no faketime command here"
    exit 0
fi
here=$(mktemp -d)
# `faketime` stays between this shell and the phone: the phone itself is ended, or it would hold the rig's output open for ever.
stop_phones() { pkill -f -- "$kijiti --data future start" || true; wait; }
trap 'stop_phones; rm -rf "$here"' EXIT
cd "$here"
export KIJITI_PASSPHRASE="a rig guards nothing" FAKETIME_DONT_FAKE_MONOTONIC=1
declare -A year=([past]=1970 [future]=2100)
at() { phone=$1 && shift && faketime "${year[$phone]}-01-02 03:04:05" "$kijiti" --data "$phone" "$@"; }

for year in 1970 2100; do
    if faketime "$year-01-02 03:04:05" "$kijiti" --data desk ministry keys --out keys --work-factor 10 </dev/null >said 2>&1 || ! grep -q "clock is" said; then
        echo "a first root was made in $year, and nobody was asked"
        cat said
        exit 1
    fi
done
"$kijiti" --data desk ministry keys --out keys --keys 1 --threshold 1 --work-factor 10 >/dev/null
"$kijiti" --data desk enrol request --name desk --out request.json >/dev/null
"$kijiti" --data desk enrol sign request.json --ministry keys --area all --rights carry --out answer.json >/dev/null
"$kijiti" --data desk enrol accept answer.json >/dev/null
for phone in past future; do
    at $phone enrol request --name "phone of the $phone" --out $phone.json >/dev/null
    "$kijiti" --data desk enrol sign $phone.json --ministry keys --area $phone --rights carry,read,write,grant --out answer.json >/dev/null
    at $phone enrol accept answer.json >/dev/null
    at $phone enrol space --area $phone >/dev/null
done

publish() {
    head -c 400000 /dev/urandom >form
    "$kijiti" --data desk ministry release draft --module form-a --file form --out draft.json --expires-days 30 >/dev/null
    "$kijiti" --data desk ministry release sign draft.json --key keys/key-1.age >/dev/null
    "$kijiti" --data desk ministry release publish draft.json >/dev/null
    "$kijiti" --data desk ministry beacon --key keys/beacon-1.age >/dev/null
    "$kijiti" --data desk mirror push card >/dev/null
}
holds() { cmp -s form "$1"/bundles/"$(b3 form)"; }
b3() { for f in desk/bundles/*; do cmp -s form "$f" && basename "$f"; done; }

publish
for phone in past future; do
    at $phone mirror pull card >/dev/null
    holds $phone && echo "$phone: verified and took the release"
    at $phone case new --findings "$example" --decide pink >/dev/null
    at $phone doctor >$phone.doctor 2>&1 || true
done
grep -i "clock" past.doctor || { echo "the phone of 1970 says nothing of its clock"; cat past.doctor; exit 1; }
grep -i "clock" future.doctor || { echo "the phone of 2100 says nothing of its clock"; cat future.doctor; exit 1; }

publish
at past mirror pull card >/dev/null && holds past && echo "past: took the next one"
at future start --listen 127.0.0.1:0 --no-discovery 2>future.log &
for _ in $(seq 50); do grep -q "listening on" future.log && break || sleep 0.1; done
id=$(at future --json status | python3 -c 'import json,sys; s=json.load(sys.stdin); print(s["device"]+"@"+s["listening"][0])')
at past meet "$id" >/dev/null
holds future && echo "the two of them met: the future has the next one from the past"
stop_phones

publish
for phone in past future; do
    "$kijiti" --data $phone mirror pull card >/dev/null
    holds $phone && echo "$phone: with its clock set, goes on as before"
    "$kijiti" --data $phone --json case list | python3 -c 'import json,sys; assert json.load(sys.stdin)["cases"]'
done
