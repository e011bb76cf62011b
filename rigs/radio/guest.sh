#!/bin/sh
# Runs inside the guest, as root, for two phones that have nothing but the radios of /test/scenario:
#   l2cap, gatt   two virtual LE controllers and bluetoothd
#   wifi          two virtual Wi-Fi radios, each in a namespace with a wpa_supplicant of its own
#   adhoc, mesh   the same radios in a network that a supervisor has set up (IBSS, 802.11s)
#   hotspot       one raises a network for people with `kijiti hotspot`, the other joins it by its code
#   managed       the same where NetworkManager looks after the radios, and who raised it is killed at the end
#   quic          Noise and iroh's custom transport over one channel, and what a stall costs each
#   goodput       Bluetooth: what the bare channel carries, what a secured one, and what a meeting brings over
#   stranger      Bluetooth, while somebody without a key holds channels open to both phones and says again what they advertise
#   tokens HOURS  Bluetooth for an hour or more, on a clock that does not wait
#   cut SEED      Bluetooth, GATT or L2CAP as the seed is even or odd, switched off at a moment of the meeting for three seconds
#   raise SEED    both: the meeting begins over GATT, raises a group, and the Wi-Fi is pulled away in the middle of it
cd /tmp || exit 9
. /test/controllers.sh
up() { cut -d' ' -f1 /proc/uptime; }
export KIJITI_PASSPHRASE="a rig guards nothing"
read -r scenario seed </test/scenario

bluetooth() { # [how many controllers]
    modprobe -a drbg ecdh_generic af_alg algif_skcipher algif_hash ecb cmac
    modprobe hci_vhci
    mkdir -p /var/lib/bluetooth /run/dbus /etc/bluetooth
    # Addresses that change, as a supervisor's tablet is set up (doctor says where they do not).
    printf '[General]\nPrivacy=device\nExperimental=true\n[GATT]\nChannels=1\nExchangeMTU=517\n' >/etc/bluetooth/main.conf
    dbus-daemon --system --fork --nopidfile || exit 11
    controllers ${1:-2}
    echo "controllers $(up)"
    btmon -w /out/air.snoop >/dev/null 2>&1 &
    /usr/libexec/bluetooth/bluetoothd -n >/out/bluetoothd.log 2>&1 &
    for _ in $(seq 60); do
        dbus-send --system --print-reply --dest=org.bluez / org.freedesktop.DBus.ObjectManager.GetManagedObjects 2>/dev/null | grep -q hci1 && break
        sleep 0.25
    done
    echo "bluetoothd $(up)"
    /test/kijiti --data /test/phones/a doctor 2>&1 | grep bluetooth
}

# A channel of the emulator is as fast as this machine, which also runs both phones: a radio is slower than both.
# Held still most of the time, it carries about what a good radio does.
slower() {
    while :; do
        kill -STOP $emulator
        usleep 80000
        kill -CONT $emulator
        usleep 15000
    done &
}

# One namespace for each phone, with a Wi-Fi radio, a system bus and a wpa_supplicant.
wifi() {
    modprobe -a ccm gcm cmac ctr ecb michael_mic sch_tbf 2>/dev/null
    modprobe mac80211_hwsim radios=2
    n=0
    for phone in a b; do
        ip netns add $phone
        ip -n $phone link set lo up
        printf '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">\n<busconfig><type>system</type><listen>unix:path=/run/dbus-%s</listen><auth>EXTERNAL</auth><policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow receive_sender="*"/></policy></busconfig>\n' $phone >/tmp/bus-$phone.conf
        dbus-daemon --config-file=/tmp/bus-$phone.conf --fork --nopidfile
        iw phy phy$n set netns name $phone
        DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus-$phone ip netns exec $phone wpa_supplicant -B -u -t -f/out/wpa-$phone.log
        n=$((n + 1))
    done
    sleep 1
    KIJITI_WIFI_BUS=unix:path=/run/dbus-a ip netns exec a /test/kijiti --data /test/phones/a doctor 2>&1 | grep wi-fi
    # What goes over the network, as anybody on it hears it, and what the radios say before that.
    ip netns exec a tcpdump -Z root -U -i any -w /out/wifi.pcap >/dev/null 2>&1 &
    ip link set hwsim0 up
    tcpdump -Z root -U -i hwsim0 -w /out/wifi-air.pcap >/dev/null 2>&1 &
    echo "wi-fi $(up)"
}

