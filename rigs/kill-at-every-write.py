#!/usr/bin/env python3
"""Kill -9 at every write. First a script of changes to cases, each a process of its own that is killed just before its first, its
second, ... write to the phone's folder, until it gets through. Then a meeting of two phones, and a new key of their space, killed
in the same way on either side. Nothing that was acknowledged is ever missing, and the phone always starts again.

Usage: kill-at-every-write.py KIJITI CHANGES"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

# Changes of one case.
CASE = 5
# Kills after which the folder is put back.
AGAIN = 8
HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLE = os.path.join(HERE, "../app/examples/severe-pneumonia.toml")


def plain(value) -> str:
    """A value as people write it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def spoken(said: dict) -> str:
    """What a line of a case's history says, as `kijiti case history` words it."""
    (kind, value), = said.items()
    match kind:
        case "finding":
            return f"{value[0]} = {plain(value[1])}"
        case "settled":
            return f"settled: {value[0]} = {plain(value[1])}"
        case "note":
            return f"noted: {value}"
        case "dose":
            return f"gave {value['medicine']} {value['amount']:g} {value['unit']}"
        case _:
            return f"{kind}: {value}"


class Desk:
    """Phones in a folder, and what each has acknowledged."""

    def __init__(self, folder: str, kijiti: str):
        self.folder, self.kijiti = folder, kijiti
        self.shim = os.path.join(folder, "kill.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.shim, f"{HERE}/kill-at-every-write.c", "-ldl"], check=True)
        self.acknowledged: dict[str, set[str]] = {}
        self.begun_on: dict[str, str] = {}

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def command(self, phone: str, args: tuple[str, ...], kill_at: int) -> tuple[list[str], dict[str, str]]:
        env = {**os.environ, "KIJITI_PASSPHRASE": "twelve patients to see"}
        if kill_at:
            env |= {"LD_PRELOAD": self.shim, "KILL_AT": str(kill_at), "KILL_PATH": f"{self.path(phone)}/"}
        return [self.kijiti, "--data", self.path(phone), *args], env

    def run(self, phone: str, *args: str, kill_at: int = 0) -> subprocess.CompletedProcess:
        command, env = self.command(phone, args, kill_at)
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True)

    def ok(self, phone: str, *args: str) -> str:
        done = self.run(phone, *args)
        assert done.returncode == 0, f"{args}: {done.stderr}"
        return done.stdout

    def json(self, phone: str, *args: str):
        return json.loads(self.ok(phone, "--json", *args))

    def check(self, phone: str, case: str) -> None:
        history = self.json(phone, "case", "history", case)["history"]
        missing = self.acknowledged[case] - {spoken(line["said"]) for line in history}
        assert not missing, f"acknowledged and missing on {phone}: {sorted(missing)}"

    def enrol(self) -> None:
        """A clinic that keeps a space, and a worker who reads and writes in it."""
        self.ok("clinic", "ministry", "keys", "--out", "keys", "--work-factor", "10")
        for phone, rights in [("clinic", "carry,read,write,grant"), ("worker", "carry,read,write")]:
            self.ok(phone, "enrol", "request", "--name", phone, "--out", f"{phone}.json")
            self.ok("clinic", "enrol", "sign", f"{phone}.json", "--area", "north", "--rights", rights, "--ministry", "keys", "--out", f"{phone}-answer.json")
            self.ok(phone, "enrol", "accept", f"{phone}-answer.json")
        self.ok("clinic", "enrol", "space", "--area", "north")
        self.ok("clinic", "enrol", "grant", "worker-answer.json", "--area", "north", "--out", "grant.json")
        self.ok("worker", "enrol", "accept", "grant.json")

    def keep(self, *phones: str) -> None:
        for phone in phones:
            shutil.rmtree(self.path(f"{phone}-before"), ignore_errors=True)
            shutil.copytree(self.path(phone), self.path(f"{phone}-before"))

    def put_back(self, *phones: str) -> None:
        for phone in phones:
            shutil.rmtree(self.path(phone))
            shutil.copytree(self.path(f"{phone}-before"), self.path(phone))

    def until_done(self, phone: str, *args: str) -> tuple[str, int]:
        """Killed at its first write, at its second …, until it gets through; its answer, and how often it was killed. Each goes on
        with what the killed ones before it left; now and then the folder is looked at and put back as it was, for what is
        killed may be written all the same, and a case would grow without end."""
        self.keep(phone)
        for kill_at in range(1, 1000):
            if kill_at > 1 and kill_at % AGAIN == 1:
                for case in [case for case in self.acknowledged if self.begun_on[case] == phone][-2:]:
                    self.check(phone, case)
                self.put_back(phone)
            done = self.run(phone, *args, kill_at=kill_at)
            if done.returncode == 0:
                return done.stdout, kill_at - 1
            assert done.returncode == -9, f"{args}: {done.returncode} {done.stderr}"
        raise AssertionError("it never gets through")

    def begin(self, phone: str, name: str) -> tuple[str, int]:
        """A case, begun under kills."""
        new = ["--json", "case", "new", "--findings", EXAMPLE, "--patient", name, "--consent", "share"]
        begun, kills = self.until_done(phone, *new)
        case = json.loads(begun)["case"]
        self.acknowledged[case] = {f"patient.name = {name}"}
        self.begun_on[case] = phone
        return case, kills

    def meet(self, worker_kill: int = 0, clinic_kill: int = 0) -> tuple[int, bool]:
        """The worker calls the clinic. How the worker's process ended, and whether the clinic's was killed."""
        command, env = self.command("clinic", ("start", "--listen", "127.0.0.1:0", "--no-discovery"), clinic_kill)
        clinic = subprocess.Popen(command, cwd=self.folder, env=env, stderr=subprocess.PIPE, text=True)
        address = None
        for line in clinic.stderr:
            if line.startswith("listening on "):
                address = line.split()[-1]
                break
        if address is None:
            return 1, clinic.wait() == -9
        command, env = self.command("worker", ("meet", f"{self.clinic_id}@{address}"), worker_kill)
        worker = subprocess.Popen(command, cwd=self.folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while worker.poll() is None and clinic.poll() is None:
            time.sleep(0.01)
        ended, clinic_killed = worker.poll(), clinic.poll() == -9
        for phone in [worker, clinic]:
            phone.kill()
            phone.wait()
        clinic.stderr.close()
        return (1 if ended is None else ended), clinic_killed


def changes_under_kills(desk: Desk, changes: int) -> None:
    def words(change: int) -> tuple[list[str], str]:
        """A change to the case, and how its history tells it."""
        match change % 4:
            case 0:
                return ["--note", f"change {change}"], f"noted: change {change}"
            case 1:
                return ["--dose", f"ORS {change} ml"], f"gave ORS {change} ml"
            case 2:
                return ["--settle", f"spo2={40 + change % 60}"], f"settled: spo2 = {40 + change % 60}"
            case _:
                return ["--set", f"diarrhoea_days={change}"], f"diarrhoea_days = {change}"

    kills, case = 0, ""
    for change in range(changes):
        if change % CASE == 0:
            case, killed = desk.begin("clinic", f"Child {change}")
        else:
            args, said = words(change)
            _, killed = desk.until_done("clinic", "case", "add", case, *args)
            desk.acknowledged[case].add(said)
        kills += killed
        if change % 50 == 49 or change + 1 == changes:
            for case in desk.acknowledged:
                desk.check("clinic", case)
                assert desk.json("clinic", "case", "show", case)["unsent"] == 0, "acknowledged and sealed"
    print(f"{changes} changes, killed at every one of their {kills} writes: nothing acknowledged is missing")


def meetings_under_kills(desk: Desk) -> None:
    desk.acknowledged.clear()
    for phone in ["worker", "clinic"] * 3:
        desk.begin(phone, f"Child of the {phone}")
    desk.clinic_id = desk.json("clinic", "status")["device"]
    kills = 0
    for side in ["worker", "clinic"]:
        desk.keep("worker", "clinic")
        for kill_at in range(1, 2000):
            desk.put_back("worker", "clinic")
            ended, clinic_killed = desk.meet(**{f"{side}_kill": kill_at})
            if not (ended == -9 or clinic_killed):
                assert ended == 0, f"{side} killed at {kill_at}: the meeting ended with {ended}"
                break
            kills += 1
            # Both start again with all that was acknowledged, and the next meeting makes all good.
            if kill_at % AGAIN == 0:
                assert desk.meet() == (0, False), f"after the {side} was killed at write {kill_at}"
                for case in desk.acknowledged:
                    desk.check("worker", case)
                    desk.check("clinic", case)
            else:
                for phone in ["worker", "clinic"]:
                    own = [case for case in desk.acknowledged if desk.begun_on[case] == phone]
                    listed = {row["case"] for row in desk.json(phone, "case", "list")["cases"]}
                    assert listed.issuperset(own), f"{phone} after the {side} was killed at write {kill_at}"
        desk.put_back("worker", "clinic")
    assert desk.meet() == (0, False)
    # A new key of the space, and what is written under it.
    _, killed = desk.until_done("clinic", "enrol", "rotate", "--area", "north")
    case, more = desk.begin("clinic", "Child of the new key")
    assert desk.meet() == (0, False)
    for case in desk.acknowledged:
        desk.check("worker", case)
        desk.check("clinic", case)
    print(f"a meeting killed {kills} times, at every write of either side, and a new key {killed + more} times: nothing is missing")


def main(kijiti: str, changes: int) -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(folder, kijiti)
        desk.enrol()
        meetings_under_kills(desk)
        desk.acknowledged.clear()
        changes_under_kills(desk, changes)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), int(sys.argv[2]))
