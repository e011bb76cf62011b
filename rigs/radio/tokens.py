#!/usr/bin/env python3
"""Reads a capture of Bluetooth's air (btsnoop) in which two phones advertised for an hour or a day, and looks for anything by which
somebody without the key could say that two of their advertisements are one phone's. Usage: tokens.py CAPTURE"""
import struct
import sys

SERVICE = bytes.fromhex("7d2f00016b694a6974696b696a697469")[::-1]
TOKEN = 10


def packets(capture):
    data = open(capture, "rb").read()
    at = 16
    while at + 24 <= len(data):
        length = struct.unpack(">I", data[at + 4 : at + 8])[0]
        yield data[at + 24 : at + 24 + length]
        at += 24 + length


def main():
    seen = {}  # token: the addresses from which it was heard
    for packet in packets(sys.argv[1]):
        # LE advertising reports (event 0x3e, subevent 0x02): type, address type, address, data.
        at = packet.find(SERVICE)
        if at < 0 or packet[:1] != b"\x3e" or packet[2:3] != b"\x02":
            continue
        address = packet[6:12]
        token = packet[at + 16 : at + 16 + TOKEN]
        seen.setdefault(token, set()).add(address)
    tokens = sorted(seen)
    assert len(tokens) >= 6, f"only {len(tokens)} tokens of two phones"
    # So many bytes in a row that chance does not bring them about among all pairs.
    row = 3 if len(tokens) < 20 else 4
    for n, one in enumerate(tokens):
        for two in tokens[n + 1 :]:
            shared = [i for i in range(TOKEN - row + 1) if one[i : i + row] in two]
            assert not shared, f"{one.hex()} and {two.hex()} have bytes in common"
    # A row of tokens, each heard from the address of the one before, would be one phone's whole day. The first address of
    # a phone may have been in use before the program began.
    pairs = [(one, two) for n, one in enumerate(tokens) for two in tokens[n + 1 :] if seen[one] & seen[two]]
    assert not pairs, f"{len(pairs)} pairs of tokens were heard from one address: {[(a.hex(), b.hex()) for a, b in pairs][:5]}"
    print(f"tokens: {len(tokens)} of two phones: no {row} bytes in common, no address in common")


main()
