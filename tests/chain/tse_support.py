"""A shop with one simulated TSE: the USB server, a till, a session, and the POS in that session."""

import json
import subprocess

from chain_support import json_lines, tse

TILL, SERIAL, CLIENT = "kasse-01", "5A2F00000001", "KASSE-01"


class Shop:
    """tillbridge-pos sees the stick as the session's host stack does: through the whole chain."""

    usbip_port = 0      # any
    pos_arguments = ()  # of every run of the POS

    def __init__(self, c, kind, link="", way=lambda server: server.port, **options):
        """`link`: more of the server's [link]; `way`: the port at which the till finds it."""
        self.c, self.kind = c, kind
        c.certificates(TILL, "kasse-02")
        self.server = self.start_server(tse.stick(kind, SERIAL, **options), [{"stick": tse.stick_name(kind, SERIAL), "till": TILL}], link)
        self.terminal = c.terminal("--sink", "usbip", "--usbip-listen", f"127.0.0.1:{self.usbip_port}")
        self.client = c.client(self.terminal.port, c.till_config(TILL, way(self.server)))
        self.port = int(self.terminal.wait_for(r"listening for USB/IP clients on \S+:(\d+)").group(1))
        self.arrivals = 0
        self.wait_for_stick()
        self.pins = tse.pins_file(c.directory, kind)

    def start_server(self, stick, maps, link):
        """The simulated stick is in the server's own process."""
        extra, self.bench = self.c.test_bench()
        return self.c.usb_server([stick], maps, extra, link=link)

    def wait_for_stick(self):
        """The stick (again) in the session."""
        self.terminal.wait_for(r"can be imported as", after=self.arrivals)
        self.arrivals = next(i for i in range(self.arrivals, len(self.terminal.lines))
                             if "can be imported as" in self.terminal.lines[i]) + 1

    def unplug(self):
        """Returns when the session has no stick any more."""
        mark = self.terminal.mark()
        self.bench.unplug(SERIAL)
        self.terminal.wait_for(r"device \d+ gone", after=mark)

    def start_pos(self, *arguments):
        return self.c.pos("--usbip", f"127.0.0.1:{self.port}", "--pins", self.pins, *self.pos_arguments, *arguments)

    def pos(self, *arguments, expect=0):
        """Runs it to its end; returns its JSON lines."""
        program = self.start_pos(*arguments)
        code = program.wait()
        assert code == expect, f"tillbridge-pos {' '.join(map(str, arguments))} ended with {code}, expected {expect}:\n{program.text()}"
        return json_lines(program)

    def setup(self):
        return self.pos("setup", "--client", CLIENT)

    def receipts(self, count, **options):
        lines = self.pos("receipt", "--client", CLIENT, "--count", count, "--amount", "4.20", **options)
        return [line for line in lines if line["event"] == "receipt"]

    def export(self, name="export.tar"):
        """Exported through the chain and verified by both checkers; returns (archive, our report)."""
        archive = self.c.directory / name
        self.pos("export", archive, "--force")
        tse.verify_independently(archive)
        return archive, verify(self.c, archive)

    def witness(self):
        return self.bench.witness(SERIAL)


def verify(c, archive, good=True):
    """Our own checker, by the program."""
    result = subprocess.run([c.build / "pos/tillbridge-pos", "--json", "verify", archive], text=True, stdout=subprocess.PIPE,
                            env=c.environment())
    assert result.returncode == (0 if good else 1), result.stdout
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return next(line for line in lines if line["event"] == "verify") | {
        "findings": [line["finding"] for line in lines if line["event"] == "finding" and line["bad"]]}
