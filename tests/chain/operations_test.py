"""What an operator has: metrics, health, alerts, captures, systemd's protocol, and a server without any privilege."""

import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from chain_support import chain, main
import exposition

SERIAL = "5A2F00000001"
STICK = f"1209:0001:{SERIAL}"
SIMULATED = {"kind": "mass-storage", "serial": SERIAL, "size_mib": 8}
MAP = {"stick": STICK, "till": "kasse-01"}


class SocketConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def get(c, path, name="tillbridged"):
    connection = SocketConnection(c.directory / f"{name}.admin")
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.getheader("Content-Type"), body.decode()


def doctor(c, till, *arguments):
    """Stands for a till that has a look at its stick."""
    ended = subprocess.run([c.build / "cli/tillbridge", "doctor", "--json", "--config", till, *arguments], text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=60, env=c.environment())
    assert not ended.stderr, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def a_server(c, extra="", sticks=(SIMULATED,), maps=(MAP,)):
    c.certificates("kasse-01")
    server = c.usb_server(list(sticks), list(maps), extra)
    server.wait_for("listening for administrators")
    return server, c.till_config("kasse-01", server.port)


def test_metrics(c):
    server, till = a_server(c)
    status, kind, text = get(c, "/metrics")
    assert status == 200 and kind == "text/plain; version=0.0.4; charset=utf-8", (status, kind)
    before = exposition.Page(text)
    assert before.value("tillbridge_stick_state", stick=STICK, state="free") == 1
    for turn in (1, 2):
        code, report = doctor(c, till)
        assert code == 0, report
        page = exposition.Page(get(c, "/metrics")[2])
        assert page.value("tillbridge_leases_total", stick=STICK, till="kasse-01") == turn
    pair = {"stick": STICK, "till": "kasse-01"}
    assert page.value("tillbridge_transfers_total", **pair) > 40
    assert page.value("tillbridge_transfer_duration_seconds_count", **pair) == page.value("tillbridge_transfers_total", **pair)
    assert page.value("tillbridge_till_state", till="kasse-01", state="away") == 1
    for (name, labels), value in before.series.items():
        if name.endswith("_total"):
            assert page.series[name, labels] >= value, name
    promtool = shutil.which("promtool")
    if promtool:
        checked = subprocess.run([promtool, "check", "metrics"], input=get(c, "/metrics")[2], text=True, capture_output=True, timeout=60)
        assert checked.returncode == 0 and not checked.stdout and not checked.stderr, checked
    status, _, text = get(c, "/healthz")
    assert status == 200 and json.loads(text) == {"status": "ok"}, text


def test_prometheus_reads_with_a_token(c):
    tokens = c.directory / "metrics.token"
    tokens.touch(mode=0o600)
    tokens.write_text("0123456789abcdef\n")
    c.certificates("kasse-01")
    server = c.usb_server([SIMULATED], [MAP], f'metrics_token_file = "{tokens}"')  # still in [admin]
    port = int(server.wait_for(r"listening for administrators on \S+:(\d+)").group(1))

    def scrape(token, path="/metrics"):
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=ssl._create_unverified_context())
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    status, text = scrape("0123456789abcdef")
    assert status == 200 and exposition.Page(text).value("tillbridge_stick_state", stick=STICK, state="free") == 1, status
    assert scrape("0123456789abcdef", "/api/v1/state")[0] == 401 and scrape("fedcba9876543210")[0] == 401
    # Changed, and then broken: whoever reads the log knows, and nobody gets in.
    tokens.write_text("fedcba9876543210\n")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("configuration read again")
    assert scrape("fedcba9876543210")[0] == 200 and scrape("0123456789abcdef")[0] == 401
    tokens.chmod(0o644)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("nobody can read /metrics with a token: .*everybody may read")
    assert scrape("fedcba9876543210")[0] == 401