# The same radios in a network of equals, set up by hand.
equals() {
    modprobe -a ccm gcm cmac ctr ecb michael_mic 2>/dev/null
    modprobe mac80211_hwsim radios=2
    n=0
    for phone in a b; do
        ip netns add $phone
        ip -n $phone link set lo up
        iw phy phy$n set netns name $phone
        ip netns exec $phone iw dev wlan$n set type $1
        ip -n $phone link set wlan$n up
        case $1 in
            # The same cell from the start: two that begin at the same moment may take minutes to find each other.
            ibss) ip netns exec $phone iw dev wlan$n ibss join village 2437 fixed-freq 02:4b:69:6a:69:74 ;;
            mp) ip netns exec $phone iw dev wlan$n mesh join village freq 2437 ;;
        esac
        n=$((n + 1))
    done
    ip netns exec a tcpdump -Z root -U -i any -w /out/wifi.pcap >/dev/null 2>&1 &
    echo "$1 $(up)"
}

start() { # PHONE, then what its links are
    phone=$1
    shift
    KIJITI_WIFI_BUS=unix:path=/run/dbus-$phone ip netns exec $phone /test/kijiti --data /test/phones/$phone start "$@" 2>/out/$phone.log &
}

# `kijiti hotspot` on both, in the phones' namespaces.
hotspots() {
    KIJITI_WIFI_BUS=unix:path=/run/dbus-a ip netns exec a /test/kijiti hotspot >/out/hotspot-a.log 2>&1 &
    hotspot_a=$!
    for _ in $(seq 120); do
        grep -q "hotspot --join" /out/hotspot-a.log && break
        sleep 0.5
    done
    code=$(sed -n "s/.*--join '\\(.*\\)'.*/\\1/p" /out/hotspot-a.log)
    KIJITI_WIFI_BUS=unix:path=/run/dbus-b ip netns exec b /test/kijiti hotspot --join "$code" >/out/hotspot-b.log 2>&1 &
    hotspot_b=$!
    for _ in $(seq 160); do
        grep -qE "^joined|error" /out/hotspot-b.log && break
        sleep 0.5
    done
    grep -v "█" /out/hotspot-a.log
    cat /out/hotspot-b.log
}

# NetworkManager of each namespace. Nothing tells it of devices here but the kernel: /sys that cannot be written says so.
manager() {
    for phone in a b; do
        mkdir -p /tmp/nm-$phone/state /tmp/nm-$phone/run /tmp/nm-$phone/system
        printf '[main]\nplugins=keyfile\nauth-polkit=false\ndhcp=internal\n[keyfile]\npath=/tmp/nm-%s/system\n[device]\nwifi.scan-rand-mac-address=no\n' $phone >/tmp/nm-$phone/conf
        cat >/tmp/nm-$phone/run.sh <<N
mount -o remount,ro /sys
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus-$phone
mkdir -p /run/NetworkManager
mount --bind /tmp/nm-$phone/run /run/NetworkManager
exec NetworkManager --debug --pid-file /tmp/nm-$phone/pid --config /tmp/nm-$phone/conf --intern-config /tmp/nm-$phone/none --log-level INFO
N
        ip netns exec $phone sh /tmp/nm-$phone/run.sh >/out/nm-$phone.log 2>&1 &
    done
    for phone in a b; do
        for _ in $(seq 120); do
            grep -q "supplicant-available" /out/nm-$phone.log && break
            sleep 0.5
        done
    done
    echo "managed $(up)"
}

