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

for tool in qemu-system-x86_64 cpio /sbin/depmod apt-get dpkg-deb; do
    if ! command -v $tool >/dev/null; then
        echo "SKIPPED: there is no $tool here (apt-get install qemu-system-x86 cpio kmod)"
        exit 0
    fi
done
if ! "$here/machine.sh" "$work/machine" >"$work/machine.log" 2>&1; then
    echo "SKIPPED: Debian's packages for the machine cannot be had ($(tail -1 "$work/machine.log"))"
    exit 0
fi

for scenario in $scenarios; do
    out=$work/$scenario
    rm -rf "$out" "$work/test"
    mkdir -p "$out" "$work/test"
    "$here/phones.sh" "$kijiti" "$work/test/phones"
    cp "$here/guest.sh" "$work/test/guest.sh"
    cp "$kijiti" "$work/test/kijiti"
    strip "$work/test/kijiti"
    echo "$scenario" >"$work/test/scenario"
    (cd "$work" && find test | cpio -o -H newc --quiet) | cat "$work/machine/machine.cpio" - >"$work/initrd"
    began=$SECONDS
    timeout 400 qemu-system-x86_64 -accel tcg -machine q35,hpet=on -cpu max -m 1024 -smp 1 -nodefaults -no-user-config -display none \
        -serial "file:$out/console.log" -no-reboot -kernel "$work/machine/vmlinuz" -initrd "$work/initrd" \
        -append "console=ttyS0 quiet loglevel=4 panic=-1 random.trust_cpu=on mitigations=off cryptomgr.notests clocksource=hpet" \
        -device virtio-rng-pci -virtfs "local,path=$out,mount_tag=out,security_model=none" || true
    if [ "$(cat "$out/rc" 2>/dev/null)" != 0 ]; then
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
