#!/bin/sh
# Runs inside the guest: `write` puts what two phones hold on a FAT32 card, each in its turn; `cuts` goes through cards
# that were pulled out on the way, and has both phones use each.
cd /tmp || exit 9
export KIJITI_PASSPHRASE="a rig guards nothing"
modprobe -a virtio_blk vfat nls_cp437 nls_iso8859_1 nls_ascii loop
mkdir -p /card
k() {
    phone=$1
    shift
    /test/kijiti --data "$phone" "$@"
}
if [ "$(cat /test/job)" = before ]; then
    mount -t vfat -o iocharset=iso8859-1 /dev/vda /card && cp -r /test/first/. /card && umount /card || exit 10
    exit 0
fi
if [ "$(cat /test/job)" = write ]; then
    mount -t vfat -o iocharset=iso8859-1 /dev/vda /card || exit 11
    k /test/phones/a carry out /card || exit 12
    k /test/phones/b carry out /card || exit 13
    umount /card
    exit 0
fi
for image in /out/cuts/*.img; do
    rm -rf /tmp/a /tmp/b
    cp -r /test/phones/a /tmp/a
    cp -r /test/phones/b /tmp/b
    fsck.vfat -a "$image" >/tmp/fsck 2>&1 # as phones and desktops do when a card is put in
    mount -t vfat -o loop,iocharset=iso8859-1 "$image" /card || { echo "$image: cannot be mounted"; exit 21; }
    k /tmp/b carry in /card >/dev/null 2>&1
    if [ -n "$(ls /tmp/b/bundles | grep -v part)" ]; then echo whole; else echo torn; fi >>/tmp/left
    k /tmp/a carry in /card >/tmp/said 2>&1
    k /tmp/a case list | grep -q Zawadi || { echo "$image: what was there before is lost"; cat /tmp/said /tmp/fsck; ls -R /card; exit 26; }
    # What lies there already helps or is passed over; then each puts there what it has, and takes what the other has.
    { k /tmp/a carry in /card && k /tmp/b carry out /card && k /tmp/a carry in /card && k /tmp/a carry out /card && k /tmp/b carry in /card; } >/tmp/said 2>&1 || { echo "$image:"; cat /tmp/said; exit 22; }
    k /tmp/a case list | grep -q Baraka || { echo "$image: the case did not come"; cat /tmp/said /tmp/fsck; ls -R /card; exit 23; }
    [ -n "$(ls /tmp/b/bundles | grep -v part)" ] || { echo "$image: the release did not come"; cat /tmp/said; exit 24; }
    umount /card
    rm -f "$image"
done
# Cuts that left too little, and cuts that left enough: were there not both, nothing was tried.
grep -q whole /tmp/left && grep -q torn /tmp/left || { echo "no card was cut"; exit 25; }
sort /tmp/left | uniq -c >/out/left
