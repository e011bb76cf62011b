#!/bin/sh
# Runs inside the guest: whatever a radio or a card lacks is said in a sentence with what to do, and everything else goes on.
cd /tmp || exit 9
. /test/controllers.sh
export KIJITI_PASSPHRASE="a rig guards nothing"
up() { cut -d' ' -f1 /proc/uptime; }
failed=0
says() { # WHAT, PATTERN, then the command: what it prints has to match
    what=$1 pattern=$2
    shift 2
    "$@" >/tmp/said 2>&1
    code=$?
    if grep -qE "$pattern" /tmp/said; then
        echo "ok: $what: $(grep -E "$pattern" /tmp/said | head -1) (exit $code)"
    else
        echo "FAILED: $what: exit $code, not a word of /$pattern/ in:"
        sed 's/^/    /' /tmp/said
        failed=1
    fi
}
wait_for() { # PATTERN in the phone's log from line $from on
    for _ in $(seq 300); do
        tail -n +"$from" /out/a.log | grep -qE "$1" && break
        sleep 0.5
    done
    says "the phone's log" "$1" tail -n +"$from" /out/a.log
    from=$(($(wc -l </out/a.log) + 1))
}
doctor() { says "$1" "$2" /test/kijiti --data /test/phones/b doctor; }
goes_on() { says "the phone goes on" "phone a" /test/kijiti --data /test/phones/a status; }
bus() { dbus-send --system --print-reply --dest=org.bluez / org.freedesktop.DBus.ObjectManager.GetManagedObjects 2>/dev/null | grep -q "$1"; }
bluetoothd() {
    /usr/libexec/bluetooth/bluetoothd -n >>/out/bluetoothd.log 2>&1 &
    blue=$!
    for _ in $(seq 60); do
        bus "${1:-org.bluez}" && break
        sleep 0.25
    done
}
from=1

modprobe rfkill
doctor "no bus, no adapter" "^bluetooth +bluetoothd does not answer: "
doctor "no bus, no radio" "^wi-fi direct +.*(wpa_supplicant does not answer|no)"
/test/kijiti --data /test/phones/a start 2>/out/a.log &
wait_for "bluetooth: its service does not answer"
goes_on

mkdir -p /var/lib/bluetooth /run/dbus /etc/bluetooth
printf '[General]\nPrivacy=device\n' >/etc/bluetooth/main.conf
sed -i 's|</busconfig>|<policy user="messagebus"><deny send_destination="org.bluez"/></policy></busconfig>|' /usr/share/dbus-1/system.d/bluetooth.conf /etc/dbus-1/system.d/bluetooth.conf 2>/dev/null
dbus-daemon --system --fork --nopidfile
modprobe -a drbg ecdh_generic af_alg algif_skcipher algif_hash ecb cmac hci_vhci
doctor "no bluetoothd" "^bluetooth +bluetoothd does not answer: "
bluetoothd
doctor "no adapter" "^bluetooth +this machine has no adapter"
wait_for "bluetooth: there is no adapter"
kill $blue
wait $blue
controllers
bluetoothd hci1
wait_for "bluetooth: ready"
doctor "an adapter" "^bluetooth +ready"
says "no permission" "^bluetooth +this user may not use it" su -s /bin/sh messagebus -c "/test/kijiti --data /tmp/other doctor"
kill -9 $blue
wait $blue
wait_for "bluetooth: its service does not answer"
goes_on
bluetoothd hci1
wait_for "bluetooth: ready"
for switch in /sys/class/rfkill/rfkill*; do echo 1 >"$switch/soft"; done
doctor "switched off by rfkill" "^bluetooth +.*rfkill unblock bluetooth"
wait_for "bluetooth: it is switched off"
goes_on
for switch in /sys/class/rfkill/rfkill*; do echo 0 >"$switch/soft"; done
wait_for "bluetooth: ready"

modprobe -a ccm gcm cmac ctr ecb michael_mic 2>/dev/null
doctor "no Wi-Fi radio" "^wi-fi direct +this machine has no adapter"
modprobe mac80211_hwsim radios=1
doctor "no wpa_supplicant" "^wi-fi direct +wpa_supplicant does not answer: "
wpa_supplicant -B -u -t -f/out/wpa.log
sleep 1
doctor "a Wi-Fi radio" "^wi-fi direct +ready"
wait_for "wi-fi: ready"
killall -9 wpa_supplicant
doctor "wpa_supplicant is gone" "^wi-fi direct +wpa_supplicant does not answer: "
wait_for "wi-fi: its service does not answer"
goes_on
printf 'ctrl_interface=/run/wpa\np2p_disabled=1\n' >/tmp/wpa.conf
wpa_supplicant -B -u -t -f/out/wpa.log -i wlan0 -c /tmp/wpa.conf
sleep 1
doctor "a radio without P2P" "^wi-fi direct +this adapter raises no networks of its own"
killall -9 wpa_supplicant
wpa_supplicant -B -u -t -f/out/wpa.log
wait_for "wi-fi: ready"

# Cards: of those that cannot be written nothing is lost, here or there.
modprobe -a loop vfat nls_cp437 nls_iso8859_1 nls_ascii
mkdir -p /card
dd if=/dev/zero of=/tmp/card.img bs=1024 count=2048 2>/dev/null
mkfs.vfat /tmp/card.img >/dev/null
mount -t vfat -o loop,iocharset=iso8859-1 /tmp/card.img /card
says "a card" "put there: 2" /test/kijiti --data /test/phones/b carry out /card
find /card -type f | sort | xargs sha256sum >/tmp/before
mount -o remount,ro /card
printf 'age_months = 14\ncough_or_difficult = "yes"\n' >/tmp/findings.toml
says "something new" "^case " /test/kijiti --data /test/phones/b case new --findings /tmp/findings.toml --set patient.name=Baraka --consent share
says "a read-only card" "read-only|cannot be written" /test/kijiti --data /test/phones/b carry out /card
says "a read-only card is read" "taken in: 2" /test/kijiti --data /test/phones/a carry in /card
says "what it brought" "Zawadi" /test/kijiti --data /test/phones/a case list
find /card -type f | sort | xargs sha256sum | cmp - /tmp/before || { echo "FAILED: the card has changed"; failed=1; }
mount -o remount,rw /card
dd if=/dev/zero of=/card/holiday.avi bs=1024 2>/dev/null
says "a full card" "full|no (space|room)|free" /test/kijiti --data /test/phones/a carry out /card
rm /card/holiday.avi
find /card -type f | sort | xargs sha256sum | cmp - /tmp/before || { echo "FAILED: the card has changed"; failed=1; }
says "room again" "put there: 3" /test/kijiti --data /test/phones/a carry out /card
umount /card
goes_on
cat /out/a.log | sed 's/^/a: /'
exit $failed
