#!/usr/bin/env bash
# Two phones on an emulated machine (QEMU, its kernel and BlueZ real, its controllers virtual) meet over Bluetooth alone,
# once over L2CAP, once over GATT. What they sent is captured and searched for what must not be in it.
# Usage: rigs/radio.sh path/to/kijiti FOLDER [SCENARIO...]
set -euo pipefail
kijiti=$(readlink -f "${1:?usage: radio.sh path/to/kijiti FOLDER [SCENARIO...]}")
mkdir -p "${2:?a folder to work in}"
work=$(readlink -f "$2")
shift 2
here=$(dirname "$(readlink -f "$0")")/radio
scenarios=${*:-l2cap gatt}

for scenario in $scenarios; do
    out=$work/$scenario
    rm -rf "$out" "$work/test"
    mkdir -p "$out" "$work/test"
    "$here/phones.sh" "$kijiti" "$work/test/phones"
    cp "$here/guest.sh" "$work/test/guest.sh"
    cp "$kijiti" "$work/test/kijiti"
    echo "$scenario" >"$work/test/scenario"
    began=$SECONDS rc=0
    "$here/boot.sh" "$work" "$work/test" "$out" 400 || rc=$?
    [ $rc != 77 ] || exit 0
    if [ $rc != 0 ]; then
        echo "$scenario: the two did not meet"
        tail -60 "$out/console.log"
        exit 1
    fi
    # The air, as anybody hears it: no name, no patient, no word of the program.
    for word in Zawadi "phone a" "phone b" kijiti test-bundle chest_indrawing; do
        if grep -aq "$word" "$out/air.snoop"; then
            echo "$scenario: \"$word\" was on the air in clear"
            exit 1
        fi
    done
    echo "$scenario: met after $((SECONDS - began)) s of emulation, $(stat -c %s "$out/air.snoop") bytes of air searched"
    grep -h "bluetooth:" "$out/a.log" "$out/b.log" | sed 's/^/  /'
done
