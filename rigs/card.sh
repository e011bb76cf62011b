#!/usr/bin/env bash
# A card that is pulled out after any write: two phones put their cases and a release on a FAT32 card on an emulated
# machine (QEMU, its kernel's vfat) that logs every write to the disk. For each write, a card that ends with it is given to
# both phones: what another courier had put there before must be whole on it, each must be able to use it, and everything must
# arrive.
# Usage: rigs/card.sh path/to/kijiti FOLDER
set -euo pipefail
kijiti=$(readlink -f "${1:?usage: card.sh path/to/kijiti FOLDER}")
mkdir -p "${2:?a folder to work in}"
work=$(readlink -f "$2")
here=$(dirname "$(readlink -f "$0")")
command -v /sbin/mkfs.vfat >/dev/null || { echo "SKIPPED: there is no mkfs.vfat here (apt-get install dosfstools)"; exit 0; }

rm -rf "$work/test" "$work/card"
mkdir -p "$work/test" "$work/card"
"$here/radio/phones.sh" "$kijiti" "$work/test/phones" 20000
# What another courier had put there before: no cut of those who come later may cost it.
mkdir "$work/test/first"
export KIJITI_PASSPHRASE="a rig guards nothing"
"$kijiti" --data "$work/test/phones/b" carry out "$work/test/first" >/dev/null
printf 'age_months = 30\ncough_or_difficult = "yes"\n' >"$work/test/findings.toml"
"$kijiti" --data "$work/test/phones/b" case new --findings "$work/test/findings.toml" --set patient.name=Baraka --consent share >/dev/null 2>&1
cp "$here/card/guest.sh" "$work/test/guest.sh"
cp "$kijiti" "$work/test/kijiti"
truncate -s 34M "$work/card/base.img"
/sbin/mkfs.vfat -F 32 -s 1 "$work/card/base.img" >/dev/null
: >"$work/card/log"
truncate -s 64M "$work/card/log"

boot() {
    echo "$1" >"$work/test/job"
    shift
    rc=0
    "$here/radio/boot.sh" "$work" "$work/test" "$work/card/out" "$@" || rc=$?
    [ $rc != 77 ] || exit 0
    if [ $rc != 0 ]; then
        echo "the card is no use any more ($rc)"
        tail -40 "$work/card/out/console.log"
        exit 1
    fi
}
boot before 120 -blockdev "driver=file,filename=$work/card/base.img,node-name=disk" -device virtio-blk-pci,drive=disk
cp --sparse=always "$work/card/base.img" "$work/card/disk.img"
boot write 120 \
    -blockdev "driver=file,filename=$work/card/disk.img,node-name=disk" -blockdev "driver=file,filename=$work/card/log,node-name=log" \
    -blockdev driver=blklogwrites,file=disk,log=log,node-name=logged -device virtio-blk-pci,drive=logged
cuts=$(python3 "$here/card/replay.py" "$work/card/log" "$work/card/base.img" "$work/card/out/cuts")
[ "$cuts" -gt 10 ] || { echo "only $cuts writes were logged"; exit 1; }
boot cuts 900
echo "a card pulled out after any of $cuts writes: both phones could still use it, and all arrived"
sed "s/^ */  the release was there already: /; s/: \([0-9]*\) torn/: not yet, on \1/; s/: \([0-9]*\) whole/: yes, on \1/" "$work/card/out/left"
