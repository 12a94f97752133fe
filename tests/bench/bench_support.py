"""What the benchmarks of this folder share. Each is a program of its own that prints one JSON object on standard output:

  {"bench": NAME, "machine": {...}, "definitions": {...}, "figures": {...}, "keys": {KEY: value}}

`keys` are the ratios that tests/bench/run judges; a benchmark that cannot measure one leaves it out and says why in
"missing": {KEY: reason}. Progress and complaints go to standard error.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
SOURCE = FOLDER.parents[1]
sys.path.insert(0, str(SOURCE / "tests/support"))
import chain  # noqa: E402


def arguments(description, **flags):
    """The options; `flags`: {name: help} of switches that only this benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", default=SOURCE / "build/release", type=pathlib.Path, help="a release build with target tillbridge_bench")
    parser.add_argument("--short", action="store_true", help="a few seconds, to see that it works; its figures say little")
    parser.add_argument("--verbose", action="store_true", help="what the programs print")
    for name, text in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    options = parser.parse_args()
    options.build = options.build.resolve()
    return options


def say(text):
    print(text, file=sys.stderr, flush=True)


def log(options):
    return (lambda line: say(f"  {line}")) if options.verbose else None


def machine(build):
    """What somebody needs to know who compares figures of two machines (ratios of one run need none of it)."""
    cpu = re.search(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cache = (build / "CMakeCache.txt").read_text()
    kind = re.search(r"^CMAKE_BUILD_TYPE:\w+=(.*)$", cache, re.MULTILINE)
    return {"cpu": cpu.group(1) if cpu else "unknown", "cores": os.cpu_count(), "kernel": os.uname().release,
            "build_type": kind.group(1) if kind else "", "load_at_start": os.getloadavg()[0]}


def finish(options, bench, definitions, figures, keys, missing=None):
    json.dump({"bench": bench, "short": options.short, "machine": machine(options.build), "definitions": definitions,
               "figures": figures, "keys": keys, "missing": missing or {}}, sys.stdout, indent=1)
    print(flush=True)


def relay(c, to_port, round_trip_ms, name):
    """A leg of this round-trip time, half of it in each direction; returns the program, with its `port`."""
    half_us = round(round_trip_ms * 1000 / 2)
    program = c.start(name, [c.build / "tests/bench/delay_relay", "--to", to_port, "--delay-us", half_us, "--back-us", half_us])
    program.port = int(program.wait_for(r"delay_relay on \S+:(\d+)").group(1))
    return program


def median(values):
    return statistics.median(values)


def medians(samples):
    """A list of dicts of numbers, taken under the same conditions one after another: the median of each number."""
    return {name: median([sample[name] for sample in samples if name in sample]) for name in samples[0]}


def cpu_s(pid):
    """CPU time of all threads of a process so far, in seconds; finer than the ticks of /proc/PID/stat."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            pass  # a thread that ended
    return total / 1e9


def pss_kib(pid):
    """Memory of a process, with its share of what it shares."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE).group(1))
