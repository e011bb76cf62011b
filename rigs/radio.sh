#!/usr/bin/env bash
# Two phones on an emulated machine (QEMU; its kernel, BlueZ and wpa_supplicant are real, its radios virtual) meet over each
# radio alone, and from one to another. What they sent is captured and searched for what must not be in it.
# Usage: rigs/radio.sh path/to/kijiti FOLDER [SCENARIO...]
set -euo pipefail
kijiti=$(readlink -f "${1:?usage: radio.sh path/to/kijiti FOLDER [SCENARIO...]}")
mkdir -p "${2:?a folder to work in}"
work=$(readlink -f "$2")
shift 2
here=$(dirname "$(readlink -f "$0")")/radio
# stranger: Bluetooth, with somebody in between who knocks at both and says nothing. tokens, tokens-HOURS: an hour or more of advertisements, by which nobody without the key may tell one phone's from another's.
# l2cap, gatt, wifi, hotspot, managed, adhoc, mesh: over that radio alone. goodput: beside the bare channel. faults: what is lacking. raise-SEED: from Bluetooth to a Wi-Fi Direct group, which is pulled away.
scenarios=${*:-l2cap gatt wifi adhoc mesh raise-1}

for scenario in $scenarios; do
    out=$work/$scenario
    rm -rf "$out" "$work/test"
    mkdir -p "$out" "$work/test"
    bytes=100000
    [ "${scenario%-*}" != raise ] || bytes=3000000
    [ "${scenario%-*}" != cut ] || bytes=400000
    [ "$scenario" != goodput ] || bytes=2000000
    "$here/phones.sh" "$kijiti" "$work/test/phones" $bytes
    cp "$here/$([ "$scenario" = faults ] && echo faults.sh || echo guest.sh)" "$work/test/guest.sh"
    cp "$here/controllers.sh" "$work/test/controllers.sh"
    cp "$kijiti" "$work/test/kijiti"
    echo $bytes >"$work/test/bytes"
    if [ "$scenario" = quic ]; then
        # Built apart: CARGO_TARGET_DIR=FOLDER cargo build --release in rigs/quic-over-bluetooth, and QUIC=FOLDER/release/….
        cp "${QUIC:?the program of rigs/quic-over-bluetooth}" "$work/test/quic-over-bluetooth"
    fi
    if [ "$scenario" = goodput ] || [ "$scenario" = quic ] || [ "$scenario" = stranger ]; then
        cp "$(dirname "$kijiti")/kijiti-bench" "$work/test/kijiti-bench"
        strip "$work/test/kijiti-bench"
    fi
    echo "${scenario%-*} ${scenario#*-}" >"$work/test/scenario"
    [ -z "${STRICT:-}" ] || touch "$work/test/strict"
    began=$SECONDS rc=0
    faster=()
    if [ "${scenario%-*}" = tokens ]; then
        export THREADS=single
        faster=(-icount shift=2,sleep=off)
    fi
    # An emulated controller that is left at a bad moment may not come back in time; three times in a row it does not happen.
    for try in 1 2 3; do
        rc=0
        "$here/boot.sh" "$work" "$work/test" "$out" "$([ "${scenario%-*}" = tokens ] && echo 2400 || echo 600)" "${faster[@]}" || rc=$?
        [[ "${scenario%-*}" =~ ^(raise|cut)$ ]] && [ $rc != 0 ] && [ $rc != 77 ] && [ $try != 3 ] || break
        echo "$scenario: try $try came to nothing ($rc)"
    done
    [ $rc != 77 ] || exit 0
    if [ "$scenario" = quic ]; then
        grep -E '^\{' "$out/console.log"
        continue
    fi
    if [ "$scenario" = faults ]; then
        grep -E "^(ok|FAILED|    )" "$out/console.log" | tr -d '\r'
        [ $rc = 0 ] || exit 1
        continue
    fi
    if [ $rc != 0 ]; then
        echo "$scenario: the two did not meet"
        tail -60 "$out/console.log"
        exit 1
    fi
    # The air, as anybody hears it: no name of a patient, a phone, an area or the ministry, no word of the program.
    for word in Zawadi "phone a" "phone b" kijiti test-bundle chest_indrawing kilifi-south "Ministry of the Rig"; do
        if cat "$out"/air.snoop "$out"/wifi*.pcap 2>/dev/null | grep -aq "$word"; then
            echo "$scenario: \"$word\" was on the air in clear"
            exit 1
        fi
    done
    [ "${scenario%-*}" != tokens ] || python3 "$here/tokens.py" "$out/air.snoop"
    echo "$scenario: met after $((SECONDS - began)) s of emulation, $(cat "$out"/air.snoop "$out"/wifi*.pcap 2>/dev/null | wc -c) bytes of air searched"
    grep -hE "pulled away" "$out/console.log" | sed "s/^/  /" || true
    grep -h "^bare channel" "$out/console.log" | sed "s/^/  /" || true
    grep -hE "^(knocked|strangers|a radio that)" "$out/console.log" | sed "s/^/  /" || true
    grep -h "^meetings:" "$out/console.log" | sed "s/^/  /" || true
    grep -hE "bluetooth:|wi-fi:|network" "$out/a.log" "$out/b.log" | sed 's/^/  /' || true
done
