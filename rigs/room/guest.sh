#!/bin/sh
# Runs inside the guest: phones in namespaces on one bridge, which is the air of a hotspot that the first of them is. What
# happens to them is named in /test/job: room, loss, down, moved, local, idle.
cd /tmp || exit 9
export KIJITI_PASSPHRASE="a rig guards nothing"
up() { cut -d' ' -f1 /proc/uptime; }
modprobe -a veth bridge sch_netem sch_tbf
ip link add air type bridge
ip link set air up
ip addr add 10.42.0.1/24 dev air
sysctl -qw net.ipv4.ip_forward=0 2>/dev/null

# PHONE: its namespace on the bridge. The first is the hotspot: it has no namespace, it is the bridge's own machine.
place() {
    n=$1 where=$2
    [ "$n" != 1 ] || [ "$where" = away ] || return 0
    ip netns add p$n
    ip -n p$n link set lo up
    ip link add v$n type veth peer name wlan0 netns p$n
    ip link set v$n master air up
    ip -n p$n link set wlan0 up
    # A route to nowhere: whoever wants out is seen on the bridge.
    [ "$where" = local ] || { ip -n p$n addr add 10.42.0.$((n + 10))/24 dev wlan0 && ip -n p$n route add default via 10.42.0.1; }
}
run() { # PHONE: its program
    n=$1
    shift
    inside=
    [ ! -e /run/netns/p$n ] || inside="ip netns exec p$n"
    rm -rf /tmp/$n
    cp -r /test/phones/$n /tmp/$n
    $inside /test/kijiti --data /tmp/$n start --links ip "$@" 2>/out/$n-$job.log &
    echo $! >/tmp/pid$n
}
# A running phone answers on its own loopback.
ask() {
    n=$1
    shift
    inside=
    [ ! -e /run/netns/p$n ] || inside="ip netns exec p$n"
    $inside /test/kijiti --data /tmp/$n "$@" 2>/dev/null
}
cases() { ask $1 case list | grep -c Zawadi; }
whole() { [ -n "$(find /tmp/$1/bundles -maxdepth 1 -type f -size +90k ! -name '*.*')" ]; }
# All of the first N phones have the release and all cases, within SECONDS.
all_in_step() {
    count=$1 seconds=$2
    began=$(cut -d. -f1 /proc/uptime)
    while [ $(($(cut -d. -f1 /proc/uptime) - began)) -lt "$seconds" ]; do
        sleep 2
        ok=1
        for n in $(seq "$count"); do
            whole $n || { ok=0; break; }
        done
        [ $ok = 0 ] && continue
        for n in $(seq "$count"); do
            [ "$(cases $n)" = $((count - 1)) ] || { ok=0; break; }
        done
        [ $ok = 1 ] && { echo "$job: $count phones in step after $(($(cut -d. -f1 /proc/uptime) - began)) s"; return 0; }
    done
    echo "$job: not in step"
    for n in $(seq "$count"); do
        whole $n && echo "$n whole, $(cases $n) cases" || echo "$n lacks it, $(cases $n) cases"
    done
    tail -5 /out/*-$job.log
    return 1
}
clean() {
    for n in $(seq 12); do
        [ ! -e /tmp/pid$n ] || kill "$(cat /tmp/pid$n)" 2>/dev/null
        rm -f /tmp/pid$n
    done
    sleep 1
    for n in $(seq 12); do
        ip netns del p$n 2>/dev/null
        ip link del v$n 2>/dev/null
    done
}
fail() { rc=1; }
rc=0
for job in $(cat /test/job); do
    echo "$job $(up)"
    case $job in
        room) # twelve phones, one of them the hotspot
            for n in $(seq 12); do place $n; run $n; done
            all_in_step 12 400 || fail ;;
        loss) # a tenth of all packets lost each way, 300 ms there and back
            for n in 1 2; do place $n away; ip -n p$n addr show dev wlan0 >/dev/null && tc -n p$n qdisc add dev wlan0 root netem loss 10% delay 150ms; done
            for n in 1 2; do run $n; done
            all_in_step 2 300 || fail ;;
        down) # the interface goes down for 20 s in the middle of the bundle
            for n in 1 2; do place $n away; tc -n p$n qdisc add dev wlan0 root tbf rate 1mbit burst 16k latency 400ms; done
            for n in 1 2; do run $n; done
            sleep 8
            whole 2 && { echo "too fast to cut"; fail; }
            ip -n p2 link set wlan0 down
            sleep 20
            ip -n p2 link set wlan0 up
            ip -n p2 route add default via 10.42.0.1
            all_in_step 2 300 || fail ;;
        moved) # another address in the middle of it
            for n in 1 2; do place $n away; tc -n p$n qdisc add dev wlan0 root tbf rate 1mbit burst 16k latency 400ms; done
            for n in 1 2; do run $n; done
            sleep 8
            whole 2 && { echo "too fast to cut"; fail; }
            ip -n p2 addr add 10.42.0.99/24 dev wlan0
            ip -n p2 addr del 10.42.0.12/24 dev wlan0
            all_in_step 2 300 || fail ;;
        local) # nothing but link-local IPv6
            for n in 1 2; do place $n away; ip -n p$n addr flush dev wlan0 scope global; done
            for n in 1 2; do run $n; done
            all_in_step 2 120 || fail ;;
        idle) # an hour alone, and an hour beside a phone that is in step, then ten meetings
            place 1 away
            run 1
            sleep 30
            ip netns exec p1 tcpdump -Z root -Un -i wlan0 -w /out/alone.pcap 2>/dev/null &
            sleep 3600
            kill $!
            place 2 away
            run 2
            all_in_step 2 120 || fail
            sleep 60
            ip netns exec p1 tcpdump -Z root -Un -i wlan0 -w /out/beside.pcap 2>/dev/null &
            sleep 3600
            kill $!
            ip netns exec p1 tcpdump -Z root -Un -i wlan0 -w /out/meetings.pcap 2>/dev/null &
            before=$(ask 1 meetings | grep -c "phone 2")
            for n in $(seq 10); do
                printf 'age_months = 14\ncough_or_difficult = "yes"\n' >/tmp/f.toml
                ask 1 case new --findings /tmp/f.toml --set patient.name=Zawadi --consent share >/dev/null
                sleep 30
            done
            after=$(ask 1 meetings | grep -c "phone 2")
            echo "meetings: $((after - before))"
            [ $((after - before)) -ge 10 ] || fail
            kill $!
            ask 1 doctor --watch --every 60 --lines 1
            ;;
    esac
    clean
done
exit $rc
