#!/usr/bin/env python3
"""Ten thousand patients in and out of a phone as files, each by a process of its own: how long it takes, and the most
memory that it held at once. Fails where that is over 150 MB, or anybody is missing or twice.

    rigs/ten-thousand.py target/release/kijiti [PATIENTS]
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time

MEGABYTES_MAX = 150
kijiti, patients = os.path.realpath(sys.argv[1]), int((sys.argv[2:] or ["10000"])[0])
os.environ["KIJITI_PASSPHRASE"] = "twelve patients to see"


def run(*words):
    """Runs a command; its JSON, and the most megabytes that it held."""
    begun, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen([kijiti, "--json", *words], stdout=out, stderr=subprocess.DEVNULL)
        while child.poll() is None:
            try:
                held = re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{child.pid}/status").read())
                peak = max(peak, int(held.group(1)) if held else 0)
            except OSError:
                pass
            time.sleep(0.02)
        out.seek(0)
        said = out.read()
    if child.returncode != 0:
        sys.exit(f"{' '.join(words)}: exit code {child.returncode}")
    return (json.loads(said) if said.strip().startswith(b"{") else {}), peak / 1024, time.monotonic() - begun


def bulk(path):
    """A bundle a patient would be, a resource a line (FHIR bulk data)."""
    with open(path, "w") as out:
        for n in range(patients):
            who = {"resourceType": "Patient", "id": f"p{n}", "birthDate": f"202{n % 4 + 1}-03-0{n % 9 + 1}",
                   "identifier": [{"system": "http://register.example", "value": f"R{n}"}],
                   "name": [{"given": [f"Child {n}"], "family": "Kazungu"}]}
            temperature = {"resourceType": "Observation", "id": f"o{n}", "status": "final",
                           "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
                           "subject": {"reference": f"Patient/p{n}"}, "effectiveDateTime": "2026-10-04T10:20:00Z",
                           "valueQuantity": {"value": 36 + n % 40 / 10, "unit": "Cel", "code": "Cel"}}
            for resource in (who, temperature):
                out.write(json.dumps(resource) + "\n")


def may_leave():
    """What came by a file leaves only once somebody here has heard that it may."""
    listed, *_ = run("--data", "a", "case", "list")
    phone = subprocess.Popen([kijiti, "--data", "a", "start", "--no-discovery", "--listen", "127.0.0.1:0"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists("a/control"):
        time.sleep(0.05)
    for case in listed["cases"]:
        subprocess.run([kijiti, "--data", "a", "case", "add", case["case"], "--consent", "share"],
                       check=True, stdout=subprocess.DEVNULL)
    phone.terminate()
    phone.wait()


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for words in (["ministry", "keys", "--out", "keys", "--work-factor", "10"],
                  ["--data", "a", "enrol", "request", "--name", "Clinic", "--out", "request.json"],
                  ["enrol", "sign", "request.json", "--ministry", "keys", "--area", "north", "--rights",
                   "carry,read,write,grant", "--out", "answer.json"],
                  ["--data", "a", "enrol", "accept", "answer.json"],
                  ["--data", "a", "enrol", "space", "--area", "north"]):
        run(*words)
    bulk("all.ndjson")
    steps = [("in, FHIR bulk data", ["case", "import", "all.ndjson"], "new"),
             ("the same again", ["case", "import", "all.ndjson"], "unchanged"),
             ("consent of each", None, None),
             ("out, FHIR", ["case", "export", "--format", "fhir", "--out", "out.json"], "cases"),
             ("out, table", ["case", "export", "--format", "csv", "--out", "out.csv"], "cases")]
    failed = False
    for name, words, counted in steps:
        if words is None:
            may_leave()
            continue
        said, megabytes, seconds = run("--data", "a", *words)
        right = said[counted] == patients and megabytes < MEGABYTES_MAX
        failed |= not right
        print(f"{name:<20} {said[counted]:>6} patients  {seconds:6.1f} s  {megabytes:5.0f} MB{'' if right else '  FAILED'}", flush=True)
    sys.exit(failed)
