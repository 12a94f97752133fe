"""`tillbridge doctor`: each thing that can be wrong is provoked for real, and named with its remedy; a running session does not notice it."""

import datetime
import json
import os
import pwd
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization


from chain_support import main

SERIAL = "5A2F00000001"
STICK = f"1209:0001:{SERIAL}"
SIMULATED = {"kind": "mass-storage", "serial": SERIAL, "size_mib": 8}
MAP = {"stick": STICK, "till": "kasse-01"}
OK, FAILED, USAGE, UNREACHABLE, REFUSED, NOT_FOUND = range(6)


def doctor(c, till, *arguments, code=OK):
    ended = subprocess.run([c.build / "cli/tillbridge", "doctor", "--json", "--config", till, *arguments], text=True, capture_output=True,
                           timeout=60, env=c.environment())
    assert ended.returncode == code and not ended.stderr, ended
    report = json.loads(ended.stdout)
    assert report["ok"] == (code == OK), report
    for finding in report["findings"]:
        assert finding["text"] and (finding["remedy"] or finding["state"] in ("ok", "skipped")), finding
    return report


def failed(report, step, *words):
    """Exactly this step failed, in these words; what comes after it was not claimed to be right."""
    found = [finding for finding in report["findings"] if finding["state"] == "failed"]
    assert [finding["step"] for finding in found] == [step], report
    for word in words:
        assert word in found[0]["text"] + " -> " + found[0]["remedy"], found
    return report


def a_server(c, extra="", maps=(MAP,)):
    c.certificates("kasse-01")
    server = c.usb_server([SIMULATED], list(maps), extra)
    return server, c.till_config("kasse-01", server.port)


