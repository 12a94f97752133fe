"""The network between till and USB server breaks while the session reads its stick: it sees a slow stick, nothing else.

Arguments: the build directory, then names of tests (none: all). TILLBRIDGE_SEED chooses another sequence of cuts; see README.md
for the full size."""

import pathlib
import sys

from fault_support import SEED, suite
from chain_support import BLOCK, image, json_lines, main, sha256

STICK = {"kind": "mass-storage", "serial": "5A2F00000001"}
MAP = {"stick": "1209:0001:5A2F00000001", "till": "kasse-01"}
READ_BYTES = 16 << 20


def read_through(c, *relay_arguments, link=""):
    """Reads READ_BYTES through a relay; returns (USB server, terminal server, client, relay) when the session is over."""
    c.certificates("kasse-01")
    path = image(c, "stick.img", 32)
    server = c.usb_server([{**STICK, "image": path}], [MAP], link=link)
    relay = c.start("relay", [sys.executable, pathlib.Path(__file__).with_name("relay.py"), "--to", server.port, *relay_arguments])
    relay.stop = relay.kill
    port = int(relay.wait_for(r"relay on 127.0.0.1:(\d+)").group(1))
    terminal = c.terminal("--sink", "probe", "--json", "--exit-after-session", "1", "--probe-read", f"0:{READ_BYTES // BLOCK}",
                          "--probe-sha256", sha256(path.read_bytes()[:READ_BYTES]))
    client = c.client(terminal.port, c.till_config("kasse-01", port))
    assert terminal.wait() == 0, f"{terminal.text()}\n{client.text()}\n{server.text(60)}"
    server.wait_for("lease ended")
    return server, terminal, client, relay


def nothing_but_slow(server, terminal):
    events = [line["event"] for line in json_lines(terminal)]
    assert events.count("device_arrived") == 1, f"the device was enumerated again: {events}"
    assert sum("lease begun" in line for line in server.lines) == 1, server.text()


def test_cuts_all_the_time(c):
    """The TCP connection breaks every 50 to 500 ms, in four ways."""
    server, terminal, client, relay = read_through(c, "--seed", SEED, "--cut-ms", "50:500")
    nothing_but_slow(server, terminal)
    cuts = sum(line.startswith("cut ") for line in relay.lines)
    resumed = sum("goes on with its session" in line for line in server.lines)
    print(f"    seed {SEED}: {cuts} cuts, {resumed} resumed, {terminal.times[-1] - terminal.started:.1f} s", flush=True)
    assert cuts >= 1 and resumed >= 1, relay.text()


def test_a_black_hole_in_the_middle_of_a_read(c):
    """Nothing passes for 7.5 s: both ends give the connection up after 6 s, and the read goes on afterwards."""
    server, terminal, client, relay = read_through(c, "--hole-after", 4 << 20, "--hole-s", "7.5")
    nothing_but_slow(server, terminal)
    relay.wait_for("hole begins")
    server.wait_for("connection lost")
    server.wait_for("goes on with its session")
    client.wait_for("its sticks wait for up to 60 s")


def test_longer_than_the_grace_time(c):
    """The stick leaves the session and comes back when the network does; the read of then fails, the probe says so."""
    c.certificates("kasse-01")
    server = c.usb_server([{**STICK, "image": image(c, "stick.img", 32)}], [MAP], link="resume_grace_s = 1")
    relay = c.start("relay", [sys.executable, pathlib.Path(__file__).with_name("relay.py"), "--to", server.port,
                              "--hole-after", 4 << 20, "--hole-s", "9"])
    relay.stop = relay.kill
    port = int(relay.wait_for(r"relay on 127.0.0.1:(\d+)").group(1))
    terminal = c.terminal("--sink", "probe", "--json", "--probe-stay", "--probe-read", f"0:{READ_BYTES // BLOCK}")
    client = c.client(terminal.port, c.till_config("kasse-01", port))
    terminal.wait_for("device_gone")
    client.wait_for("its sticks are given up")
    server.wait_for("is given up: it did not come back within 1 s")
    mark = terminal.mark()
    terminal.wait_for("device_arrived")
    terminal.wait_for('"event":"probe".*good', after=mark)


if __name__ == "__main__":
    # In the suite receipts_test has such holes, with a POS.
    main(suite(globals(), "test_a_black_hole_in_the_middle_of_a_read", "test_longer_than_the_grace_time"))
