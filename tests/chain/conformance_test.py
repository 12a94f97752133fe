"""The conformance cases over a real RDP connection: tillbridge-terminal plays the server of each, in front of a real xfreerdp3
with the plugin, tillbridged and a simulated OSR USB-FX2 board. What came out stays in the build directory for
tests/conformance/summary."""

import json
import time

from chain_support import chain, json_lines, main

MICROSOFT_CASES = 29
BOARD = {"kind": "osr-fx2", "serial": "FX2000000001", "flip_every_ms": 20}
MAP = {"stick": "0547:1002:FX2000000001", "till": "kasse-01"}
ALLOW = '[[allow]]\ndevice = "0547:1002"\n'


def board(c, extra="", **changes):
    """A server with the board; returns the till's configuration."""
    c.certificates("kasse-01")
    server = c.usb_server([{**BOARD, **changes}], [MAP], extra=ALLOW + extra)
    return c.till_config("kasse-01", server.port)


def conformance(c, *arguments):
    return c.terminal("--sink", "conformance", "--json", *arguments)


def verdicts(terminal):
    return {line["case"]: line for line in json_lines(terminal) if line["event"] == "case"}


def test_every_case(c):
    results = c.build / "tests/conformance" / ("over_rdp.jsonl" if c.freerdp == 3 else f"over_rdp_freerdp{c.freerdp}.jsonl")
    results.parent.mkdir(parents=True, exist_ok=True)
    results.unlink(missing_ok=True)  # those of an earlier run say nothing about this one
    config = board(c)
    terminal = conformance(c, "--cases", "all", "--case-silence", "50")
    began = time.monotonic()
    c.client(terminal.port, config)
    code = terminal.wait(240)
    cases = verdicts(terminal)
    results.write_text("".join(json.dumps(line) + "\n" for line in cases.values()))
    print(f"{len(cases)} cases in {time.monotonic() - began:.1f} s")
    for case in cases.values():
        assert case["verdict"] == "passed", case["text"]
    assert sum(case["microsoft"] for case in cases.values()) == MICROSOFT_CASES, sorted(cases)
    assert code == 0, terminal.text()


def test_one_case_for_each_session(c):
    """For clients that do not start anew on a second control channel: each has to connect for its case."""
    config = board(c)
    wanted = ["BVT_EUSB_OperateIo_TransferIn", "S3_EUSB_OperateIo_OSRFX2_BargraphDisplay"]
    terminal = conformance(c, "--cases", ",".join(wanted), "--cases-per-session", "1", "--case-silence", "50")
    for number in range(len(wanted)):
        c.client(terminal.port, config, name=f"xfreerdp3-{number}").wait()
    assert terminal.wait() == 0, terminal.text()
    assert {case["case"]: case["session"] for case in verdicts(terminal).values()} == dict(zip(wanted, (1, 2)))


def test_a_client_that_dies_fails_its_case_and_the_next_one_goes_on(c):
    """Nobody touches the switches, so the first case waits for them as long as the client lives."""
    config = board(c, flip_every_ms=0)
    transcript = c.directory / "transcript"
    terminal = conformance(c, "--cases", "S3_EUSB_OperateIo_OSRFX2_InterruptIn,BVT_EUSB_OperateIo_TransferIn",
                           "--case-silence", "2000", "--transcript", transcript)
    client = c.client(terminal.port, config)
    deadline = time.monotonic() + chain.PATIENCE_S
    while not transcript.exists() or "BULK_OR_INTERRUPT_TRANSFER" not in transcript.read_text():
        assert time.monotonic() < deadline, terminal.text()
        time.sleep(0.05)
    client.kill()
    terminal.wait_for("session_closed")
    c.client(terminal.port, config, name="xfreerdp3-2")
    assert terminal.wait() == 1, terminal.text()
    cases = verdicts(terminal)
    assert cases["S3_EUSB_OperateIo_OSRFX2_InterruptIn"]["verdict"] == "failed", terminal.text()
    assert cases["BVT_EUSB_OperateIo_TransferIn"]["verdict"] == "passed", terminal.text()


def test_the_switches_are_flipped_by_hand(c):
    """The case is content with a board that nobody touches; here the bytes have to come, each of them one of ours."""
    extra, bench = c.test_bench()
    config = board(c, extra=extra, flip_every_ms=0)
    transcript = c.directory / "transcript"
    terminal = conformance(c, "--cases", "S3_EUSB_OperateIo_OSRFX2_InterruptIn", "--case-silence", "2000",
                           "--transcript", transcript, "--transcript-data")
    c.client(terminal.port, config)
    position = 0
    while terminal.process.poll() is None and position < 255:
        position += 1
        bench.say(f"switches {BOARD['serial']} {position}")
        time.sleep(0.1)
    assert terminal.wait() == 0, terminal.text()
    messages = [json.loads(line) for line in transcript.read_text().splitlines()]
    assert not any(message.get("message") == "CANCEL_REQUEST" for message in messages), "no switch was seen"


def test_a_client_without_usb_redirection_is_told_apart_from_a_good_one(c):
    terminal = conformance(c, "--exit-after-session", "1", "--case-timeout", "2")
    c.client(terminal.port)
    assert terminal.wait() == 1, terminal.text()
    assert not any(case["verdict"] == "passed" for case in verdicts(terminal).values()), terminal.text()


if __name__ == "__main__":
    main(globals())
