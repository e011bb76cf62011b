#!/bin/sh
# Runs inside the guest, as root: two virtual LE controllers, bluetoothd, and two phones that have nothing else.
# /test/scenario says what is tried: l2cap, gatt.
cd /tmp || exit 9
up() { cut -d' ' -f1 /proc/uptime; }
export KIJITI_PASSPHRASE="a rig guards nothing"
scenario=$(cat /test/scenario)
modprobe -a drbg ecdh_generic af_alg algif_skcipher algif_hash ecb cmac
modprobe hci_vhci
mkdir -p /var/lib/bluetooth /run/dbus /etc/bluetooth
# Addresses that change, as a supervisor's tablet is set up (doctor says where they do not).
printf '[General]\nPrivacy=device\nExperimental=true\n[GATT]\nChannels=1\nExchangeMTU=517\n' >/etc/bluetooth/main.conf
dbus-daemon --system --fork --nopidfile || exit 11
for _ in 1 2 3; do
    btvirt -L -l2 >/out/btvirt.log 2>&1 &
    emulator=$!
    for _ in $(seq 30); do
        [ "$(btmgmt info 2>/dev/null | grep -c Primary)" = 2 ] && break 2
        sleep 0.5
    done
    kill $emulator
    wait $emulator
    sleep 1
done
echo "controllers $(up)"
btmon -w /out/air.snoop >/dev/null 2>&1 &
/usr/libexec/bluetooth/bluetoothd -n >/out/bluetoothd.log 2>&1 &
for _ in $(seq 60); do
    dbus-send --system --print-reply --dest=org.bluez / org.freedesktop.DBus.ObjectManager.GetManagedObjects 2>/dev/null | grep -q hci1 && break
    sleep 0.25
done
echo "bluetoothd $(up)"
/test/kijiti --data /test/phones/a doctor 2>&1 | grep bluetooth
/test/kijiti --data /test/phones/a start --links bluetooth --bluetooth $scenario --adapter hci0 2>/out/a.log &
/test/kijiti --data /test/phones/b start --links bluetooth --bluetooth $scenario --adapter hci1 2>/out/b.log &
rc=1
for _ in $(seq 400); do
    if grep -q "is whole" /out/b.log && grep -q "all is said" /out/b.log; then
        rc=0
        break
    fi
    sleep 0.5
done
echo "met $(up)"
sed 's/^/a: /' /out/a.log
sed 's/^/b: /' /out/b.log
/test/kijiti --data /test/phones/a case list 2>&1 | tail -3
[ $rc = 0 ] || { dmesg | tail -5; tail -20 /out/bluetoothd.log; }
exit $rc