case $scenario in
    quic)
        bluetooth
        slower
        paces=$!
        # What three seconds in which nothing goes through cost beyond themselves.
        stall() { # FILE, the word of the round in it
            for _ in $(seq 900); do
                grep -q "$2" "$1" && break
                usleep 100000
            done
            sleep 1
            kill -STOP $paces
            kill -STOP $emulator
            sleep 3
            kill -CONT $paces
        }
        b() { /test/kijiti-bench --json bluetooth --adapter hci1 "$@"; }
        q() { /test/quic-over-bluetooth call hci1 "$@"; }
        /test/kijiti-bench bluetooth --adapter hci0 --listen >/out/bench-listen.log 2>&1 &
        listens=$!
        b --kilobytes 300 --rounds 3 2>/tmp/b1 || cat /tmp/b1
        stall /tmp/b2 secured &
        b --kilobytes 300 --rounds 1 2>/tmp/b2 || cat /tmp/b2
        kill $listens
        wait $listens
        sleep 3
        /test/quic-over-bluetooth listen hci0 >/out/quic-listen.log 2>&1 &
        q 300 3 2>/tmp/q1 || cat /tmp/q1
        sleep 3
        stall /tmp/q2 quic &
        q 300 1 2>/tmp/q2 || cat /tmp/q2
        exit 0
        ;;
    hotspot | managed)
        wifi
        [ $scenario = hotspot ] || manager
        hotspots
        start a --links ip
        start b --links ip
        ;;
    l2cap | gatt)
        bluetooth
        /test/kijiti --data /test/phones/a start --links bluetooth --bluetooth $scenario --adapter hci0 2>/out/a.log &
        /test/kijiti --data /test/phones/b start --links bluetooth --bluetooth $scenario --adapter hci1 2>/out/b.log &
        ;;
    stranger)
        bluetooth 3
        btmgmt --index 2 info >/dev/null 2>&1
        /test/kijiti-bench bluetooth --adapter hci2 --knock 240 >/out/stranger.log 2>&1 &
        stranger=$!
        # The stranger is there first, and a phone of the two has been knocked at before they look for each other.
        /test/kijiti --data /test/phones/a start --links bluetooth --bluetooth l2cap --adapter hci0 2>/out/a.log &
        knocked=$!
        for _ in $(seq 300); do
            grep -q "was not let in" /out/a.log && break
            usleep 200000
        done
        echo "knocked $(up)"
        /test/kijiti --data /test/phones/b start --links bluetooth --bluetooth l2cap --adapter hci1 2>/out/b.log &
        ;;
    goodput)
        bluetooth
        slower
        /test/kijiti-bench bluetooth --adapter hci0 --listen >/out/bench-listen.log 2>&1 &
        bench=$!
        /test/kijiti-bench --json bluetooth --adapter hci1 --kilobytes 300 >/out/bench.json 2>/out/bench.log || cat /out/bench.log
        kill $bench
        wait $bench
        cat /out/bench.json
        sleep 2
        for phone in a b; do
            [ $phone = a ] && adapter=hci0 || adapter=hci1
            /test/kijiti --data /test/phones/$phone start --links bluetooth --bluetooth l2cap --adapter $adapter 2>&1 |
                while read -r line; do echo "$(up) $line"; done >/out/$phone.log &
        done
        ;;
    wifi)
        wifi
        start a --links wifi-direct
        start b --links wifi-direct
        ;;
    adhoc | mesh)
        equals $([ $scenario = adhoc ] && echo ibss || echo mp)
        start a --links ip
        start b --links ip
        ;;
    tokens)
        bluetooth
        /test/kijiti --data /test/phones/a start --links bluetooth --bluetooth l2cap --adapter hci0 2>/out/a.log &
        /test/kijiti --data /test/phones/b start --links bluetooth --bluetooth l2cap --adapter hci1 2>/out/b.log &
        other=$!
        [ "$seed" -gt 0 ] 2>/dev/null || seed=1
        sleep $((seed * 3600))
        ;;
    cut)
        bluetooth
        [ $((seed % 2)) = 0 ] && channel=gatt || channel=l2cap
        [ $channel = gatt ] || slower
        /test/kijiti --data /test/phones/a start --links bluetooth --bluetooth $channel --adapter hci0 2>/out/a.log &
        /test/kijiti --data /test/phones/b start --links bluetooth --bluetooth $channel --adapter hci1 2>/out/b.log &
        for _ in $(seq 600); do
            grep -q "meeting phone" /out/b.log && break
            usleep 100000
        done
        usleep $((seed * 7919 % 3000))000
        if grep -q "meeting over: all is said" /out/b.log; then
            echo "the meeting was over before it was cut"
            exit 7
        fi
        for switch in /sys/class/rfkill/rfkill*; do
            grep -q hci$((seed / 2 % 2)) "$switch/name" && echo 1 >"$switch/soft" && off=$switch
        done
        echo "$channel pulled away from hci$((seed / 2 % 2)) $(up)"
        sleep 3
        echo 0 >"$off/soft"
        ;;
    raise)
        bluetooth
        wifi
        start a --links ip,bluetooth,wifi-direct --bluetooth gatt --adapter hci0
        start b --links ip,bluetooth,wifi-direct --bluetooth gatt --adapter hci1
        ;;
