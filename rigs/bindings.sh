#!/usr/bin/env bash
# A Python program calls the built phone library: rigs/bindings.sh LIBRARY TARGET-FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
library=$(realpath "$1")
cargo build --release -q --manifest-path "$here/bindings/Cargo.toml" --target-dir "$2/bindings"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$2/bindings/release/kijiti-bindings" "$library" "$out"
cp "$library" "$out/"
said=$(PYTHONPATH=$out python3 - "$out/phone" "$here/../app/examples/severe-pneumonia.toml" <<'END'
import json, sys
import kijiti_mobile as k
phone = k.Phone.start(sys.argv[1], False)
print(json.loads(phone.triage(open(sys.argv[2]).read(), "iccm"))["urgency"])
phone.stop()
END
)
[ "$said" = pink ] || { echo "Python heard $said"; exit 1; }
echo "Python calls the library: $said"
