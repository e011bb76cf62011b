#!/usr/bin/env python3
"""Kill -9 at every write: a script of changes to one case, each a process of its own that is killed just before its first, its
second, ... write to the phone's folder, until it gets through. Nothing that was acknowledged is ever missing, and the phone
always starts again.

Usage: kill-at-every-write.py KIJITI CHANGES"""

import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def main(kijiti: str, changes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shim = os.path.join(folder, "kill.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, f"{HERE}/kill-at-every-write.c", "-ldl"], check=True)
        phone = os.path.join(folder, "phone")
        env = {**os.environ, "KIJITI_PASSPHRASE": "twelve patients to see"}

        def run(*args: str, kill_at: int = 0) -> subprocess.CompletedProcess:
            extra = {"LD_PRELOAD": shim, "KILL_AT": str(kill_at), "KILL_PATH": phone} if kill_at else {}
            return subprocess.run([kijiti, "--data", phone, *args], cwd=folder, env={**env, **extra}, capture_output=True, text=True)

        def ok(*args: str) -> str:
            done = run(*args)
            assert done.returncode == 0, f"{args}: {done.stderr}"
            return done.stdout

        ok("ministry", "keys", "--out", "keys", "--work-factor", "10")
        ok("enrol", "request", "--name", "Clinic", "--out", "request.json")
        ok("enrol", "sign", "request.json", "--area", "north", "--rights", "carry,read,write,grant", "--ministry", "keys", "--out", "answer.json")
        ok("enrol", "accept", "answer.json")
        ok("enrol", "space", "--area", "north")
        example = os.path.join(HERE, "../app/examples/severe-pneumonia.toml")
        case = json.loads(ok("--json", "case", "new", "--findings", example, "--consent", "share"))["case"]

        acknowledged: set[str] = set()
        kills = 0
        for change in range(changes):
            note = f"change {change}"
            kill_at = 1
            while True:
                done = run("case", "add", case, "--note", note, kill_at=kill_at)
                if done.returncode == 0:
                    acknowledged.add(note)
                    break
                assert done.returncode == -9, f"{note}: {done.returncode} {done.stderr}"
                kills += 1
                kill_at += 1
                assert kill_at < 1000, "it never gets through"
            if change % 5 == 4 or change + 1 == changes:
                shown = json.loads(ok("--json", "case", "show", case))
                held = [n["note"] for n in shown["notes"]]
                missing = acknowledged - set(held)
                assert not missing, f"acknowledged and missing: {sorted(missing)}"
                assert shown["unsent"] == 0, "acknowledged and sealed"
        print(f"{changes} changes, killed at every one of their {kills} writes: nothing acknowledged is missing")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), int(sys.argv[2]))