def test_alerts_reach_a_webhook_and_a_command_once(c):
    received, news = [], threading.Condition()

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with news:
                received.append(body)
                news.notify_all()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    hooks = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hooks.serve_forever, daemon=True).start()
    told = c.directory / "told"
    bench_tables, bench = c.test_bench()
    server, _ = a_server(c, bench_tables + f"""
[[alert]]
webhook = "http://127.0.0.1:{hooks.server_address[1]}/hook"
[[alert]]
command = ["/bin/sh", "-c", "echo $TILLBRIDGE_EVENT $TILLBRIDGE_KIND $TILLBRIDGE_STICK >> {told}"]
kinds = ["stick_gone"]
""")

    def wait(count):
        with news:
            assert news.wait_for(lambda: len(received) >= count, 150), received

    bench.unplug(SERIAL)
    wait(1)
    bench.plug(SERIAL)
    wait(2)
    assert [(each["event"], each["kind"], each["stick"]) for each in received] == [
        ("raised", "stick_gone", STICK), ("cleared", "stick_gone", STICK)], received
    assert received[0]["remedy"] and received[0]["till"] == "kasse-01" and received[0]["lost"] == 0
    deadline = time.monotonic() + 30
    while len(told.read_text().splitlines() if told.exists() else []) < 2:
        assert time.monotonic() < deadline, "the command was not run"
        time.sleep(0.05)
    assert told.read_text() == f"raised stick_gone {STICK}\ncleared stick_gone {STICK}\n"
    # A receiver that takes no connection holds up nobody: the server answers as before.
    hooks.shutdown()
    hooks.server_close()
    bench.unplug(SERIAL)
    assert get(c, "/healthz")[0] == 200
    server.wait_for("was not taken by webhook http://127.0.0.1")


def capture(c, name, *arguments):
    return c.start(f"capture {name}", [c.build / "cli/tillbridge", "capture", SERIAL, "-o", c.directory / name, "--socket",
                                       c.directory / "tillbridged.admin", *arguments])


def tshark(file, *arguments):
    return subprocess.run([shutil.which("tshark"), "-r", file, *arguments], text=True, capture_output=True, timeout=120, check=True).stdout


def test_tshark_decodes_a_capture(c):
    server, till = a_server(c)
    thin = capture(c, "thin.pcapng")
    whole = capture(c, "whole.pcapng", "--payloads", "--reason", "test")
    for each in (thin, whole):
        each.wait_for("capturing stick")
    code, report = doctor(c, till)
    assert code == 0, report
    # The doctor's last command has been answered, so it is in the pipes; the file's end is written when the server ends the capture.
    server.stop()
    assert thin.wait() == 0 and whole.wait() == 0, (thin.text(), whole.text())
    assert (c.directory / "whole.pcapng").stat().st_mode & 0o777 == 0o600
    assert b"TILLBRDG" in (c.directory / "whole.pcapng").read_bytes()
    assert b"TILLBRDG" not in (c.directory / "thin.pcapng").read_bytes()
    if not shutil.which("tshark"):
        print("    without tshark: only the bytes were looked at")
        return
    for name in ("thin.pcapng", "whole.pcapng"):
        file = c.directory / name
        commands = tshark(file, "-Y", "usbms.dCBWSignature", "-T", "fields", "-e", "scsi_sbc.opcode", "-e", "scsi.spc.opcode").split()
        assert commands and "0x12" in commands and commands.count("0x00") >= 11, (name, commands)
        statuses = tshark(file, "-Y", "usbms.dCSWSignature", "-T", "fields", "-e", "usbms.dCSWStatus").split()
        assert len(statuses) >= 12 and set(statuses) <= {"0x00", "0x01"}, (name, statuses)
        assert not tshark(file, "-Y", "_ws.malformed"), name
        descriptors = tshark(file, "-Y", "usb.idVendor", "-T", "fields", "-e", "usb.idVendor", "-e", "usb.idProduct")
        assert "0x1209" in descriptors, (name, descriptors)
    inquiry = tshark(c.directory / "whole.pcapng", "-Y", "scsi.inquiry.vendor_id", "-T", "fields", "-e", "scsi.inquiry.vendor_id")
    assert "TILLBRDG" in inquiry, inquiry


def test_a_capture_ends_by_itself_and_when_interrupted(c):
    a_server(c)
    timed = capture(c, "timed.pcapng", "--seconds", "1")
    assert timed.wait() == 0, timed.text()
    endless = capture(c, "endless.pcapng")
    endless.wait_for("capturing stick")
    endless.process.send_signal(signal.SIGINT)
    assert endless.wait() == 0, endless.text()
    assert (c.directory / "endless.pcapng").read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    missing = subprocess.run([c.build / "cli/tillbridge", "capture", "1209:0001:NONE", "-o", c.directory / "none", "--socket",
                              c.directory / "tillbridged.admin"], capture_output=True, text=True, timeout=30)
    assert missing.returncode == 5, missing


