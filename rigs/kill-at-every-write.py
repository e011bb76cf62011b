#!/usr/bin/env python3
"""Kill -9 at every write: a script of changes to cases, each a process of its own that is killed just before its first, its
second, ... write to the phone's folder, until it gets through. Nothing that was acknowledged is ever missing, and the phone
always starts again.

Usage: kill-at-every-write.py KIJITI CHANGES"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

# Changes of one case.
CASE = 5
# Kills after which the folder is put back.
AGAIN = 8
HERE = os.path.dirname(os.path.abspath(__file__))


def main(kijiti: str, changes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shim = os.path.join(folder, "kill.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, f"{HERE}/kill-at-every-write.c", "-ldl"], check=True)
        phone, before = os.path.join(folder, "phone"), os.path.join(folder, "before")
        env = {**os.environ, "KIJITI_PASSPHRASE": "twelve patients to see"}

        def run(*args: str, kill_at: int = 0) -> subprocess.CompletedProcess:
            extra = {"LD_PRELOAD": shim, "KILL_AT": str(kill_at), "KILL_PATH": f"{phone}/"} if kill_at else {}
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

        def words(change: int) -> tuple[list[str], str]:
            """A change to the case, and how its history tells it."""
            match change % 3:
                case 0:
                    return ["--note", f"change {change}"], f"noted: change {change}"
                case 1:
                    return ["--dose", f"zinc {change} mg"], f"gave zinc {change} mg"
                case _:
                    return ["--set", f"diarrhoea_days={change}"], f"diarrhoea_days = {change}"

        def check(case: str) -> None:
            history = json.loads(ok("--json", "case", "history", case))["history"]
            missing = acknowledged[case] - {line["what"] for line in history}
            assert not missing, f"acknowledged and missing: {sorted(missing)}"

        def until_done(*args: str) -> tuple[str, int]:
            """Killed at its first write, at its second …, until it gets through; its answer, and how often it was killed. Each goes on
            with what the killed ones before it left; now and then the folder is looked at and put back as it was, for what is
            killed may be written all the same, and a case would grow without end."""
            for kill_at in range(1, 1000):
                if kill_at == 1:
                    shutil.rmtree(before, ignore_errors=True)
                    shutil.copytree(phone, before)
                elif kill_at % AGAIN == 1:
                    for case in list(acknowledged)[-2:]:
                        check(case)
                    shutil.rmtree(phone)
                    shutil.copytree(before, phone)
                done = run(*args, kill_at=kill_at)
                if done.returncode == 0:
                    return done.stdout, kill_at - 1
                assert done.returncode == -9, f"{args}: {done.returncode} {done.stderr}"
            raise AssertionError("it never gets through")

        acknowledged: dict[str, set[str]] = {}
        kills, case = 0, ""
        for change in range(changes):
            if change % CASE == 0:
                begun, killed = until_done("--json", "case", "new", "--findings", example, "--patient", f"Child {change}", "--consent", "share")
                case = json.loads(begun)["case"]
                acknowledged[case] = {f"patient.name = Child {change}"}
            else:
                args, said = words(change)
                _, killed = until_done("case", "add", case, *args)
                acknowledged[case].add(said)
            kills += killed
            if change % 50 == 49 or change + 1 == changes:
                for case in acknowledged:
                    check(case)
                    assert json.loads(ok("--json", "case", "show", case))["unsent"] == 0, "acknowledged and sealed"
        print(f"{changes} changes, killed at every one of its {kills} writes: nothing acknowledged is missing")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), int(sys.argv[2]))
