#!/usr/bin/env bash
# A release goes through an S3-compatible store: pushed from the ministry's phone, pulled by a town's. The store is moto's
# server (PyPI), on loopback.   usage: rigs/mirror-s3.sh PATH-OF-KIJITI     needs: pip install "moto[server]"
set -euo pipefail
kijiti=$(realpath "$1")
here=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; rm -rf "$here"' EXIT
port=$((20000 + RANDOM % 20000))
python3 -m moto.server -H 127.0.0.1 -p $port >"$here/server.log" 2>&1 &
server=$!
export AWS_ACCESS_KEY_ID=rig AWS_SECRET_ACCESS_KEY=rig AWS_REGION=us-east-1 AWS_ALLOW_HTTP=true
export AWS_ENDPOINT=http://127.0.0.1:$port KIJITI_PASSPHRASE="a rig guards nothing"
for _ in $(seq 100); do
    python3 -c "import urllib.request as u; u.urlopen(u.Request('$AWS_ENDPOINT/releases', method='PUT'))" 2>/dev/null && break
    sleep 0.2
done

cd "$here"
"$kijiti" --data desk ministry keys --out keys --keys 1 --threshold 1 --work-factor 10 >/dev/null
for phone in desk town; do
    "$kijiti" --data $phone enrol request --name $phone --out request.json >/dev/null
    "$kijiti" --data $phone enrol sign request.json --ministry keys --area all --rights carry --out answer.json >/dev/null
    "$kijiti" --data $phone enrol accept answer.json >/dev/null
done
head -c 12000000 /dev/urandom >form
"$kijiti" --data desk ministry release draft --module form-a --file form --out draft.json >/dev/null
"$kijiti" --data desk ministry release sign draft.json --key keys/key-1.age >/dev/null
"$kijiti" --data desk ministry release publish draft.json >/dev/null
"$kijiti" --data desk mirror push s3://releases/north
"$kijiti" --data town mirror pull s3://releases/north
cmp form town/bundles/"$(ls desk/bundles | grep -v '\.' | head -1)"
"$kijiti" --data town mirror pull s3://releases/north | grep -q "0 bundles taken"
echo "the town holds what the ministry published"
