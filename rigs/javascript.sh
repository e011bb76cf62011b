#!/usr/bin/env bash
# The JavaScript Automerge and HL7's schema of FHIR R4, from npm, look at our cases. Usage: rigs/javascript.sh EXAMPLE FOLDER
set -euo pipefail
example=$(realpath "$1")
work=$2
mkdir -p "$work"
cp "$(dirname "$0")"/javascript/{package.json,cases.mjs} "$work"
cd "$work"
[ -d node_modules/@automerge/automerge ] || npm install --silent --no-fund --no-audit
node cases.mjs "$example"
