#!/usr/bin/env bash
# Phones in namespaces of an emulated machine: twelve in one room, one of them the hotspot; loss and delay; an interface that
# goes down; an address that changes; link-local IPv6 alone. Then an hour alone, an hour in company and ten meetings, on a
# clock that does not wait: what was sent is counted, and searched for addresses outside the local network.
# Needs tcpdump here to read what was captured there.
# Usage: rigs/room.sh path/to/kijiti FOLDER [JOB...]
set -euo pipefail
kijiti=$(readlink -f "${1:?usage: room.sh path/to/kijiti FOLDER [JOB...]}")
mkdir -p "${2:?a folder to work in}"
work=$(readlink -f "$2")
shift 2
here=$(dirname "$(readlink -f "$0")")
command -v tcpdump >/dev/null || { echo "SKIPPED: there is no tcpdump here (apt-get install tcpdump)"; exit 0; }
jobs=${*:-local loss down moved room idle}

boot() { # WHAT PHONES BYTES SECONDS [arguments for QEMU]
    what=$1 phones=$2 bytes=$3 seconds=$4
    shift 4
    rm -rf "$work/test" "$work/$what"
    mkdir -p "$work/test"
    "$here/room/phones.sh" "$kijiti" "$work/test/phones" "$phones" "$bytes"
    cp "$here/room/guest.sh" "$work/test/guest.sh"
    cp "$kijiti" "$work/test/kijiti"
    echo "$jobs_now" >"$work/test/job"
    rc=0
    "$here/radio/boot.sh" "$work" "$work/test" "$work/$what" "$seconds" "$@" || rc=$?
    [ $rc != 77 ] || exit 0
    grep -E "^[a-z]+: |wake-ups" "$work/$what/console.log" | tr -d '\r' || true
    if [ $rc != 0 ]; then
        tail -60 "$work/$what/console.log"
        exit 1
    fi
}

jobs_now=$(echo " $jobs " | sed 's/ idle / /')
[ -z "${jobs_now// /}" ] || CPUS=2 boot rooms 12 1000000 1500
if [[ " $jobs " == *" idle "* ]]; then
    jobs_now=idle
    THREADS=single boot idle 2 100000 900 -icount shift=2,sleep=off
    for what in alone beside meetings; do
        outside=$(tcpdump -nr "$work/idle/$what.pcap" 'not (net 10.42.0.0/24 or net 239.255.0.0/16 or ip6 net fe80::/10 or ip6 multicast or arp or host 0.0.0.0 or ip6 host ::)' 2>/dev/null | wc -l)
        named=$(tcpdump -nr "$work/idle/$what.pcap" 'port 53 or port 5353 or port 853' 2>/dev/null | wc -l)
        [ "$outside" = 0 ] && [ "$named" = 0 ] || { echo "$what: $outside packets to outside, $named questions for names"; exit 1; }
    done
    packets() { tcpdump -nr "$work/idle/$1.pcap" 2>/dev/null | wc -l; }
    alone=$(packets alone) beside=$(packets beside)
    [ "$alone" -gt 10 ] && [ "$(packets meetings)" -gt 300 ] || { echo "the captures are empty"; exit 1; }
    # By the minute: fewer than 2 alone, fewer than 6 beside a phone in step (both phones' together).
    [ "$alone" -lt 120 ] && [ "$beside" -lt 360 ] || { echo "too many packets: $alone alone, $beside beside"; exit 1; }
    echo "idle: $alone packets in an hour alone, $beside in an hour beside a phone in step (all of the network's); none to any address outside in these and ten meetings, and no name was asked for"
fi
