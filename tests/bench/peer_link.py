"""peer_bench's comparisons of the link leg alone: stock Linux usbip in the guest, usbredir in user space."""

import json
import re
import subprocess

import bench_support as bench
from bench_support import chain, median, say
import guest
import peer_guest

STICK, SIZE_MIB = "1209:0001", 16
# Name and length in ms. Without a relay there is no leg at all, not even the time that a relay of 0 ms takes.
LEGS = {"no_relay": None, "0_ms": 0, "5_ms": 5, "20_ms": 20}

DEFINITIONS = {
    "guest.usbip": "a stock kernel's USB/IP client (usbip attach, vhci-hcd) attaches to tillbridged's plain USB/IP; the leg is between them",
    "guest.ours": "the same kernel attaches to a till without RDP (peer_till: the plugin's uplink, import and pipeline), with the same leg over TLS between till and tillbridged",
    "user_space.ours": "BulkOnlyHost (command block, data, status, one after the other) on the plugin's uplink, import and pipeline; the leg, over TLS, between it and tillbridged",
    "user_space.ours_port": "the same behind peer_till's port, as in the guest",
    "user_space.usbip": "BulkOnlyHost on a plain USB/IP import without pipeline; the leg between it and tillbridged",
    "user_space.usbredir": "BulkOnlyHost on usbredir's own parser library; the leg between it and usbredir's host library, whose libusb is the simulated stick",
    "guest.*, user_space.*": "time of a read of 4 KiB, one after the other; in the guest from /dev/sdX with O_DIRECT",
    "no_relay": "without a leg: what is at its ends is connected directly, over loopback; 0_ms has a relay without delay",
    "round_trips": "how many times the leg's length a read takes longer than at 0 ms",
    "link_vs_*": "time of a read of the other / ours; every row of reads has the other's next to it, in turn; the median of their ratios",
}


def note(options):
    return bench.log(options) or (lambda line: None)


def shape_environment(build, serial, size_mib):
    """For a program that is to find the simulated stick when it looks for USB devices."""
    return {"LD_LIBRARY_PATH": str(build / "tests/bench/libusb_shape"), "TILLBRIDGE_SHAPE_SERIAL": serial,
            "TILLBRIDGE_SHAPE_SIZE_MIB": str(size_mib)}


def check_shape(build, *programs):
    """A program that calls more of libusb than there is would die at the first such call, in the middle of a run."""
    def functions(path, which):
        table = subprocess.run(["nm", "-D", which, path], check=True, text=True, stdout=subprocess.PIPE).stdout
        return set(re.findall(r"\b(libusb_\w+)", table))

    present = functions(build / "tests/bench/libusb_shape/libusb-1.0.so.0", "--defined-only")
    for program in programs:
        wanted = functions(program, "--undefined-only")
        assert wanted, f"{program} was built without USB"
        assert wanted <= present, f"libusb_shape lacks {', '.join(sorted(wanted - present))}, which {program} calls"


def leg_to(c, port, leg, name):
    """The port of its near end."""
    return port if LEGS[leg] is None else bench.relay(c, port, LEGS[leg], f"{name}, {leg}").port


class Legs:
    """A tillbridged, and in front of it for each side every leg, with a stick of its own. `tills`: sides that have a till; `usbip`:
    sides that import over plain USB/IP."""

    def __init__(self, c, tills, usbip):
        self.c, sides = c, [*tills, *usbip]
        c.certificates(*[self.till(side, leg) for side in tills for leg in LEGS])
        pairs = [(side, leg) for side in sides for leg in LEGS]
        self.serials = {pair: f"5A2F{number:08X}" for number, pair in enumerate(pairs, 1)}
        self.server = c.usb_server(
            [{"kind": "mass-storage", "serial": serial, "size_mib": SIZE_MIB, "sample_files": False} for serial in self.serials.values()],
            [{"stick": f"{STICK}:{serial}", "till": self.till(side, leg) if side in tills else "usbip:127.0.0.1"}
             for (side, leg), serial in self.serials.items()],
            '[usbip]\nlisten = "127.0.0.1:0"')
        usbip_port = int(self.server.wait_for(r"listening for plain USB/IP on \S+:(\d+)").group(1))
        self.ports = {(side, leg): leg_to(c, self.server.port if side in tills else usbip_port, leg, side) for side, leg in pairs}

    @staticmethod
    def till(side, leg):
        return f"{side}-{leg}".replace("_", "-")

    def busid(self, side, leg):
        return f"{STICK}:{self.serials[side, leg]}"

    def till_config(self, side, leg):
        return self.c.till_config(self.till(side, leg), self.ports[side, leg])

    def usbip_config(self, name, port, busid):
        return self.c.file(f"{name}.toml", f'[usbip]\nhost = "127.0.0.1"\nport = {port}\nbusid = "{busid}"\npipeline = "off"\n')

    def peer_till(self, side, leg):
        """A till without RDP, at the end of that leg: the program, with the `port` of its USB/IP."""
        till = self.c.start(f"peer_till, {leg}", [self.c.build / "tests/bench/peer_till", self.till_config(side, leg)])
        till.port = int(till.wait_for(r"peer_till on \S+:(\d+)").group(1))
        return till


PEER_TILL_BUSID = "1-1"  # it has one stick, and takes any name for it


def end_peer_till(till):
    till.stop()
    told = till.wait_for(r"(\d+) commands, (\d+) through the pipeline")
    assert told[1] == told[2], f"the pipeline did not carry what it should: {told.string}"


