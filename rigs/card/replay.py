#!/usr/bin/env python3
"""Reads a log of all writes to a disk (the format of Linux's dm-log-writes, which QEMU's blklogwrites keeps) and makes
the disk as it was after each of them: what is left of a card that is pulled out then.
Usage: replay.py LOG BASE FOLDER; one sparse image for each write that changed anything, after `mark` ones are skipped."""
import os
import shutil
import struct
import sys

MAGIC, SECTOR_FLAGS_DISCARD = 0x6A736677736872, 4


def entries(log):
    magic, _version, count, sector = struct.unpack("<QQQI", log.read(28))
    assert magic == MAGIC, "not a log of writes"
    at = sector
    for _ in range(count):
        log.seek(at)
        first, sectors, flags, length = struct.unpack("<QQQQ", log.read(32))
        at += sector
        data = b""
        if not flags & SECTOR_FLAGS_DISCARD and sectors:
            log.seek(at)
            data = log.read(sectors * sector)
            at += len(data)
        yield first * sector, data


def main():
    log, base, folder = sys.argv[1:4]
    os.makedirs(folder, exist_ok=True)
    now = os.path.join(folder, "now")
    shutil.copyfile(base, now)
    made = 0
    with open(now, "r+b") as disk, open(log, "rb") as source:
        for at, data in entries(source):
            if not data:
                continue
            disk.seek(at)
            before = disk.read(len(data))
            if before == data:
                continue
            disk.seek(at)
            disk.write(data)
            disk.flush()
            made += 1
            os.system(f"cp --sparse=always {now} {folder}/{made:04}.img")
    os.remove(now)
    print(made)


main()
