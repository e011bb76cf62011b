#!/usr/bin/env bash
# Two phones in two network namespaces, joined by a veth pair, with no default route: do they find each other and meet?
# Usage: rigs/two-namespaces.sh path/to/kijiti
set -euo pipefail
kijiti=$(readlink -f "${1:?usage: two-namespaces.sh path/to/kijiti}")
here=$(mktemp -d)
a="kj-a-$$" b="kj-b-$$"
cleanup() {
    { kill $(jobs -p) && wait; } 2>/dev/null || true
    ip netns del "$a" 2>/dev/null || true
    ip netns del "$b" 2>/dev/null || true
    rm -rf "$here"
}
trap cleanup EXIT

if ! command -v ip >/dev/null || ! ip netns add "$a" 2>"$here/why"; then
    echo "SKIPPED: network namespaces cannot be made here ($(cat "$here/why" 2>/dev/null || echo 'no ip command'))"
    exit 0
fi
ip netns add "$b"
ip link add "veth-a$$" netns "$a" type veth peer name "veth-b$$" netns "$b"
ip -n "$a" addr add 10.77.0.1/24 dev "veth-a$$"
ip -n "$b" addr add 10.77.0.2/24 dev "veth-b$$"
for side in "$a veth-a$$" "$b veth-b$$"; do
    set -- $side
    ip -n "$1" link set lo up
    ip -n "$1" link set "$2" up
    if [ -n "$(ip -n "$1" route show default)" ]; then echo "there is a default route in $1"; exit 1; fi
done

cd "$here"
export KIJITI_PASSPHRASE="a rig guards nothing"
"$kijiti" --data a ministry keys --out keys --keys 1 --threshold 1 --work-factor 10 >/dev/null
for phone in a b; do
    "$kijiti" --data $phone enrol request --name "phone $phone" --out request.json >/dev/null
    "$kijiti" --data $phone enrol sign request.json --ministry keys --area all --rights carry,read,write --out answer.json >/dev/null
    "$kijiti" --data $phone enrol accept answer.json >/dev/null
done
head -c 3000000 /dev/urandom > bundle
"$kijiti" --data a ministry release draft --file bundle --module test-bundle --out draft.json >/dev/null
"$kijiti" --data a ministry release sign draft.json --key keys/key-1.age >/dev/null
"$kijiti" --data a ministry release publish draft.json >/dev/null

ip netns exec "$a" "$kijiti" --data a start 2>a.log &
ip netns exec "$b" "$kijiti" --data b start 2>b.log &
for _ in $(seq 150); do
    if grep -q "is whole" b.log && grep -q "all is said" b.log; then
        echo "phone b found phone a without a default route, met it, and holds its bundle:"
        sed 's/^/  /' b.log
        exit 0
    fi
    sleep 0.2
done
echo "the two did not meet within 30 seconds"; cat a.log b.log
exit 1
