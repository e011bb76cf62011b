# Sourced inside the guest: two virtual LE controllers, of which the emulator now and then brings up none at the first try.
controllers() {
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
}
