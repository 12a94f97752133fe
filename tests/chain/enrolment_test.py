"""Tills are made, refused, renewed and revoked: the real tillbridged with no certificate but its own, `tillbridge pair`,
and sessions with a stick in them."""

import http.client
import json
import os
import re
import socket
import ssl
import stat
import time
import urllib.parse

from chain_support import main

SERIAL = "5A2F00000001"
STICK = {"kind": "mass-storage", "serial": SERIAL, "size_mib": 16}
REFUSED = 4


class Administrator:
    """The API through the server's Unix socket."""

    def __init__(self, c, server):
        server.wait_for("listening for administrators")
        self.path = str(c.directory / f"{server.name}.admin")

    def ask(self, method, path, body=None):
        """(status, answer)"""
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(20)
        connection.sock.connect(self.path)
        text = json.dumps(body) if body is not None else None
        connection.request(method, "/api/v1" + path, text, {"Content-Type": "application/json"} if text else {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content) if content else None

    def do(self, method, path, body=None):
        status, answer = self.ask(method, path, body)
        assert status == 200, f"{method} {path}: {status} {answer}"
        return answer

    def state(self):
        return self.do("GET", "/state")

    def add(self, till, stick=None):
        """The line for the till, without the words before it."""
        body = {"name": till, "reason": "test", **({"stick": stick} if stick else {})}
        line = self.do("POST", "/tills", body)["line"]
        assert line.startswith("tillbridge pair tb1:"), line
        return line.split()[2]

    def audit(self, kind, **query):
        entries = self.do("GET", "/audit?" + urllib.parse.urlencode({"limit": 1000, **query}))["entries"]
        return [entry for entry in entries if entry["kind"] == kind]


def pair(c, line, till, *arguments):
    """(the running program, where the till's configuration will be)"""
    config = c.directory / till / "till.toml"
    return c.start(f"pair-{till}", [c.build / "cli/tillbridge", "pair", line, "--config", config, *arguments]), config


def paired(c, line, till, *arguments):
    program, config = pair(c, line, till, *arguments)
    assert program.wait() == 0, program.text()
    return config


def start(c, authority="", **more):
    # The stick is there before anybody asks for it.
    server = c.usb_server([STICK], [], f"[authority]\n{authority}\n", **more)
    return server, Administrator(c, server)


def identity_of(config):
    return config.parent / "till-identity" / "till.pem"


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_from_nothing_to_a_stick_with_a_token(c):
    server, admin = start(c)
    server.wait_for("first start: this server has an authority of its own")
    config = paired(c, admin.add("kasse-07", SERIAL), "kasse-07")
    assert mode_of(identity_of(config)) == 0o600 and mode_of(config.parent / "till-identity") == 0o700
    for private in ("authority.key", "server.key"):
        assert mode_of(c.directory / "tillbridged.state" / private) == 0o600
    terminal = c.terminal("--sink", "probe", "--json", "--exit-after-session", "1", "--probe-read", "0:2048")
    c.client(terminal.port, config)
    assert terminal.wait() == 0, terminal.text()
    till = admin.state()["tills"][0]
    assert till["name"] == "kasse-07" and 88 <= till["certificate"]["days_left"] <= 90, till
    assert len(admin.audit("pairing_done")) == 1 and len(admin.audit("token_issued")) == 1
    # Nothing that is secret is in the journal.
    key = identity_of(config).read_text().split("PRIVATE KEY-----")[1].split("-----")[0].split()
    assert not any(word in server_line for server_line in server.lines for word in key)


def test_the_next_command_names_the_rdp_client_that_is_there(c):
    _, admin = start(c)
    folder = c.directory / "bin"
    folder.mkdir()
    (folder / "xfreerdp").touch(mode=0o755)
    config = c.directory / "kasse-07" / "till.toml"
    program = c.start("pair", [c.build / "cli/tillbridge", "pair", admin.add("kasse-07"), "--config", config],
                      {**c.environment(), "PATH": f"/nowhere:{folder}"})
    assert program.wait() == 0, program.text()
    assert "connect with: xfreerdp /v:TERMINAL-SERVER" in program.text(), program.text()


def test_tokens_that_are_refused(c):
    """Replayed, of another till, run out, guessed: refused with a reason, audited, and nobody becomes a till."""
    server, admin = start(c, "token_s = 5")
    line = admin.add("kasse-07")
    paired(c, line, "kasse-07")

    def refused(text, name, why, *arguments):
        program, config = pair(c, text, name, *arguments)
        assert program.wait() == REFUSED, program.text()
        assert why in program.text(), program.text()
        assert not config.exists() and not identity_of(config).exists()

    refused(line, "replayed", "was used already")
    refused(admin.add("kasse-08"), "other", "for a till of another name", "--name", "kasse-09")
    ticket = admin.do("POST", "/tills", {"name": "kasse-10", "reason": "test"})
    # The token's own time, and a little for the two clocks' reading.
    time.sleep(5.2)
    refused(ticket["line"].split()[2], "late", "has run out")
    wrong_server = re.sub(r"/[^/]+/", "/" + "-".join(["0000"] * 8) + "/", admin.add("kasse-11"))
    refused(wrong_server, "stranger", "is not from the authority that the pairing line names")
    good = admin.add("kasse-12")
    guess = good[:good.rindex("/") + 1] + "-".join(["0000"] * 6)
    for number in range(5):
        refused(guess, f"guess-{number}", "does not know it")
    refused(good, "slowed", "too many wrong tokens")

    assert [till["name"] for till in admin.state()["tills"] if till["certificate"]] == ["kasse-07"]
    assert len(admin.audit("pairing_refused")) == 9, admin.audit("pairing_refused")
    assert len(admin.audit("pairing_done")) == 1
    for entry in admin.audit("pairing_refused"):
        assert "address" in entry["details"], entry
    assert not any(good[good.rindex("/") + 1:] in text for text in server.lines), "a token is in the journal"


def test_an_administrator_approves_and_ignores(c):
    server, admin = start(c)
    address = f"127.0.0.1:{server.port}"
    waiting, config = pair(c, address, "approved", "--name", "kasse-07")
    words = waiting.wait_for(r"same four words there:\s+(\w+ \w+ \w+ \w+)").group(1)
    unwanted, unwanted_config = pair(c, address, "ignored", "--name", "kasse-66")
    unwanted.wait_for("same four words there")
    pending = {item["name"]: item for item in admin.state()["pending"]}
    assert pending["kasse-07"]["words"] == words, (pending, words)
    admin.do("POST", f"/pending/{pending['kasse-66']['id']}/ignore", {"reason": "test"})
    assert unwanted.wait() == REFUSED and not unwanted_config.exists()
    admin.do("POST", f"/pending/{pending['kasse-07']['id']}/approve", {"stick": SERIAL, "reason": "test"})
    assert waiting.wait() == 0, waiting.text()
    assert admin.state()["pending"] == []
    terminal = c.terminal("--sink", "probe", "--json", "--exit-after-session", "1", "--probe-read", "0:2048")
    c.client(terminal.port, config)
    assert terminal.wait() == 0, terminal.text()


def test_revoking_cuts_the_live_session(c):
    server, admin = start(c)
    config = paired(c, admin.add("kasse-07", SERIAL), "kasse-07")
    terminal = c.terminal("--sink", "probe", "--json", "--probe-stay", "--probe-read", "0:2048")
    client = c.client(terminal.port, config)
    terminal.wait_for('"event":"probe".*good')
    mark = terminal.mark()
    admin.do("POST", "/tills/kasse-07/revoke", {"reason": "stolen"})
    terminal.wait_for("device_gone", mark)
    # The plugin comes again, and is told what to do.
    client.wait_for("pair this till anew")
    server.wait_for("till kasse-07 .*turned away.*revoked")
    state = admin.state()
    assert state["leases"] == [] and state["tills"][0]["state"] == "revoked", state["tills"]
    assert admin.audit("till_refused") and len(admin.audit("certificate_revoked")) == 1
    # A new token makes it a till again; the session that is still open has to begin anew, as its certificate is another one.
    client.kill()
    config = paired(c, admin.add("kasse-07"), "kasse-07")
    mark = terminal.mark()
    c.client(terminal.port, config, name="xfreerdp3-2")
    terminal.wait_for('"event":"probe".*good', mark)


def test_a_certificate_is_renewed_while_its_stick_is_used(c):
    server, admin = start(c, "till_certificate_s = 24")
    config = paired(c, admin.add("kasse-07", SERIAL), "kasse-07")
    before = identity_of(config).read_bytes()
    terminal = c.terminal("--sink", "probe", "--json", "--probe-stay", "--probe-bench", "100000", "--probe-timeout", "600")
    client = c.client(terminal.port, config)
    server.wait_for("lease begun")
    lease = admin.state()["leases"][0]
    server.wait_for("till kasse-07 .*its certificate is renewed")
    deadline = time.monotonic() + 30
    while identity_of(config).read_bytes() == before:
        assert time.monotonic() < deadline, "the till did not store its new certificate"
        time.sleep(0.05)
    assert mode_of(identity_of(config)) == 0o600
    assert sorted(os.listdir(identity_of(config).parent)) == ["authority.pem", "till.pem"], "nothing is left over"
    later = admin.state()["leases"][0]
    assert later["id"] == lease["id"] and later["errors"] == 0 and later["transfers"] > lease["transfers"], (lease, later)
    assert not any("device_gone" in text for text in terminal.lines)
    assert len(admin.audit("certificate_renewed")) == 1
    client.kill()
    # When the first certificate is over, its file would be refused; the second one is not.
    old = c.directory / "old"
    (old / "till-identity").mkdir(parents=True, mode=0o700)
    (old / "till.toml").write_text(config.read_text())
    (old / "till-identity/authority.pem").write_bytes((config.parent / "till-identity/authority.pem").read_bytes())
    (old / "till-identity/till.pem").touch(mode=0o600)
    (old / "till-identity/till.pem").write_bytes(before)
    end = ssl._ssl._test_decode_cert(str(old / "till-identity/till.pem"))["notAfter"]
    time.sleep(max(0, ssl.cert_time_to_seconds(end) + 1 - time.time()))
    mark = server.mark()
    second = c.terminal("--sink", "probe", "--json", "--exit-after-session", "1", "--probe-read", "0:2048", name="terminal-2")
    c.client(second.port, config, name="xfreerdp3-2")
    assert second.wait() == 0, second.text()
    stale = c.client(terminal.port, old / "till.toml", name="xfreerdp3-3")
    server.wait_for("has expired", mark)
    stale.wait_for("expired")


def test_both_authorities_at_once(c):
    """Certificates named in the configuration still count, and tills pair beside them."""
    c.certificates("kasse-01")
    server = c.usb_server([STICK, {**STICK, "serial": "5A2F00000002"}], [{"stick": f"1209:0001:{SERIAL}", "till": "kasse-01"}])
    admin = Administrator(c, server)
    config = paired(c, admin.add("kasse-02", "5A2F00000002").replace("127.0.0.1", "localhost"), "kasse-02")
    terminal = c.terminal("--sink", "probe", "--json", "--exit-after-session", "2", "--probe-read", "0:2048")
    c.client(terminal.port, c.till_config("kasse-01", server.port))
    c.client(terminal.port, config, name="xfreerdp3-2")
    assert terminal.wait() == 0, terminal.text()


if __name__ == "__main__":
    main(globals())
