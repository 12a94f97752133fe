"""What the tests of this folder share: how long they are, the relay, the ledger of receipts, and what a program holds.

TILLBRIDGE_FAULT=full runs them in full size; without it each is a short form that fits into the suite. TILLBRIDGE_SEED
chooses another sequence of faults."""

import collections
import os
import pathlib
import re
import signal
import socket
import sys
import tarfile

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "chain"))
from chain_support import json_lines, tse  # noqa: E402
from chain import mounted, tables  # noqa: E402
from tse_support import CLIENT, Shop, verify  # noqa: E402
import tse_verify  # noqa: E402

FULL = os.environ.get("TILLBRIDGE_FAULT") == "full"
SEED = int(os.environ.get("TILLBRIDGE_SEED", "1"))
SIGNATURE_NOT_MADE, SIGNATURE_UNKNOWN = 40, 41


def size(full, short):
    return full if FULL else short


def suite(tests, *full_only):
    """For main(): in the short form `full_only` are left out unless they are named."""
    return {name: test for name, test in tests.items() if FULL or len(sys.argv) > 2 or name not in full_only}


class Relay:
    """The network between till and USB server; see relay.py."""

    def __init__(self, c, to_port, *arguments):
        self.program = c.start("relay", [sys.executable, FOLDER / "relay.py", "--to", to_port, "--seed", SEED, *arguments])
        self.program.stop = self.program.kill
        self.port = int(self.program.wait_for(r"relay on 127.0.0.1:(\d+)").group(1))

    def hole(self):
        """The next one; returns when nothing passes any more."""
        mark = self.program.mark()
        self.program.process.send_signal(signal.SIGUSR1)
        self.program.wait_for("hole begins", after=mark)

    def wait_for_end_of_hole(self):
        self.program.wait_for("hole over")

    def cuts(self):
        return sum(line.startswith("cut ") for line in self.program.lines)


class Ledger:
    """Every receipt that tillbridge-pos was asked for, and what it said became of it; in the end compared with what the
    stick signed. Each run of the POS signs data of its own, so that the stick's log tells whose a transaction is."""

    def __init__(self, shop):
        self.shop = shop
        self.runs = []  # [data, Program]

    def start(self, count):
        data = f"Beleg^{len(self.runs)}.00_0.00_0.00_0.00_0.00^{len(self.runs)}.00:Bar"
        program = self.shop.start_pos("receipt", "--client", CLIENT, "--count", count, "--data", data)
        self.runs.append((data, program))
        return program

    @staticmethod
    def signed(program):
        return [line for line in json_lines(program) if line["event"] == "receipt"]

    def finish_open(self):
        """Ends what a run left half done; also shows that the stick still signs."""
        self.shop.pos("finish-open", "--client", CLIENT)

    def check(self):
        """No receipt lost, none doubled, none whose fate was told wrongly. Returns (archive's report, exit codes)."""
        archive, report = self.shop.export()
        assert report["findings"] == [], report
        finished = transactions(archive)
        codes = collections.Counter()
        for data, program in self.runs:
            code = program.wait()
            codes[code] += 1
            said = self.signed(program)
            assert all(line["verified"] for line in said), program.text()
            told, done = [line["transaction"] for line in said], finished.pop(data, [])
            assert len(set(told)) == len(told), f"a receipt was told twice: {told}"
            # What the POS does not know it says with a code of its own, and then it is one receipt at most.
            spare = 1 if code == SIGNATURE_UNKNOWN else 0
            assert told == done[:len(told)] and len(done) - len(told) <= spare, \
                f"'{data}': told {told}, in the stick's log {done}, exit code {code}:\n{program.text(20)}"
        left = {data: done for data, done in finished.items() if not data.startswith("AVBelegabbruch")}
        assert not left, f"in the stick's log, but nobody asked for it: {left}"
        return report, codes


def transactions(archive):
    """{process data: [numbers of the transactions finished with it, in the order of the signature counter]}"""
    logs = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.endswith(".log"):
                log = tse_verify.parse(tar.extractfile(member).read())
                if log["ctx"].get(0) == b"FinishTransaction":
                    logs.append((log["counter"], log["ctx"][2].decode(), int.from_bytes(log["ctx"][5], "big")))
    found = collections.defaultdict(list)
    for _, data, number in sorted(logs):
        found[data].append(number)
    return found