esac

# Wi-Fi so slow that it can be pulled away in the middle; pulled once so many bytes have gone over it.
moved=0
late=0
pull() {
    [ "$scenario" = raise ] || return
    for phone in a b; do
        for interface in $(ip -n $phone -o link show up | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' | grep -E '^(wlan|p2p)'); do
            tc -n $phone qdisc show dev $interface | grep -q tbf || tc -n $phone qdisc replace dev $interface root tbf rate 2mbit burst 16k latency 400ms
            sent=$(tc -n $phone -s qdisc show dev $interface | sed -n 's/.*Sent \([0-9]*\) bytes.*/\1/p' | head -1)
            if [ "$moved" = 0 ] && [ "${sent:-0}" -gt $((100000 + seed % 7 * 60000)) ]; then
                moved=$sent
                echo "wi-fi pulled away after $sent bytes of $phone $(up)"
                # Pulled away when all had come, it would show nothing.
                ! grep -q "is whole" /out/b.log || late=1
                for each in a b; do
                    for down in $(ip -n $each -o link show up | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' | grep -E '^(wlan|p2p)'); do
                        ip -n $each link set $down down
                    done
                done
                return
            fi
        done
    done
}

rc=1
for _ in $(seq 600); do
    if grep -q "is whole" /out/b.log && grep -q "all is said" /out/b.log; then
        rc=0
        break
    fi
    [ "$moved" != 0 ] || pull
    if [ "$scenario" = raise ] && [ "$moved" = 0 ]; then usleep 100000; else sleep 0.3; fi
done
echo "met $(up)"
if [ "$scenario" = goodput ] && [ $rc = 0 ]; then
    # What is shown is 0.85 or more; where other programs compete for this machine it may be less, but never by far.
    # Of the bundle, from the moment that the two have greeted each other and exchanged cases; and of the whole meeting.
    at() { sed -n "s/^\([0-9.]*\) .*$2.*/\1/p" /out/$1.log | head -1; }
    bare=$(sed -n 's/.*"bare_kb_per_s":\([0-9.]*\).*/\1/p' /out/bench.json)
    awk -v bytes=$(cat /test/bytes) -v bare=$bare -v met=$(at b meeting) -v cases=$(at b "taken in") -v whole=$(at b "is whole") 'BEGIN {
        moved = bytes / 1000 / (whole - cases); all = bytes / 1000 / (whole - met)
        printf "bare channel %.1f kB/s, bundle %.1f kB/s: %.3f of it; the whole meeting %.3f; first change %.0f ms after greeting\n", bare, moved, moved / bare, all / bare, (cases - met) * 1000
        exit moved / bare < 0.75
    }' || rc=6
fi
if [ "$scenario" = tokens ] && [ $rc = 0 ]; then
    # Where somebody was and nobody is heard any more, a controller may have gone deaf: it is switched anew.
    ! grep -q "switched anew" /out/a.log || { echo "switched anew beside a phone"; rc=9; }
    kill $other
    sleep 1600
    grep -q "nothing was heard for long; the radio is switched anew" /out/a.log || { echo "a deaf radio was left so"; rc=9; }
    sleep 60
    btmgmt --index 0 info 2>/dev/null | grep -q "current settings:.* powered" || { echo "the radio did not come back"; btmgmt --index 0 info; rc=9; }
    [ $rc != 0 ] || echo "a radio that had gone deaf was switched anew $(up)"
fi
if [ "$scenario" = stranger ]; then
    # That it was there, and was let in nowhere: else the two have met beside nobody.
    knocks=$(sed -n 's/.*not let in (\([0-9]*\) so far).*/\1/p' /out/a.log | tail -1)
    memory=$(awk '/VmHWM/ { print $2 }' /proc/$knocked/status)
    echo "strangers turned away: $knocks or more; at most $memory kB of memory"
    [ "${knocks:-0}" -ge 16 ] || rc=8
    [ "${memory:-999999}" -lt 150000 ] || rc=8
    kill $stranger
    cat /out/stranger.log
fi
if [ "$scenario" = raise ]; then
    [ "$moved" != 0 ] || { echo "nothing went over wi-fi"; rc=2; }
    [ "$late" = 0 ] || { echo "all had come before wi-fi was pulled away"; rc=2; }
    # All has arrived either way. That it was one meeting is asked of those who look into it (STRICT).
    meetings=$(grep -c 'meeting phone' /out/b.log)
    echo "meetings: $meetings"
    [ "$meetings" = 1 ] || [ ! -e /test/strict ] || rc=3
fi
if [ "$scenario" = managed ] && [ $rc = 0 ]; then
    grep -h "Activation: successful" /out/nm-a.log /out/nm-b.log || { echo "NetworkManager had no part in it"; rc=5; }
    # What NetworkManager has put up for a program goes with it.
    kill -9 $hotspot_a
    for _ in $(seq 60); do
        left=$(ip netns exec a iw dev | grep -c "type AP")
        [ "$left" = 0 ] && break
        sleep 0.5
    done
    [ "$left" = 0 ] || { echo "the hotspot of a program that was killed stays"; rc=4; }
fi
if [ "$scenario" = hotspot ] && [ $rc = 0 ]; then
    kill $hotspot_a $hotspot_b
    wait $hotspot_a $hotspot_b
    ip netns exec a iw dev | grep -E "type P2P-GO" && { echo "the group stays"; rc=4; }
fi
sed 's/^/a: /' /out/a.log
sed 's/^/b: /' /out/b.log
# The case that the other had has come, too. What this machine says to itself about it is no air.
killall tcpdump btmon 2>/dev/null
sleep 0.5
inside=$(ip netns list 2>/dev/null | grep -q "^a" && echo "ip netns exec a")
$inside /test/kijiti --data /test/phones/a case list >/tmp/cases 2>&1
tail -3 /tmp/cases
if [ $rc = 0 ] && [ "$scenario" != goodput ] && [ "$scenario" != quic ] && ! grep -q Zawadi /tmp/cases; then
    echo "the sealed case has not come"
    rc=7
fi
[ $rc = 0 ] || { dmesg | tail -5; tail -20 /out/bluetoothd.log; }
sleep 1
exit $rc
