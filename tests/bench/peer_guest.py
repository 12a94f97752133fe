#!/usr/bin/env python3
"""The guest's half of peer_bench: a stock Debian kernel under QEMU, whose own USB/IP client (usbip attach, vhci-hcd) and own
class driver (usb-storage, sd) read from sticks that are exported outside. Every leg is a port outside, so that the kernel and all that
is emulated is the same for whatever is behind it."""

import glob
import json
import mmap
import os
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import guest  # noqa: E402
import guest_side  # noqa: E402

OUTSIDE = "10.0.2.2"  # what QEMU's user network calls the machine's loopback
NETWORK = ["-netdev", "user,id=net0,ipv6=off", "-device", "virtio-net-pci,netdev=net0,romfile="]
BLOCK, SPAN = 4 << 10, 128 << 10
PATIENCE_S = 120


# --- in the guest

def run(*command):
    result = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, f"{' '.join(command)}: {result.stdout}"
    return result.stdout


def network():
    run("modprobe", "virtio_net")
    run("udevadm", "settle")
    name = next(os.path.basename(path) for path in glob.glob("/sys/class/net/*") if os.path.exists(path + "/device"))
    run("ip", "address", "add", "10.0.2.15/24", "dev", name)
    run("ip", "link", "set", name, "up")


def disks():
    return {os.path.basename(path) for path in glob.glob("/sys/block/sd*") if int(pathlib.Path(path, "size").read_text()) > 0}


def attach(leg):
    """The stock client's way, as an administrator would do it; returns the disk."""
    before = disks()
    run("usbip", "--tcp-port", str(leg["port"]), "attach", "-r", OUTSIDE, "-b", leg["busid"])
    deadline = time.monotonic() + PATIENCE_S
    while not disks() - before:
        assert time.monotonic() < deadline, f"no disk from {leg['name']}:\n" + run("dmesg")[-2000:]
        time.sleep(0.05)
    run("udevadm", "settle")  # whoever looks at a new disk has looked
    return "/dev/" + (disks() - before).pop()


class Disk:
    """Reads and writes past every cache of the kernel."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.buffer = mmap.mmap(-1, BLOCK)
        for offset in range(0, SPAN, BLOCK):
            self.buffer[:] = self.pattern(offset)
            os.pwrite(self.file, self.buffer, offset)

    @staticmethod
    def pattern(offset):
        return offset.to_bytes(8, "little") * (BLOCK // 8)

    def reads(self, count):
        """Times of so many reads, one after the other, us."""
        times = []
        for index in range(count):
            offset = index * BLOCK % SPAN
            began = time.perf_counter_ns()
            got = os.preadv(self.file, [self.buffer], offset)
            times.append((time.perf_counter_ns() - began) // 1000)
            assert got == BLOCK and self.buffer[:] == self.pattern(offset), f"a read at {offset} brought something else"
        return times


def inside():
    plan = json.loads(guest_side.ask("plan"))
    network()
    run("modprobe", "usb_storage", "delay_use=0")
    run("modprobe", "sd_mod")
    run("modprobe", "vhci_hcd")
    opened = {}
    for leg in plan["legs"]:
        opened[leg["name"]] = Disk(attach(leg))
        guest_side.note(f"{leg['name']} is attached")
    for turn in range(plan["turns"]):
        legs = plan["legs"] if turn % 2 == 0 else list(reversed(plan["legs"]))
        for leg in legs:
            guest_side.ask(f"measured {leg['name']} {json.dumps(opened[leg['name']].reads(leg['reads']))}")


# --- outside

def measure(legs, turns, directory, log, timeout_s):
    """legs: [{"name", "port", "busid", "reads"}], read from in turn, `turns` times over; {name: [times of one turn in us]}."""
    times = {leg["name"]: [] for leg in legs}

    def measured(text):
        name, _, values = text.partition(" ")
        times[name].append(json.loads(values))
        log(f"{name}: {statistics.median(times[name][-1]) / 1000:.2f} ms")

    command = f"/usr/bin/python3 {pathlib.Path(__file__).resolve()} in-guest"
    answers = {"plan": lambda _: json.dumps({"legs": legs, "turns": turns}), "measured": measured}
    guest.Guest(command, NETWORK, answers, directory, log).run(timeout_s)
    return times


if __name__ == "__main__":
    guest_side.main(inside)
