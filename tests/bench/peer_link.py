"""peer_bench's comparisons of the link leg alone: stock Linux usbip in the guest, usbredir in user space."""

import json
import re
import subprocess

import bench_support as bench
from bench_support import chain, median, say
import guest
import peer_guest

STICK, SIZE_MIB = "1209:0001", 16
LEGS_MS = (0, 5, 20)
SHORT_READS = {0: 4, 5: 4, 20: 4}  # by length of the leg

DEFINITIONS = {
    "guest.usbip": "a stock kernel's USB/IP client (usbip attach, vhci-hcd) attaches to tillbridged's plain USB/IP; the leg is between them",
    "guest.ours": "the same kernel attaches to a till without RDP (peer_till: the plugin's uplink, import and pipeline), with the same leg over TLS between till and tillbridged",
    "user_space.ours": "BulkOnlyHost (command block, data, status, one after the other) on the plugin's uplink, import and pipeline; the leg, over TLS, between it and tillbridged",
    "user_space.ours_port": "the same behind peer_till's port, as in the guest",
    "user_space.usbip": "BulkOnlyHost on a plain USB/IP import without pipeline; the leg between it and tillbridged",
    "user_space.usbredir": "BulkOnlyHost on usbredir's own parser library; the leg between it and usbredir's host library, whose libusb is the simulated stick",
    "guest.*, user_space.*": "time of a read of 4 KiB, one after the other; in the guest from /dev/sdX with O_DIRECT",
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


class Legs:
    """A tillbridged, and in front of it for each side a leg of each length and a stick of its own. `tills`: sides that have a till;
    `usbip`: sides that import over plain USB/IP."""

    def __init__(self, c, tills, usbip):
        self.c, sides = c, [*tills, *usbip]
        c.certificates(*[self.till(side, ms) for side in tills for ms in LEGS_MS])
        self.serials = {(side, ms): f"5A2F{number:04X}{ms:04X}" for number, side in enumerate(sides) for ms in LEGS_MS}
        self.server = c.usb_server(
            [{"kind": "mass-storage", "serial": serial, "size_mib": SIZE_MIB, "sample_files": False} for serial in self.serials.values()],
            [{"stick": f"{STICK}:{serial}", "till": self.till(side, ms) if side in tills else "usbip:127.0.0.1"}
             for (side, ms), serial in self.serials.items()],
            '[usbip]\nlisten = "127.0.0.1:0"')
        usbip_port = int(self.server.wait_for(r"listening for plain USB/IP on \S+:(\d+)").group(1))
        self.ports = {(side, ms): bench.relay(c, self.server.port if side in tills else usbip_port, ms, f"{side}, {ms} ms").port
                      for side in sides for ms in LEGS_MS}

    @staticmethod
    def till(side, ms):
        return f"{side.replace('_', '-')}-{ms:02d}"

    def busid(self, side, ms):
        return f"{STICK}:{self.serials[side, ms]}"

    def till_config(self, side, ms):
        return self.c.till_config(self.till(side, ms), self.ports[side, ms])

    def usbip_config(self, name, port, busid):
        return self.c.file(f"{name}.toml", f'[usbip]\nhost = "127.0.0.1"\nport = {port}\nbusid = "{busid}"\npipeline = "off"\n')

    def peer_till(self, side, ms):
        """A till without RDP, at the end of that leg: the program, with the `port` of its USB/IP."""
        till = self.c.start(f"peer_till of {ms} ms", [self.c.build / "tests/bench/peer_till", self.till_config(side, ms)])
        till.port = int(till.wait_for(r"peer_till on \S+:(\d+)").group(1))
        return till


PEER_TILL_BUSID = "1-1"  # it has one stick, and takes any name for it


def end_peer_till(till):
    till.stop()
    told = till.wait_for(r"(\d+) commands, (\d+) through the pipeline")
    assert told[1] == told[2], f"the pipeline did not carry what it should: {told.string}"


def compared(rows, sides):
    """Per length of the leg: each side's median and the round trips it makes, and the others' times over ours. `rows`:
    {(side, ms): [times of one turn in us]}."""
    p50_us = {key: median([time for row in its_rows for time in row]) for key, its_rows in rows.items()}

    def over_ours(side, ms):
        return median([median(theirs) / median(ours) for theirs, ours in zip(rows[side, ms], rows["ours", ms])])

    result = {}
    for ms in LEGS_MS:
        result[f"{ms}_ms"] = {
            "p50_us": {side: p50_us[side, ms] for side in sides},
            "over_ours": {side: over_ours(side, ms) for side in sides if side != "ours"},
            **({"round_trips": {side: (p50_us[side, ms] - p50_us[side, 0]) / (ms * 1000) for side in sides}} if ms else {})}
    return result


def in_guest(options):
    """(figures, keys, missing)"""
    names = {ms: f"link_vs_usbip_{ms}" for ms in LEGS_MS}
    if options.short and not options.guest:
        return {}, {}, {name: "short mode boots no guest unless asked (--guest)" for name in names.values()}
    sides = ("usbip", "ours")
    turns, reads = (1, SHORT_READS) if options.short else (12, {0: 30, 5: 10, 20: 5})
    with chain.Chain(options.build, bench.log(options)) as c:
        legs = Legs(c, ["ours"], ["usbip"])
        tills = {ms: legs.peer_till("ours", ms) for ms in LEGS_MS}
        plan = []
        for ms in LEGS_MS:
            plan.append({"name": f"usbip {ms}", "port": legs.ports["usbip", ms], "busid": legs.busid("usbip", ms), "reads": reads[ms]})
            plan.append({"name": f"ours {ms}", "port": tills[ms].port, "busid": PEER_TILL_BUSID, "reads": reads[ms]})
        say("peer_bench: stock usbip in the guest")
        try:
            rows = peer_guest.measure(plan, turns, c.directory, note(options), timeout_s=600)
        except guest.GuestUnavailable as why:
            return {}, {}, {name: f"no QEMU guest can run here: {why}" for name in names.values()}
        for till in tills.values():
            end_peer_till(till)
    figures = compared({(side, ms): rows[f"{side} {ms}"] for side in sides for ms in LEGS_MS}, sides)
    return figures, {names[ms]: figures[f"{ms}_ms"]["over_ours"]["usbip"] for ms in LEGS_MS}, {}


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


def usbredir_leg(c, ms):
    """usbredir's host end with a stick of its own, and the leg to it: the port."""
    environment = {**c.environment(), **shape_environment(c.build, f"5A2FFFFF{ms:04X}", SIZE_MIB)}
    host = c.start(f"usbredir host of {ms} ms", [c.build / "tests/bench/peer_usbredir_host"], environment)
    port = int(host.wait_for(r"peer_usbredir_host on \S+:(\d+)").group(1))
    return bench.relay(c, port, ms, f"usbredir, {ms} ms").port


def in_user_space(options):
    """(figures, keys, missing)"""
    turns, reads = (1, SHORT_READS) if options.short else (12, {0: 300, 5: 20, 20: 8})
    sides, missing = ["ours", "ours_port", "usbip", "usbredir"], {}
    if not (options.build / "tests/bench/peer_usbredir_host").exists():
        sides.remove("usbredir")
        missing = {f"link_vs_usbredir_{ms}": "libusbredirhost-dev was not installed when this was built" for ms in LEGS_MS}
    rows = {(side, ms): [] for side in sides for ms in LEGS_MS}
    with chain.Chain(options.build, bench.log(options)) as c:
        legs = Legs(c, ["ours", "ours_port"], ["usbip"])
        tills = {ms: legs.peer_till("ours_port", ms) for ms in LEGS_MS}
        link_load, usbredir_load = c.build / "tests/bench/peer_link_load", c.build / "tests/bench/peer_usbredir_load"
        command = {
            "ours": lambda ms: [link_load, legs.till_config("ours", ms)],
            "ours_port": lambda ms: [link_load, legs.usbip_config(f"port-{ms}", tills[ms].port, PEER_TILL_BUSID)],
            "usbip": lambda ms: [link_load, legs.usbip_config(f"usbip-{ms}", legs.ports["usbip", ms], legs.busid("usbip", ms))],
            "usbredir": lambda ms: [usbredir_load, str(usbredir_leg(c, ms))]}
        loads = {}
        try:
            for side, ms in rows:
                loads[side, ms] = Load(c, f"{side} of {ms} ms", command[side](ms))
            for load in loads.values():
                assert load.hear() == {"ready": True}, load.name
            say("peer_bench: the link leg in user space")
            for turn in range(turns):
                for ms in LEGS_MS:
                    for side in sides if turn % 2 == 0 else reversed(sides):
                        rows[side, ms].append(loads[side, ms].read(reads[ms]))
                        note(options)(f"{side}, {ms} ms: {median(rows[side, ms][-1])} us")
        finally:
            for load in loads.values():
                load.stop()
        for till in tills.values():
            end_peer_till(till)
    figures = compared(rows, sides)
    if "usbredir" not in sides:
        return figures, {}, missing
    return figures, {f"link_vs_usbredir_{ms}": figures[f"{ms}_ms"]["over_ours"]["usbredir"] for ms in LEGS_MS}, {}