def certificate(c, name, begins_days, ends_days):
    """Replaces NAME.crt by one with these dates, from the same authority and for the same key."""
    pki = c.directory / "pki"
    authority = x509.load_pem_x509_certificate((pki / "authority.crt").read_bytes())
    authority_key = serialization.load_pem_private_key((pki / "authority.key").read_bytes(), None)
    old = x509.load_pem_x509_certificate((pki / f"{name}.crt").read_bytes())
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder(authority.subject, old.subject, old.public_key(), x509.random_serial_number(),
                                   now + datetime.timedelta(days=begins_days), now + datetime.timedelta(days=ends_days))
    for extension in old.extensions:
        made = made.add_extension(extension.value, extension.critical)
    (pki / f"{name}.crt").write_bytes(made.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def test_all_is_well(c):
    server, till = a_server(c)
    report = doctor(c, till)
    assert [finding["step"] for finding in report["findings"]] == [
        "configuration", "name", "clock", "tls", "fingerprint", "link", "lease", "stick", "inquiry", "round_trips"], report
    assert {finding["state"] for finding in report["findings"]} == {"ok"}, report
    assert report["vendor"] == "TILLBRDG" and report["link"]["samples"] >= 20 and report["command"]["samples"] == 10, report
    assert len(report["words"].split()) == 4, report
    for receipt in report["receipts"]:
        assert 0.3 <= receipt["signing_s"] <= receipt["pipeline_s"] <= receipt["plain_s"], receipt
    server.wait_for("left: the examination is over")
    # With an RDP leg of 20 ms: what two legs cost at least.
    report = doctor(c, till, "--rdp-ms", "20")
    for receipt in report["receipts"]:
        assert receipt["pipeline_s"] >= receipt["signing_s"] + receipt["commands"] * 0.02, receipt
    text = subprocess.run([c.build / "cli/tillbridge", "doctor", "--config", till], text=True, capture_output=True, timeout=60, check=True,
                          env=c.environment()).stdout
    assert "inquiry       ok" in text and "Seconds for a receipt" in text and "Diebold" in text, text


def test_wrong_name(c):
    server, till = a_server(c)
    wrong = c.file("wrong.toml", till.read_text().replace('host = "localhost"', 'host = "no-such-host.invalid"'))
    failed(doctor(c, wrong, code=UNREACHABLE), "name", "no-such-host.invalid", "correct host")
    # A name that leads there, but that the server's certificate is not for.
    other = c.file("other.toml", till.read_text().replace('host = "localhost"', 'host = "127.0.0.1"\nname = "tse.example"'))
    failed(doctor(c, other, code=REFUSED), "tls", "not for tse.example")


def test_what_the_cashiers_account_may_not_read(c):
    server, till = a_server(c)
    if os.geteuid() != 0:
        report = doctor(c, till, code=OK)
        assert report["findings"][0]["text"].endswith("as the account " + pwd.getpwuid(os.geteuid()).pw_name), report
        return
    assert "--user NAME" in doctor(c, till)["findings"][0]["text"]
    c.directory.chmod(0o755)  # what follows is about the till's own files
    pki = c.directory / "pki"
    pki.chmod(0o755)
    key, nobody = pki / "kasse-01.key", pwd.getpwnam("nobody").pw_uid
    for file in pki.glob("*.crt"):
        file.chmod(0o644)
    os.chown(key, nobody, -1)
    till.chmod(0o644)
    reachable = all(os.stat(folder).st_mode & 0o005 == 0o005 for folder in [*till.parents, *(c.build / "cli").parents])
    if not reachable:
        return failed(doctor(c, till, "--user", "nobody", code=USAGE), "configuration", "may not be read by the account nobody")
    assert "as the account nobody" in doctor(c, till, "--user", "nobody")["findings"][0]["text"]
    os.chown(key, 0, -1)
    failed(doctor(c, till, "--user", "nobody", code=USAGE), "configuration", "kasse-01.key may not be read by the account nobody", "chown")
    till.chmod(0o600)
    failed(doctor(c, till, "--user", "nobody", code=USAGE), "configuration", "may not be read by the account nobody", "chmod 644")
    ended = subprocess.run([c.build / "cli/tillbridge", "doctor", "--config", till, "--user", "no-such-account"], text=True, capture_output=True,
                           timeout=60, env=c.environment())
    assert ended.returncode == USAGE and "no account" in ended.stderr, ended


def test_no_server_and_no_configuration(c):
    server, till = a_server(c)
    server.stop()
    failed(doctor(c, till, code=UNREACHABLE), "tls", "connection refused", "running")
    failed(doctor(c, c.directory / "none.toml", code=USAGE), "configuration", "none.toml")


def test_wrong_clock(c):
    """A clock that is wrong is one for which certificates are too young or too old."""
    server, till = a_server(c)
    certificate(c, "kasse-01", 1, 90)
    failed(doctor(c, till, code=FAILED), "clock", "before its certificate begins", "timedatectl")
    certificate(c, "kasse-01", -90, -1)
    failed(doctor(c, till, code=FAILED), "clock", "ended on", "anew")
    certificate(c, "kasse-01", -89, 1)
    report = doctor(c, till)
    assert [(each["step"], each["state"]) for each in report["findings"] if each["state"] != "ok"] == [("clock", "warning")], report
    server.stop()
    certificate(c, "server", -90, -1)
    server = c.usb_server([SIMULATED], [MAP])
    failed(doctor(c, c.till_config("kasse-01", server.port), code=REFUSED), "tls", "expired", "clock")


def test_foreign_authority(c):
    server, till = a_server(c)
    (c.directory / "pki").rename(c.directory / "pki-of-the-server")
    c.certificates("kasse-01")
    failed(doctor(c, till, code=REFUSED), "tls", "not from the configured authority file")
    # The till trusts the server, but the server not the till: TLS 1.3 says so only after the handshake.
    (c.directory / "pki/authority.crt").write_bytes((c.directory / "pki-of-the-server/authority.crt").read_bytes())
    report = doctor(c, till, code=REFUSED)
    failed(report, "fingerprint", "certificate")


def test_no_mapping(c):
    server, till = a_server(c, maps=())
    report = failed(doctor(c, till, code=NOT_FOUND), "lease", "no stick is mapped")
    assert report["link"]["samples"] >= 20, "the link is measured all the same"


def test_stick_unplugged(c):
    tables, bench = c.test_bench()
    server, till = a_server(c, tables)
    bench.unplug(SERIAL)
    failed(doctor(c, till, code=NOT_FOUND), "lease", "not plugged in", "plug it in")


def test_stick_does_not_answer(c):
    tables, bench = c.test_bench()
    server, till = a_server(c, tables)
    bench.fault(SERIAL, "command silence")
    failed(doctor(c, till, code=FAILED), "inquiry", "does not answer", "self test")
    bench.heal(SERIAL)
    bench.power_cycle(SERIAL)
    bench.fault(SERIAL, "command unplug skip=4")  # while it is being measured
    failed(doctor(c, till, code=FAILED), "stick", "unplugged", "plug it in")


def test_a_running_session_is_not_disturbed(c):
    server, till = a_server(c)
    terminal = c.terminal("--sink", "probe", "--probe-stay")
    client = c.client(terminal.port, till)
    terminal.wait_for("mass storage works")
    marks = server.mark(), client.mark(), terminal.mark()
    for _ in range(3):
        report = doctor(c, till)
        assert report["in_use"] and report["link"]["samples"] >= 20 and report["command"] is None, report
        states = {finding["step"]: finding["state"] for finding in report["findings"]}
        assert states["lease"] == "ok" and states["stick"] == states["inquiry"] == "skipped", report
        lease = next(finding for finding in report["findings"] if finding["step"] == "lease")
        assert STICK in lease["text"] and "in use" in lease["text"], lease
    assert client.process.poll() is None
    for program, mark in zip((server, client, terminal), marks):
        for line in program.lines[mark:]:
            assert not any(word in line for word in ("takes over", "loses stick", "is gone", "lost", "lease ended", "withdrawn")), line


if __name__ == "__main__":
    main(globals())