def commands_aborted(shop):
    """How often tillbridged had to: a till that went between a write's command block and its data leaves no other end of it."""
    return sum("left unfinished is aborted" in line for program in shop.c.programs for line in program.lines)


def stayed(shop, server=None):
    """The session never lost its stick, and the stick felt nothing."""
    arrivals = [line for line in shop.terminal.lines if "can be imported as" in line]
    assert len(arrivals) == 1, f"the device was enumerated again: {arrivals}"
    assert not any(re.search(r"device \d+ gone", line) for line in shop.terminal.lines), shop.terminal.text(40)
    assert sum("lease begun" in line for line in (server or shop.server).lines) == 1, shop.server.text(40)


class PatientShop(Shop):
    """Its POS does not give up when what is in the way of an answer takes longer than a Diebold Nixdorf stick ever does: how long
    a restart or a cut takes is not what is tested here, and on a busy machine it can be seconds."""

    pos_arguments = ("--answer-seconds", 60)


class ShopWithBus(PatientShop):
    """Its stick outlives tillbridged: it is on a bus that is a process of its own (usb_bus), and tillbridged reaches it as it
    reaches real ones, through sysfs and libusb. A POS that lost it looks for it at the same place again: each session of the
    till listens at the same port."""

    def __init__(self, *arguments, **options):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.usbip_port = free.getsockname()[1]
        super().__init__(*arguments, **options)

    def start_server(self, stick, maps, link):
        control, self.bench = self.c.test_bench()
        folder = self.c.directory / "bus"
        config = self.c.file("bus.toml", "\n".join([control, *tables("simulated", [stick]), ""]))
        self.bus = self.c.start("usb_bus", [self.c.build / "tests/fault/usb_bus", config, folder])
        port = self.bus.wait_for(r"usb_bus on 127.0.0.1:(\d+)").group(1)
        command = [*mounted(folder, "/sys/bus"), "env", f"LD_LIBRARY_PATH={self.c.build}/tests/fault/libusb",
                   f"TILLBRIDGE_USB_BUS={port}", self.c.build / "server/usb/tillbridged"]
        server = self.c.usb_server([], maps, link=link, command=command)
        # Whoever starts it again starts it where the till looks for it.
        server.config.write_text(server.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{server.port}", 1))
        return server

    def start_server_again(self):
        command = self.server.command
        self.server = self.c.start("tillbridged", command)
        self.server.wait_for("listening for tills on")

    def start_till_again(self):
        """A new session of the same user."""
        self.client = self.c.start("xfreerdp3", self.client.command, self.client.environment)


class Vitals:
    """What a long-running program holds: resident memory and file descriptors."""

    def __init__(self, **programs):
        self.programs = programs
        self.samples = []

    def take(self):
        self.samples.append({name: (rss_kib(program.process.pid), descriptors(program.process.pid))
                             for name, program in self.programs.items()})

    def text(self):
        first, last = self.samples[0], self.samples[-1]
        return ", ".join(f"{name} {first[name][0]} to {last[name][0]} KiB and {first[name][1]} to {last[name][1]} descriptors"
                         for name in self.programs)

    def check(self, sanitizer):
        """Flat: descriptors as at the beginning; memory may settle, but not grow with each round. An instrumented program keeps
        freed memory for a while, which says nothing."""
        first, last = self.samples[0], self.samples[-1]
        for name in self.programs:
            assert last[name][1] <= first[name][1] + 1, f"{name} holds more and more descriptors: {self.text()}"
            assert sanitizer or last[name][0] <= first[name][0] * 1.1 + 4096, f"{name} grows: {self.text()}"


def rss_kib(pid):
    return int(re.search(r"^VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE).group(1))


def descriptors(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


__all__ = ["FULL", "SEED", "SIGNATURE_NOT_MADE", "SIGNATURE_UNKNOWN", "Ledger", "PatientShop", "Relay", "ShopWithBus",
           "Vitals", "commands_aborted", "json_lines", "size", "stayed", "suite", "tse", "verify"]
