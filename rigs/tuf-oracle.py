"""Plays random sequences of roots and lists to python-tuf and to ours: what one takes, the other takes.

TUF's timestamp, snapshot and targets are one list with us, so every list is offered to python-tuf as all three, in a fresh
client that holds what the last one had accepted. One difference is wanted: once a root has retired the keys of the list
held, ours takes only lists made under that root or a later one (rule 8), where TUF would take any that the new keys verify.

usage: tuf-oracle.py PATH-OF-ORACLE-PROGRAM [SEQUENCES] [SEED]     needs: pip install tuf "securesystemslib[crypto]"
"""

import random
import subprocess
import sys
from datetime import datetime, timedelta, timezone

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

KEYS = [CryptoSigner.generate_ed25519() for _ in range(9)]
LATER = datetime.now(timezone.utc) + timedelta(days=3650)


def sign(body, signers):
    metadata = Metadata(body)
    for number in signers:
        metadata.sign(KEYS[number], append=True)
    return metadata.to_bytes(JSONSerializer())


def tuf_root(version, root, releases, signers):
    body = Root(version=version, expires=LATER, consistent_snapshot=True)
    for name, (keys, threshold) in {
        "root": root, "timestamp": releases, "snapshot": releases, "targets": releases,
    }.items():
        for number in keys:
            body.add_key(KEYS[number].public_key, name)
        body.roles[name].threshold = threshold
    return sign(body, signers)


def tuf_list(version, signers):
    return (
        sign(Timestamp(version=version, expires=LATER, snapshot_meta=MetaFile(version)), signers),
        sign(Snapshot(version=version, expires=LATER, meta={"targets.json": MetaFile(version)}), signers),
        sign(Targets(version=version, expires=LATER), signers),
    )


class TufClient:
    def __init__(self):
        self.root, self.list = None, None

    def fresh(self):
        return TrustedMetadataSet(self.root, EnvelopeType.METADATA)

    def offer_root(self, data):
        try:
            if self.root is None:
                TrustedMetadataSet(data, EnvelopeType.METADATA)
            else:
                self.fresh().update_root(data)
        except (RepositoryError, ValueError):
            return False
        self.root = data
        return True

    def offer_list(self, parts):
        if self.root is None:
            return False
        # The order of TUF's client (specification 5.4 to 5.6): at each step what the last client left, then what is offered.
        # A file that was left and whose keys have gone since is not believed (5.3.11).
        client, left = self.fresh(), self.list or (b"", b"", b"")
        steps = [
            (client.update_timestamp, {}),
            (client.update_snapshot, {"trusted": True}),
            (client.update_targets, {}),
        ]
        for (update, as_left), old, offered in zip(steps, left, parts):
            if old:
                try:
                    update(old, **as_left)
                except (RepositoryError, RuntimeError):
                    pass
            try:
                update(offered)
            except (RepositoryError, RuntimeError):
                return False
        self.list = parts
        return True


def some(dice, keys, least):
    return sorted(dice.sample(keys, dice.randint(min(least, len(keys)), len(keys))))


def words(keys):
    return ",".join(map(str, keys)) or "-"


def main():
    program, sequences, seed = sys.argv[1], int((sys.argv + ["", "400"])[2] or 400), int((sys.argv + ["", "", "1"])[3] or 1)
    dice = random.Random(seed)
    ours = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(line):
        ours.stdin.write(line + "\n")
        ours.stdin.flush()
        return ours.stdout.readline().strip()

    events = taken = stricter = 0
    for number in range(sequences):
        ask("begin")
        tuf, version, listed, log = TufClient(), 0, 0, []
        for _ in range(12):
            if tuf.root is None or dice.random() < 0.3:
                root = (sorted(dice.sample(range(5), 3)), 2)
                releases = (sorted(dice.sample(range(4, 9), 3)), 2)
                next_version = max(1, version + dice.choice([1, 1, 1, 1, 0, 2, -1]))
                signers = some(dice, range(9), 6)
                line = f"root {next_version} {words(root[0])}/2 {words(releases[0])}/2 {words(signers)}"
                theirs = tuf.offer_root(tuf_root(next_version, root, releases, signers))
                answer = ask(line)
                version = next_version if theirs else version
            else:
                next_version = max(1, listed + dice.choice([1, 1, 1, 2, 0, -1, -2]))
                signers = some(dice, range(4, 9), 1)
                line = f"list {next_version} {max(1, version - dice.choice([0, 0, 0, 1]))} {words(signers)}"
                theirs = tuf.offer_list(tuf_list(next_version, signers))
                answer = ask(line)
                if theirs and "retired" in answer:
                    stricter += 1
                    log.append((line, theirs, answer))
                    break
                listed = next_version if theirs else listed
            log.append((line, theirs, answer))
            events += 1
            taken += theirs
            if theirs != (answer == "new"):
                for entry in log:
                    print(*entry, sep="  →  ")
                sys.exit(f"seed {seed}, sequence {number}: python-tuf and ours differ")
    print(f"{sequences} sequences, {events} events, {taken} taken by both; {stricter} times ours was stricter by rule 8")
    if taken < events // 8:
        sys.exit("too little was taken for this to mean anything")


main()
