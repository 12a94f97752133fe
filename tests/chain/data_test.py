"""What the session reads is what is on the stick, and what it writes is on the stick afterwards."""

import json
import os
import random

from chain_support import BLOCK, image, json_lines, main, sha256

STICK = {"kind": "mass-storage", "serial": "5A2F00000001"}
READ_BYTES, WRITE_BYTES, WRITE_BLOCK = 16 << 20, 1 << 20, 70000


def run_probe(c, stick, *probe, pipeline="on"):
    """One session that probes the stick and ends; returns the terminal server."""
    c.certificates("kasse-01")
    server = c.usb_server([stick], [{"stick": f"1209:0001:{stick['serial']}", "till": "kasse-01", "pipeline": pipeline}])
    terminal = c.terminal("--sink", "probe", "--json", "--exit-after-session", "1", *probe)
    till = c.till_config("kasse-01", server.port)
    till.write_text(till.read_text() + '[log]\nlevel = "info"\n')
    client = c.client(terminal.port, till)
    assert terminal.wait() == 0, terminal.text()
    server.wait_for("lease ended")
    if pipeline == "on":
        told = client.wait_for(r"(\d+) commands, (\d+) through the pipeline")
        assert int(told[2]) >= int(told[1]) - 1 > 0, told[0]
    return terminal


def test_without_the_pipeline(c):
    """The same data one transfer at a time, as the mapping may ask for."""
    path = image(c, "stick.img", 64)
    before = path.read_bytes()
    written = c.directory / "written.bin"
    written.write_bytes(random.Random(6).randbytes(WRITE_BYTES))
    run_probe(c, {**STICK, "image": path}, "--probe-read", f"0:{(4 << 20) // BLOCK}", "--probe-sha256", sha256(before[:4 << 20]),
              "--probe-write", f"{written}@{WRITE_BLOCK}", pipeline="off")
    at = WRITE_BLOCK * BLOCK
    assert path.read_bytes()[at:at + WRITE_BYTES] == written.read_bytes(), "what was written is not on the stick"


def test_16_mib_read_and_1_mib_written(c):
    path = image(c, "stick.img", 64)
    before = path.read_bytes()
    written = c.directory / "written.bin"
    written.write_bytes(random.Random(5).randbytes(WRITE_BYTES))
    run_probe(c, {**STICK, "image": path},
              "--probe-read", f"0:{READ_BYTES // BLOCK}", "--probe-sha256", sha256(before[:READ_BYTES]),
              "--probe-write", f"{written}@{WRITE_BLOCK}")
    at = WRITE_BLOCK * BLOCK
    after = path.read_bytes()
    assert after[at:at + WRITE_BYTES] == written.read_bytes(), "what was written is not on the stick"
    assert after[:at] == before[:at] and after[at + WRITE_BYTES:] == before[at + WRITE_BYTES:], "other blocks changed"


def test_a_wrong_digest_is_noticed(c):
    """The probe's own check must be able to fail."""
    path = image(c, "stick.img", 8)
    c.certificates("kasse-01")
    server = c.usb_server([{**STICK, "image": path}], [{"stick": "1209:0001:5A2F00000001", "till": "kasse-01"}])
    terminal = c.terminal("--sink", "probe", "--json", "--exit-after-session", "1", "--probe-read", "0:64",
                          "--probe-sha256", "0" * 64)
    c.client(terminal.port, c.till_config("kasse-01", server.port))
    assert terminal.wait() != 0


def test_large_commands(c):
    """1 MiB in one transfer: larger than any frame or TLS record on the way."""
    path = image(c, "stick.img", 16)
    run_probe(c, {**STICK, "image": path}, "--probe-command-bytes", str(1 << 20), "--probe-read", f"0:{(8 << 20) // BLOCK}",
              "--probe-sha256", sha256(path.read_bytes()[:8 << 20]))


def test_as_windows_does_it(c):
    """What a Windows server sends beside its transfers disturbs none of them, and gets the right answers."""
    path, transcript = image(c, "stick.img", 16), c.directory / "transcript.jsonl"
    terminal = run_probe(c, {**STICK, "image": path}, "--profile", "windows", "--transcript", str(transcript),
                         "--probe-read", f"0:{(8 << 20) // BLOCK}", "--probe-sha256", sha256(path.read_bytes()[:8 << 20]))
    assert not [line for line in json_lines(terminal) if line.get("wrong_answer")], terminal.text()
    lines = [json.loads(line) for line in transcript.read_text().splitlines()]
    names = [line["message"] for line in lines if "message" in line]
    assert not {"UNDECODABLE", "IGNORED", "UNKNOWN_FUNCTION", "BAD_REQUEST"} & set(names), names
    assert names[-2:] == ["REGISTER_REQUEST_CALLBACK", "RETRACT_DEVICE"], names[-5:]
    running, ended = set(), 0
    for fields in (line["fields"] for line in lines if "message" in line):
        urb = fields.get("TsUrb", {})
        if urb.get("NoAck"):
            continue
        if urb or "IoControlCode" in fields:
            request = urb.get("RequestId", fields.get("RequestId"))
            assert request not in running, f"request id {request} is used twice"
            running.add(request)
        elif "HResult" in fields and "RequestId" in fields:
            running.remove(fields["RequestId"])
            ended += 1
    assert not running and ended > 3 * (8 << 20) // (120 << 10), f"{ended} requests ended, {running} did not"


def test_a_serial_stick(c):
    """A second class of device: CDC-ACM, with an interrupt endpoint that is pending for the whole session."""
    c.certificates("kasse-01")
    server = c.usb_server([{"kind": "serial-echo", "serial": "SER000000001"}],
                          [{"stick": "1209:0002:SER000000001", "till": "kasse-01"}])
    terminal = c.terminal("--sink", "probe", "--json", "--exit-after-session", "1", "--probe-serial-bytes", "20000")
    c.client(terminal.port, c.till_config("kasse-01", server.port))
    assert terminal.wait() == 0, terminal.text()
    assert any(line.get("event") == "echo" and line["bytes"] == 20000 for line in json_lines(terminal)), terminal.text()


def test_bench_tells_reads_against_bare_round_trips(c):
    terminal = run_probe(c, {**STICK, "image": image(c, "stick.img", 16)}, "--probe-bench", "50")
    measures = {line["measure"]: line for line in json_lines(terminal) if "measure" in line}
    assert {"read_4_kib", "read_64_kib", "three_channel_round_trips"} <= set(measures), measures.keys()
    if os.environ.get("TILLBRIDGE_FIGURES"):
        for line in measures.values():
            print(line)


if __name__ == "__main__":
    main(globals())
