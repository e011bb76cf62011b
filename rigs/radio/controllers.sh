# Sourced inside the guest: two virtual LE controllers, or as many as said, of which the emulator now and then brings up none at the first try.
controllers() {
    many=${1:-2}
    for _ in 1 2 3; do
        btvirt -L -l$many >/out/btvirt.log 2>&1 &
        emulator=$!
        for _ in $(seq 30); do
            [ "$(btmgmt info 2>/dev/null | grep -c Primary)" = $many ] && break 2
            sleep 0.5
        done
        kill $emulator
        wait $emulator
        sleep 1
    done
}
