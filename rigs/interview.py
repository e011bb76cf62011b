#!/usr/bin/env python3
"""An interview of a child with a simple cough on a real terminal: first answered in one go, then with the program killed (-9) at
every answer, once the next question is there and once while the answer is still on its way, and corrected by going back. Every time
it goes on where it was; in the end there is one case, with what was answered and decided.

    rigs/interview.py target/release/kijiti
"""

import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import tempfile

ANSWERS_MAX = 16
# What ends in one of these waits for an answer.
WAITS = re.compile(r"[\]):?] $")
SAYS = [(r"^Age\?", "14"), (r"(?i)how many days", "3"), (r"(?i)^cough", "y"), (r"(?i)breaths|breathing rate|per minute", "32"),
        (r"(?i)muac|arm", "140"), (r"(?i)temperature", "37"), (r"(?i)weight", "9.5"), (r"own words", ""), (r"name\?", "Amina"),
        (r"village\?", "Mtwapa"), (r"agree|May ", "y"), (r"^Your decision", "green"), (r"to be done\?", "home care"), (r"^Why", "")]
KEPT = re.compile("is kept, and not decided. Is it to be decided now")
GO_ON = re.compile("A visit was interrupted")
DECIDES = re.compile("^(Your decision|What is to be done|Why)")
kijiti = os.path.realpath(sys.argv[1])
os.environ["KIJITI_PASSPHRASE"] = "twelve patients to see"


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, phone, *more):
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            os.execv(kijiti, [kijiti, "--data", phone, "case", "new", *more])
        self.said, self.given = "", 0

    def question(self):
        """What waits for an answer; `None`: the program is done."""
        while True:
            ready, *_ = select.select([self.end], [], [], 0.1 if WAITS.search(self.said) else 60)
            if not ready:
                assert WAITS.search(self.said), f"nothing more comes after {self.said[-300:]!r}"
                return self.said.rsplit("\n", 1)[-1].strip()
            try:
                self.said += os.read(self.end, 65536).decode().replace("\r", "")
            except OSError:
                _, status = os.waitpid(self.pid, 0)
                assert status == 0, self.said
                return None

    def answer(self, words):
        self.given += 1
        assert self.given < 60, f"asked again and again: {self.said[-300:]!r}"
        self.said += "\n"
        os.write(self.end, f"{words}\n".encode())

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.end)


def says(question):
    """What this child's mother says: what is not named is not there."""
    return next((words for asked, words in SAYS if re.search(asked, question)), "n")


def resumed(phone):
    """The program begun again, at the question that waits."""
    terminal = Terminal(phone)
    question = terminal.question()
    while question and (GO_ON.search(question) or KEPT.search(question)):
        terminal.answer("y")
        question = terminal.question()
    return terminal, question


def answered(phone, killed, back=False):
    """An interview to its end; the questions in order. `killed`: never, `after` the next question came, or `before`."""
    asked, decided, (terminal, question) = [], False, resumed(phone)
    while question is not None:
        if not asked or asked[-1] != question:
            asked.append(question)
        words = says(question)
        if back and len(asked) == 4:
            back, before = False, asked[-2]
            terminal.answer("<")
            question = terminal.question()
            assert question == before, f"{question!r} after going back from {asked[-1]!r}, and not {before!r}"
            asked = asked[:-2]
            continue
        terminal.answer(words)
        # All of a decision is said at once: it is cut off once, and then said.
        if killed == "before" and not (DECIDES.search(question) and decided):
            decided = decided or bool(DECIDES.search(question))
            # The answer may be kept or not: either its question or the next comes.
            select.select([], [], [], random.random() / 20)
            terminal.kill()
            terminal, question = resumed(phone)
            continue
        following = terminal.question()
        if killed == "after" and following is not None:
            terminal.kill()
            terminal, again = resumed(phone)
            decides = DECIDES.search(following)
            assert again == following or (decides and DECIDES.search(again)), f"killed at {following!r}, and begun again at {again!r}"
            following = again if not decides else following
            if decides:
                # All of a decision is said at once.
                while again is not None:
                    terminal.answer(says(again))
                    again = terminal.question()
                break
        question = following
    return asked


def run(*words):
    done = subprocess.run([kijiti, "--json", *words], check=True, capture_output=True, text=True)
    return json.loads(done.stdout) if done.stdout.strip().startswith("{") else {}


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    run("ministry", "keys", "--out", "keys", "--work-factor", "10")
    counted = {}
    for name, (killed, back) in {"in one go": (None, False), "going back": (None, True), "killed at every question": ("after", False),
                                 "killed at every answer": ("before", False)}.items():
        phone = name.replace(" ", "-")
        run("--data", phone, "enrol", "request", "--name", "Asha", "--out", f"{phone}.json")
        run("enrol", "sign", f"{phone}.json", "--ministry", "keys", "--area", "north", "--rights", "carry,read,write,grant", "--out", "answer.json")
        run("--data", phone, "enrol", "accept", "answer.json")
        run("--data", phone, "enrol", "space", "--area", "north")
        asked = answered(phone, killed, back)
        findings = next((n for n, question in enumerate(asked) if "own words" in question), len(asked))
        (row,) = run("--data", phone, "case", "list")["cases"]
        case = run("--data", phone, "case", "show", row["case"])
        found = {field: state["value"] for field, state in case["findings"].items()}
        counted[name] = (row["title"], row["urgency"], case["decided"], len(case["decisions"]), found)
        assert findings <= ANSWERS_MAX, f"{findings} answers: {asked}"
        print(f"{name:<25} {findings} answers, {row['urgency']}, decided {case['decided']}", flush=True)
    first = counted["in one go"]
    assert first[:4] == ("Amina, Mtwapa", "green", "green", 1), first
    for name, other in counted.items():
        assert other == first, f"{name}: {other} and not {first}"
    # Somebody of seven years, whom no rules here are for: a person decides, though the program was killed before that.
    def of_seven(until):
        terminal = Terminal("in-one-go", "--kind", "adult")
        question = terminal.question()
        while question is not None and not until(question):
            words = {"Age": "7", "You": "yellow", "Wha": "see the doctor", "Why": "no rules"}.get(question[:3])
            terminal.answer(words or ("y" if KEPT.search(question) else "n" if "[y/n" in question and "own words" not in question else ""))
            question = terminal.question()
        return terminal

    of_seven(lambda question: question.startswith("Your decision")).kill()
    of_seven(lambda question: False)
    rows = run("--data", "in-one-go", "case", "list")["cases"]
    assert sorted(row["urgency"] for row in rows) == ["green", "yellow"], rows
    print("of seven years            killed before the decision, decided yellow", flush=True)
