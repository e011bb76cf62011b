#!/usr/bin/env python3
"""Every package we build comes from crates.io and carries a licence that goes with ours."""

import json
import re
import subprocess
import sys

ALLOWED = {
    "MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "Unlicense",
    "BlueOak-1.0.0", "CC0-1.0", "0BSD", "Unicode-3.0", "MPL-2.0", "BSL-1.0", "CDLA-Permissive-2.0", "MIT-0",
}


def allowed(expression: str) -> bool:
    """An SPDX expression of OR, AND and brackets (or the old slash) that our licences can satisfy."""
    words = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    python, at = [], 0
    while at < len(words):
        word = words[at]
        if word in "()":
            python.append(word)
        elif word in ("OR", "AND"):
            python.append(word.lower())
        else:
            while at + 2 < len(words) and words[at + 1] == "WITH":
                word += " WITH " + words[at + 2]
                at += 2
            python.append(str(word in ALLOWED))
        at += 1
    return eval(" ".join(python), {"__builtins__": {}})  # only brackets, and/or, True/False by now


def main() -> int:
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["packages"]
    bad = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if package["source"] and not package["source"].startswith("registry+"):
            bad.append(f"{name}: comes from {package['source']}")
        if not package["license"] or not allowed(package["license"]):
            bad.append(f"{name}: licence {package['license']!r}")
    print(f"{len(packages)} packages looked at, {len(bad)} refused")
    print("\n".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
