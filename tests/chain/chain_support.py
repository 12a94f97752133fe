"""What the tests of this folder share. A test is a function test_...(c) that gets a chain.Chain of its own."""

import argparse
import hashlib
import json
import os
import pathlib
import socket
import struct
import sys
import threading
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


class Wire:
    """What lies between a client and its server: forwards TCP connections, and breaks those that there are when it is told."""

    def __init__(self, to_port):
        self.to_port, self.ends = to_port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return  # closed
            try:
                far = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                near.close()
                continue
            self.ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(one, other), daemon=True).start()

    def _forward(self, one, other):
        try:
            while data := one.recv(1 << 16):
                other.sendall(data)
            if one in self.ends:  # cut() wakes readers with an end that is none
                other.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # cut

    def cut(self):
        """As a network does it: both ends hear of an error, none of an orderly end."""
        ends, self.ends = self.ends, []
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                end.shutdown(socket.SHUT_RD)  # wakes the thread that reads
            except OSError:
                pass
            end.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()


def main(tests):
    """argv: the build directory, then names of tests (none: all); --freerdp 2: with FreeRDP 2's client."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--freerdp", type=int, choices=chain.FREERDP, default=3)
    parser.add_argument("build", type=os.path.abspath)
    parser.add_argument("tests", nargs="*")
    options = parser.parse_args()
    wanted, failed = options.tests, 0
    unknown = [name for name in wanted if name not in tests]
    assert not unknown, f"there are no such tests: {unknown}"
    for name, test in list(tests.items()):
        if not name.startswith("test_") or (wanted and name not in wanted):
            continue
        began = time.monotonic()
        try:
            with chain.Chain(options.build, freerdp=options.freerdp) as c:
                test(c)
        except Exception:
            failed += 1
            print(f"FAILED {name}", flush=True)
            traceback.print_exc(file=sys.stdout)
        else:
            print(f"passed {name} ({time.monotonic() - began:.1f} s)", flush=True)
    sys.exit(1 if failed else 0)