class Notifications:
    """systemd's end of sd_notify()."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(20)

    def until(self, wanted):
        while True:
            lines = self.socket.recv(65536).decode().split("\n")
            if any(line.startswith(wanted) for line in lines):
                return lines


def with_systemd(c, extra=""):
    notifications = Notifications(c.directory / "notify")
    c.certificates("kasse-01")
    environment = c.environment()
    environment.update(NOTIFY_SOCKET=notifications.path, WATCHDOG_USEC="600000")
    start = c.start
    c.start = lambda name, command: start(name, command, environment)
    server = c.usb_server([SIMULATED], [MAP], extra)
    c.start = start
    return server, notifications


def test_systemd_hears_of_every_state(c):
    server, systemd = with_systemd(c)
    assert any(line.startswith("STATUS=") for line in systemd.until("READY=1"))
    systemd.until("STATUS=1 stick, 0 in use")
    for _ in range(3):
        systemd.until("WATCHDOG=1")
    # A till's session lives through a reload.
    server.process.send_signal(signal.SIGHUP)
    lines = systemd.until("RELOADING=1")
    assert any(line.startswith("MONOTONIC_USEC=") for line in lines), lines
    systemd.until("READY=1")
    # A loop that is stuck sends no sign of life, whatever its threads do; the kernel stands for what may hold it up.
    server.process.send_signal(signal.SIGSTOP)
    systemd.socket.settimeout(1)
    try:
        while True:
            systemd.socket.recv(65536)
    except TimeoutError:
        pass
    server.process.send_signal(signal.SIGCONT)
    systemd.socket.settimeout(20)
    systemd.until("WATCHDOG=1")
    server.process.terminate()
    systemd.until("STOPPING=1")
    assert server.wait() == 0


def test_the_journal_gets_fields(c):
    """With stderr in the journal, as under systemd: each line has its priority, and says which stick and till it is about."""
    if os.geteuid() != 0:
        print("    needs root for a mount namespace: left out")
        return
    folder = c.directory / "journal"
    folder.mkdir()
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind(str(folder / "socket"))
    journal.settimeout(20)
    pki = c.certificates("kasse-01")
    config = c.file("tillbridged.toml", "\n".join([
        "[link]", 'listen = "127.0.0.1:0"', f'certificate = "{pki}/server.crt"', f'key = "{pki}/server.key"',
        f'authority = "{pki}/authority.crt"', *c.state_tables(), *chain.tables("simulated", [SIMULATED]), *chain.tables("map", [MAP])]))
    server = c.start("tillbridged", ["unshare", "-m", "sh", "-c", f'mkdir -p /run/systemd/journal && mount --bind "{folder}" '
                                     '/run/systemd/journal && JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@"', "sh",
                                     c.build / "server/usb/tillbridged", "--config", config])

    def until(text):
        while True:
            fields = dict(line.split("=", 1) for line in journal.recv(65536).decode().splitlines() if "=" in line)
            if text in fields.get("MESSAGE", ""):
                return fields

    port = int(until("listening for tills on")["MESSAGE"].rsplit(":", 1)[1])
    fields = until("arrived and belongs to till")
    assert fields["STICK"] == STICK and fields["PRIORITY"] == "6" and fields["SYSLOG_IDENTIFIER"] == "tillbridged", fields
    code, report = doctor(c, c.till_config("kasse-01", port))
    assert code == 0, report
    fields = until("lease begun")
    assert fields["STICK"] == STICK and fields["TILL"] == "kasse-01", fields
    assert until("left: the examination is over")["TILL"] == "kasse-01"
    assert not server.lines, server.text()


def test_without_any_privilege(c):
    """As the unit does it: another user, no capability, no way to get one. The simulated stick works all the same."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        print("    needs root and setpriv: left out")
        return
    c.certificates("kasse-01")
    nobody = 65534
    for path in [c.directory, *c.directory.rglob("*")]:
        os.chown(path, nobody, nobody)
    start = c.start
    c.start = lambda name, command: start(name, ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
                                                 "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", *command])
    server = c.usb_server([SIMULATED], [MAP])
    c.start = start
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{field}:\t0000000000000000" in status, status
    assert "NoNewPrivs:\t1" in status and "Uid:\t65534\t65534" in status, status
    till = c.till_config("kasse-01", server.port)
    code, report = doctor(c, till)
    assert code == 0, report
    assert any(finding["step"] == "inquiry" and finding["state"] == "ok" for finding in report["findings"]), report


if __name__ == "__main__":
    main(globals())
