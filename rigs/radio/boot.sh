#!/usr/bin/env bash
# Boots the machine of `machine.sh` with a folder of its own as /test, which holds guest.sh, and waits for its end.
# Usage: boot.sh WORK TEST OUT SECONDS [arguments for QEMU]; exit code: what guest.sh ended with; 77: it cannot be had here.
set -euo pipefail
work=$1 test=$2 out=$3 seconds=$4
shift 4
here=$(dirname "$(readlink -f "$0")")
for tool in qemu-system-x86_64 cpio /sbin/depmod apt-get dpkg-deb; do
    if ! command -v $tool >/dev/null; then
        echo "SKIPPED: there is no $tool here (apt-get install qemu-system-x86 cpio kmod)"
        exit 77
    fi
done
if ! "$here/machine.sh" "$work/machine" >"$work/machine.log" 2>&1; then
    echo "SKIPPED: Debian's packages for the machine cannot be had ($(tail -1 "$work/machine.log"))"
    exit 77
fi
mkdir -p "$out"
rm -f "$out/rc"
[ ! -e "$test/kijiti" ] || strip "$test/kijiti"
(cd "$(dirname "$test")" && find "$(basename "$test")" | cpio -o -H newc --quiet) | cat "$work/machine/machine.cpio" - >"$work/initrd"
timeout "$seconds" qemu-system-x86_64 -accel "tcg,thread=${THREADS:-multi}" -machine q35,hpet=on -cpu max -m 1536 -smp "${CPUS:-1}" -nodefaults -no-user-config -display none \
    -serial "file:$out/console.log" -no-reboot -kernel "$work/machine/vmlinuz" -initrd "$work/initrd" \
    -append "console=ttyS0 quiet loglevel=4 panic=-1 random.trust_cpu=on mitigations=off cryptomgr.notests clocksource=hpet" \
    -device virtio-rng-pci -virtfs "local,path=$out,mount_tag=out,security_model=none" "$@" || true
exit "$(cat "$out/rc" 2>/dev/null || echo 99)"
