"""Sticks are pulled and plugged faster than anybody can follow: in the end everything works, and nothing has piled up.

Arguments: the build directory, then names of tests (none: all). See README.md for the full size."""

import random
import time

from fault_support import SEED, Vitals, json_lines, size
from chain_support import main

TILL = "kasse-01"
SERIALS = [f"5A2F0000000{number}" for number in range(1, 4)]
ROUNDS = size(1000, 40)


def test_sticks_are_pulled_and_plugged(c):
    c.certificates(TILL)
    extra, bench = c.test_bench()
    server = c.usb_server([{"kind": "mass-storage", "serial": serial, "size_mib": 8} for serial in SERIALS],
                          [{"stick": f"1209:0001:{serial}", "till": TILL} for serial in SERIALS], extra)
    terminal = c.terminal("--sink", "probe", "--json", "--probe-stay", "--probe-read", "0:64")
    client = c.client(terminal.port, c.till_config(TILL, server.port))
    wait_until_all_work(terminal)
    vitals, choice, began = Vitals(tillbridged=server, xfreerdp3=client, terminal=terminal), random.Random(SEED), time.monotonic()
    plugged = dict.fromkeys(SERIALS, True)
    for number in range(ROUNDS):
        serial = choice.choice(SERIALS)
        (bench.unplug if plugged[serial] else bench.plug)(serial)
        plugged[serial] = not plugged[serial]
        # Sometimes everybody has time to notice, mostly nobody has.
        time.sleep(choice.choice([0, 0, 0, 0.003, 0.01, 0.03, 0.1, 0.7]))
        if number in (ROUNDS // 4, ROUNDS - 1):  # like with like: all of them are there
            for away in [serial for serial in SERIALS if not plugged[serial]]:
                bench.plug(away)
                plugged[away] = True
            wait_until_all_work(terminal)
            vitals.take()
    took_s = time.monotonic() - began
    arrivals = sum(line["event"] == "device_arrived" for line in json_lines(terminal))
    print(f"    {ROUNDS} times pulled or plugged in {took_s:.1f} s, {arrivals} arrivals in the session; {vitals.text()}", flush=True)
    vitals.check(c.sanitizer)


def wait_until_all_work(terminal):
    """Each stick is in the session, and was read there since it came."""
    while True:
        mark, there = terminal.mark(), {}  # device: [label, works]
        for line in json_lines(terminal):
            if line["event"] == "device_arrived":
                there[line["device"]] = [line["label"], False]
            elif line["event"] == "device_gone":
                there.pop(line["device"], None)
            elif line["event"] == "probe" and line["success"]:
                for device in there.values():
                    device[1] |= device[0] == line["device"]
        if sorted(there.values()) == [[f"1209:0001 serial {serial}", True] for serial in SERIALS]:
            return
        terminal.wait_for('"event"', after=mark)


if __name__ == "__main__":
    main(globals())
