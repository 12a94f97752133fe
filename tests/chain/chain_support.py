"""What the tests of this folder share. A test is a function test_...(c) that gets a chain.Chain of its own."""

import hashlib
import json
import os
import pathlib
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import chain  # noqa: E402
import tse  # noqa: E402, F401 (for the tests of TSEs)

BLOCK = 512


def image(c, name, size_mib):
    """A stick's image with reproducible contents, no two MiB alike; returns its path."""
    path = c.directory / name
    block = hashlib.shake_128(name.encode()).digest(1 << 20)
    with open(path, "wb") as file:
        for mib in range(size_mib):
            file.write(mib.to_bytes(8, "little") + block[8:])
    return path


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def json_lines(program):
    """What a program printed as JSON objects, one a line."""
    return [json.loads(line) for line in program.lines if line.startswith("{")]


def main(tests):
    """argv: the build directory, then names of tests (none: all)."""
    build, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:]
    failed = 0
    for name, test in list(tests.items()):
        if not name.startswith("test_") or (wanted and name not in wanted):
            continue
        began = time.monotonic()
        try:
            with chain.Chain(build) as c:
                test(c)
        except Exception:
            failed += 1
            print(f"FAILED {name}", flush=True)
            traceback.print_exc(file=sys.stdout)
        else:
            print(f"passed {name} ({time.monotonic() - began:.1f} s)", flush=True)
    sys.exit(1 if failed else 0)