def compared(rows, sides):
    """Per leg: each side's median and the round trips it makes, and the others' times over ours. `rows`: {(side, leg): [times of one
    turn in us]}."""
    p50_us = {pair: median([time for row in its_rows for time in row]) for pair, its_rows in rows.items()}

    def over_ours(side, leg):
        return median([median(theirs) / median(ours) for theirs, ours in zip(rows[side, leg], rows["ours", leg])])

    result = {}
    for leg, ms in LEGS.items():
        result[leg] = {"p50_us": {side: p50_us[side, leg] for side in sides},
                       "over_ours": {side: over_ours(side, leg) for side in sides if side != "ours"}}
        if ms:
            result[leg]["round_trips"] = {side: (p50_us[side, leg] - p50_us[side, "0_ms"]) / (ms * 1000) for side in sides}
    return result


def keys_against(side, figures):
    return {f"link_vs_{side}_{ms}": figures[leg]["over_ours"][side] for leg, ms in LEGS.items() if ms is not None}


def missing_against(side, why):
    return {f"link_vs_{side}_{ms}": why for ms in LEGS.values() if ms is not None}


def reads_in_a_row(options, at_once, at_5, at_20):
    if options.short:
        return dict.fromkeys(LEGS, 4)
    return {leg: at_once if not ms else {5: at_5, 20: at_20}[ms] for leg, ms in LEGS.items()}


def in_guest(options):
    """(figures, keys, missing)"""
    if options.short and not options.guest:
        return {}, {}, missing_against("usbip", "short mode boots no guest unless asked (--guest)")
    sides, turns, reads = ["usbip", "ours"], 1 if options.short else 12, reads_in_a_row(options, 50, 10, 5)
    with chain.Chain(options.build, bench.log(options)) as c:
        legs = Legs(c, ["ours"], ["usbip"])
        tills, plan = [], []
        for leg in LEGS:
            tills.append(legs.peer_till("ours", leg))
            plan.append({"name": f"usbip:{leg}", "port": legs.ports["usbip", leg], "busid": legs.busid("usbip", leg), "reads": reads[leg]})
            plan.append({"name": f"ours:{leg}", "port": tills[-1].port, "busid": PEER_TILL_BUSID, "reads": reads[leg]})
        say("peer_bench: stock usbip in the guest")
        try:
            rows = peer_guest.measure(plan, turns, c.directory, note(options), timeout_s=600)
        except guest.GuestUnavailable as why:
            return {}, {}, missing_against("usbip", f"no QEMU guest can run here: {why}")
        for till in tills:
            end_peer_till(till)
    figures = compared({(side, leg): rows[f"{side}:{leg}"] for side in sides for leg in LEGS}, sides)
    return figures, keys_against("usbip", figures), {}


class Load:
    """One of the programs of peer_load.hpp, which says one JSON object a line."""

    def __init__(self, c, name, command):
        self.name, self.log = name, c.directory / f"{name}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                            env=c.environment())

    def hear(self):
        line = self.process.stdout.readline()
        assert line, f"{self.name} ended with {self.process.wait(10)}:\n{self.log.read_text()}"
        return json.loads(line)

    def read(self, count):
        self.process.stdin.write(f"read {count}\n")
        self.process.stdin.flush()
        return self.hear()["us"]

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def usbredir_port(c, leg):
    """usbredir's host end with a stick of its own, behind that leg."""
    host = c.start(f"usbredir host, {leg}", [c.build / "tests/bench/peer_usbredir_host"],
                   {**c.environment(), **shape_environment(c.build, "5A2F0000FFFF", SIZE_MIB)})
    return leg_to(c, int(host.wait_for(r"peer_usbredir_host on \S+:(\d+)").group(1)), leg, "usbredir")


def in_user_space(options):
    """(figures, keys, missing)"""
    turns, reads = 1 if options.short else 12, reads_in_a_row(options, 300, 20, 8)
    sides, missing = ["ours", "ours_port", "usbip", "usbredir"], {}
    if not (options.build / "tests/bench/peer_usbredir_host").exists():
        sides.remove("usbredir")
        missing = missing_against("usbredir", "libusbredirhost-dev was not installed when this was built")
    rows = {(side, leg): [] for side in sides for leg in LEGS}
    with chain.Chain(options.build, bench.log(options)) as c:
        legs = Legs(c, ["ours", "ours_port"], ["usbip"])
        tills = {leg: legs.peer_till("ours_port", leg) for leg in LEGS}
        link_load, usbredir_load = c.build / "tests/bench/peer_link_load", c.build / "tests/bench/peer_usbredir_load"
        command = {
            "ours": lambda leg: [link_load, legs.till_config("ours", leg)],
            "ours_port": lambda leg: [link_load, legs.usbip_config(f"port-{leg}", tills[leg].port, PEER_TILL_BUSID)],
            "usbip": lambda leg: [link_load, legs.usbip_config(f"usbip-{leg}", legs.ports["usbip", leg], legs.busid("usbip", leg))],
            "usbredir": lambda leg: [usbredir_load, str(usbredir_port(c, leg))]}
        loads = {}
        try:
            for side, leg in rows:
                loads[side, leg] = Load(c, f"{side}, {leg}", command[side](leg))
            for load in loads.values():
                assert load.hear() == {"ready": True}, load.name
            say("peer_bench: the link leg in user space")
            for turn in range(turns):
                for leg in LEGS:
                    for side in sides if turn % 2 == 0 else reversed(sides):
                        rows[side, leg].append(loads[side, leg].read(reads[leg]))
                        note(options)(f"{side}, {leg}: {median(rows[side, leg][-1])} us")
        finally:
            for load in loads.values():
                load.stop()
        for till in tills.values():
            end_peer_till(till)
    figures = compared(rows, sides)
    return figures, keys_against("usbredir", figures) if "usbredir" in sides else {}, missing
