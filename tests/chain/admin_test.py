"""The administration of the real tillbridged: from nothing to a working stick, what is refused at HTTP's boundary, its
API's description, and the command."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time

from chain_support import chain, main

SERIAL = "5A2F00000001"
STICK = f"1209:0001:{SERIAL}"
SIMULATED = {"kind": "mass-storage", "serial": SERIAL, "size_mib": 16}
PASSWORD = "four quiet words here"
REFUSED, NOT_FOUND, UNREACHABLE, USAGE = 4, 5, 3, 2


class Web:
    """A browser's half of HTTPS: cookie and token, or a local process at the Unix socket."""

    def __init__(self, port=None, path=None):
        self.port, self.path, self.cookie, self.csrf = port, path, None, None
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE  # whose certificate: the CLI's tests

    def open(self, timeout=20):
        if self.path:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            sock.connect(str(self.path))
            return sock
        return self.context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout))

    def ask(self, method, path, body=None, headers=(), raw=None, connection=None):
        """(status, answer, headers)"""
        own = connection or http.client.HTTPConnection("localhost", timeout=20)
        if own.sock is None:
            own.sock = self.open()
        sent = {"Content-Type": "application/json"} if body is not None or raw is not None else {}
        if self.cookie:
            sent["Cookie"] = "other=1; " + self.cookie
        if self.csrf and method != "GET":
            sent["X-CSRF-Token"] = self.csrf
        sent.update(headers)
        own.request(method, path, raw if raw is not None else json.dumps(body) if body is not None else None, sent)
        answer = own.getresponse()
        content = answer.read()
        if connection is None:
            own.close()
        try:
            content = json.loads(content)
        except ValueError:
            pass
        return answer.status, content, answer.headers

    def do(self, method, path, body=None):
        status, answer, _ = self.ask(method, "/api/v1" + path, body)
        assert status == 200, f"{method} {path}: {status} {answer}"
        return answer

    def keep(self, status, answer, headers):
        assert status == 200, (status, answer)
        set_cookie = headers["Set-Cookie"]
        for word in ("__Host-tillbridge=", "Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
            assert word in set_cookie, set_cookie
        self.cookie, self.csrf = set_cookie.split(";")[0], answer["csrf"]
        return self

    def once(self, token, user="anna", password=PASSWORD):
        return self.keep(*self.ask("POST", "/api/v1/login/once", {"token": token, "user": user, "password": password}))

    def log_in(self, user="anna", password=PASSWORD):
        return self.keep(*self.ask("POST", "/api/v1/login", {"user": user, "password": password}))

    def audit(self, kind):
        return [entry for entry in self.do("GET", "/audit?limit=1000")["entries"] if entry["kind"] == kind]


def start(c, extra="", **more):
    server = c.usb_server([SIMULATED], [], "[libusb]\nenabled = false\n" + extra, **more)
    found = server.wait_for(r"listening for administrators on 127\.0\.0\.1:(\d+) and (\S+)")
    server.https, server.socket = int(found.group(1)), found.group(2)
    return server


def with_logins(c):
    """(server, the socket, an administrator, a viewer)"""
    server = start(c)
    token = server.wait_for(r"https://\S+/#once=(\S+)").group(1)
    admin = Web(server.https).once(token)
    admin.do("POST", "/users", {"name": "ben", "role": "viewer", "password": PASSWORD})
    return server, Web(path=server.socket), admin, Web(server.https).log_in("ben")


def command(c, *words, socket_path=None, expect=0, environment=(), stdin=None):
    ended = subprocess.run([c.build / "cli/tillbridge", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                           input=stdin, env={**c.environment(), **({"TILLBRIDGE_SOCKET": str(socket_path)} if socket_path else {}), **dict(environment)})
    assert ended.returncode == expect, f"tillbridge {words}: {ended.returncode}\n{ended.stdout}{ended.stderr}"
    return ended.stdout if expect == 0 else ended.stdout + ended.stderr


def test_from_nothing_to_a_working_stick_in_four_commands(c):
    server = start(c)                                                                                      # 1
    printed = command(c, "till", "add", "kasse-07", "--stick", SERIAL, "--reason", "new", socket_path=server.socket)  # 2
    line = re.search(r"tillbridge pair (\S+)", printed).group(1)
    config = c.directory / "till" / "till.toml"
    command(c, "pair", line, "--config", config)                                                           # 3
    terminal = c.terminal("--sink", "probe", "--json", "--exit-after-session", "1", "--probe-read", "0:2048")
    c.client(terminal.port, config)                                                                        # 4
    assert terminal.wait() == 0, terminal.text()
    assert any('"event":"device_arrived"' in text.replace(" ", "") for text in terminal.lines), terminal.text()
    shown = command(c, "till", "show", "kasse-07", socket_path=server.socket)
    assert "since the server's start: " in shown and "connected " in shown, shown
    assert "certificate" in shown, shown
    assert re.search(rf"{SERIAL} .* kasse-07\b", shown), f"the till's sticks are shown:\n{shown}"
    kinds = [entry["kind"] for entry in Web(path=server.socket).do("GET", "/audit?limit=1000")["entries"]]
    for kind in ("till_added", "token_issued", "pairing_done", "mapping_added", "lease_begun"):
        assert kind in kinds, (kind, kinds)


def unchanged(local, before):
    """Everything but clocks and events is as it was."""
    now = local.do("GET", "/state")
    for state in (before, now):
        state["server"].pop("time", None)
        state.pop("version", None)
    assert now == before, (before, now)


def test_who_may_not_is_refused(c):
    server, local, admin, viewer = with_logins(c)
    before = local.do("GET", "/state")
    users = local.do("GET", "/users")["users"]
    changes = [("POST", "/mappings", {"stick": SERIAL, "till": "kasse-01"}), ("POST", "/tills", {"name": "kasse-01"}),
               ("PATCH", f"/sticks/{STICK}", {"label": "mine"}), ("POST", f"/sticks/{STICK}/block", {}), ("POST", "/drain", {"on": True}),
               ("POST", "/users", {"name": "eve", "role": "admin", "password": PASSWORD}),
               ("PATCH", "/users/ben", {"role": "admin"}), ("DELETE", "/users/anna", {}), ("POST", "/login/link", {})]

    # A viewer who changes something; he is in the audit each time.
    for method, path, body in changes:
        status, answer, _ = viewer.ask(method, "/api/v1" + path, body)
        assert status == 403, (method, path, status, answer)
    assert len(local.audit("action_refused")) == len(changes)
    assert all(entry["who"] == "viewer ben" for entry in local.audit("action_refused"))

    # Nobody, and somebody with a cookie that is none.
    nobody, forged = Web(server.https), Web(server.https)
    forged.cookie, forged.csrf = "__Host-tillbridge=" + "A" * 43, admin.csrf
    for web in (nobody, forged):
        for method, path, body in [*changes, ("GET", "/state", None), ("GET", "/events", None), ("GET", "/audit", None), ("GET", "/users", None),
                                   ("GET", "/openapi.json", None), ("GET", "/me", None)]:
            status, answer, _ = web.ask(method, "/api/v1" + path, body)
            assert status == 401, (method, path, status, answer)
        assert web.ask("GET", "/metrics")[0] == 401

    # Another site's page, with the administrator's cookie: no token, a wrong one, another origin, a form.
    for method, path, body in changes:
        for headers in ({"X-CSRF-Token": ""}, {"X-CSRF-Token": viewer.csrf}, {"X-CSRF-Token": admin.csrf[:-1]},
                        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
            status, answer, _ = admin.ask(method, "/api/v1" + path, body, headers)
            assert status == 403 and answer["error"]["code"] in ("csrf", "cross_site"), (method, path, headers, status, answer)
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
        assert admin.ask("POST", "/api/v1/drain", {"on": True}, {"Content-Type": kind})[0] == 415
    server.wait_for("refused: another site's page sent it")
    unchanged(local, before)
    assert local.do("GET", "/users")["users"] == users

    # His logins end with his rights, and with the account.
    admin.do("PATCH", "/users/ben", {"role": "admin"})
    assert viewer.ask("GET", "/api/v1/me")[0] == 401
    ben = Web(server.https).log_in("ben")
    assert ben.do("GET", "/me")["role"] == "admin"
    admin.do("DELETE", "/users/ben")
    assert ben.ask("GET", "/api/v1/me")[0] == 401
    admin.do("POST", "/logout", {})
    assert admin.ask("GET", "/api/v1/me")[0] == 401


def test_paths_lead_nowhere_else(c):
    server, local, admin, _ = with_logins(c)
    before = local.do("GET", "/state")
    state = f"{c.directory}/tillbridged.state"
    assert (c.directory / "tillbridged.state/authority.key").exists()
    paths = ["/../../../../etc/passwd", "/..%2f..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/app.js/../../authority.key",
             state + "/authority.key", "/app.js%00.key", "/.%00./", "/\\..\\..\\etc\\passwd", "/api/v1/../../etc/passwd", "/api/v1/%2e%2e/state",
             "/api/v1/sticks/..%2f..%2fetc", "/api/v1//state", "/api/v1/state/", "/authority.key", "/index.html/", "/APP.JS", "http://127.0.0.1/api/v1/state"]
    for path in paths:
        for web in (admin, Web(server.https)):
            status, answer, _ = web.ask("GET", path)
            assert status in (400, 401, 404), (path, status, answer)
            assert b"root:" not in json.dumps(answer, default=str).encode() and "PRIVATE" not in json.dumps(answer, default=str)
    # What is there, is there for everybody, with its headers.
    status, page, headers = Web(server.https).ask("GET", "/")
    assert status == 200 and b"<!doctype html>" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"] and "unsafe" not in headers["Content-Security-Policy"]
    for name, value in (("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"), ("Referrer-Policy", "no-referrer")):
        assert headers[name] == value
    assert Web(server.https).ask("GET", "/", headers={"If-None-Match": headers["ETag"]})[0] == 304
    unchanged(local, before)


def test_what_is_too_much_is_refused(c):
    server, local, admin, _ = with_logins(c)
    before = local.do("GET", "/state")
    drain = "/api/v1/drain"
    for size in (65537, 300000):
        status, answer, _ = admin.ask("POST", drain, raw=b'{"on":true,"reason":"' + b"x" * (size - 23) + b'"}')
        assert status == 413, (size, status, answer)
    assert admin.ask("POST", drain, raw=b"[" * 60000)[0] in (400, 422)

    def raw(text, web=admin, wait=15):
        """What the server says to these bytes before it closes."""
        with web.open(wait) as sock:
            answer = b""
            try:
                sock.sendall(text)
                while piece := sock.recv(65536):
                    answer += piece
            except (ConnectionError, ssl.SSLError):
                pass
            return answer

    login = f"Cookie: {admin.cookie}\r\nX-CSRF-Token: {admin.csrf}\r\nContent-Type: application/json\r\n".encode()
    body = b'{"on":true}'
    close = b"Connection: close\r\n"
    for name, text, status in [
            ("a huge length", b"POST " + drain.encode() + b" HTTP/1.1\r\n" + login + b"Content-Length: 99999999999999\r\n\r\n", b"413"),
            ("a length that is none", b"POST " + drain.encode() + b" HTTP/1.1\r\n" + login + b"Content-Length: -1\r\n\r\n" + body, b"400"),
            ("two lengths", b"POST " + drain.encode() + b" HTTP/1.1\r\n" + login + b"Content-Length: 11\r\nContent-Length: 2\r\n\r\n" + body, b"400"),
            ("chunks", b"POST " + drain.encode() + b" HTTP/1.1\r\n" + login + b"Transfer-Encoding: chunked\r\n\r\nb\r\n" + body + b"\r\n0\r\n\r\n", b"411"),
            ("compressed", b"POST " + drain.encode() + b" HTTP/1.1\r\n" + login + b"Content-Encoding: gzip\r\nContent-Length: 11\r\n\r\n" + body, b"415"),
            ("long headers", b"GET / HTTP/1.1\r\nX: " + b"y" * 20000 + b"\r\n\r\n", b"431"),
            ("many headers", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n", b"431"),
            ("a long address", b"GET /" + b"a" * 6000 + b" HTTP/1.1\r\n\r\n", b"414"),
            ("another method", b"TRACE / HTTP/1.1\r\n\r\n", b"405"),
            ("no HTTP", b"\x16\x03\x01 hello\r\n\r\n", b"400"),
            ("many ranges", b"GET /app.js HTTP/1.1\r\nRange: bytes=" + b"0-,".join([b""] * 2000) + b"0-\r\n" + close + b"\r\n", b"200")]:
        answer = raw(text)
        assert answer.startswith(b"HTTP/1.1 " + status), (name, answer[:200])
        assert len(answer) < 200000, (name, len(answer))
    # Plain HTTP and rubbish at the TLS port.
    with socket.create_connection(("127.0.0.1", server.https), 10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        try:
            assert b"HTTP/1.1" not in sock.recv(65536)
        except ConnectionError:
            pass
    server.wait_for("refused: HTTP status 413")
    server.wait_for("refused: its headers are too long")
    unchanged(local, before)


def test_slow_clients_keep_nobody_waiting(c):
    """More of them than the server has room for; who wants something is served meanwhile, and they are cut."""
    server, local, admin, _ = with_logins(c)
    slow = []
    try:
        for number in range(60):
            try:
                if number % 3 == 0:
                    sock = socket.create_connection(("127.0.0.1", server.https), 10)  # not even a handshake
                else:
                    sock = admin.open(10)
                    sock.sendall(b"POST /api/v1/login HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 50\r\n" + (b"\r\n{" if number % 3 == 1 else b"X-"))
                slow.append(sock)
            except (OSError, ssl.SSLError):
                pass
        began = time.monotonic()
        for _ in range(20):
            admin.do("GET", "/me")
            local.do("GET", "/me")
        print(f"40 requests beside {len(slow)} slow clients: {time.monotonic() - began:.2f} s", flush=True)
        for sock in slow:  # each is told, or just cut
            sock.settimeout(30)
            try:
                while sock.recv(65536):
                    pass
            except (ConnectionError, ssl.SSLError):
                pass
    finally:
        for sock in slow:
            sock.close()
    server.wait_for("it sends too slowly")
    admin.do("GET", "/me")


def test_passwords_cannot_be_guessed(c):
    server, local, admin, _ = with_logins(c)
    guess = Web(server.https)
    answers = [guess.ask("POST", "/api/v1/login", {"user": user, "password": f"guess number {number}"})
               for number, user in enumerate(["anna", "nobody", "anna", "root", "anna", "anna", "anna", "nobody"])]
    assert [status for status, _, _ in answers] == [401] * 5 + [429] * 3, [status for status, _, _ in answers]
    assert len({json.dumps(answer) for status, answer, _ in answers if status == 401}) == 1  # who exists is not told
    assert answers[-1][2]["Retry-After"]
    # Nor tokens, nor with the right password now; who is logged in goes on.
    assert guess.ask("POST", "/api/v1/login", {"user": "anna", "password": PASSWORD})[0] == 429
    assert guess.ask("POST", "/api/v1/login/once", {"token": "A" * 43, "user": "eve", "password": PASSWORD})[0] == 429
    assert admin.do("GET", "/me")["user"] == "anna"
    assert len(local.audit("login_refused")) >= 5
    # A link is good once, and a new one ends the one before; the socket still gives them out.
    links = [re.search("once=(.*)", local.do("POST", "/login/link", {})["link"]).group(1) for _ in range(2)]
    assert all(link not in text for link in links for text in server.lines)
    for text in server.lines + [json.dumps(entry) for entry in local.do("GET", "/audit?limit=1000")["entries"]]:
        assert PASSWORD not in text and "guess number" not in text and admin.csrf not in text
        assert admin.cookie.split("=")[1] not in text
    database = b"".join(path.read_bytes() for path in (c.directory / "tillbridged.state").glob("tillbridge.db*"))
    for secret in (PASSWORD, admin.cookie.split("=")[1], *links):
        assert secret.encode() not in database


def test_links_are_good_once(c):
    server = start(c)
    local = Web(path=server.socket)
    first = server.wait_for(r"https://\S+/#once=(\S+)").group(1)
    second = re.search("once=(.*)", local.do("POST", "/login/link", {"reason": "test"})["link"]).group(1)
    try_link = lambda token, **more: Web(server.https).ask("POST", "/api/v1/login/once", {"token": token, "user": "anna", "password": PASSWORD, **more})
    assert try_link(first)[0] == 401  # the second one ended it
    assert try_link(second, password="short")[0] == 422  # and it is still good
    assert try_link(second, user="a b\u0007")[0] == 422
    assert try_link(second)[0] == 200
    assert try_link(second)[0] == 401
    assert [entry["who"] for entry in local.audit("login_link_made")][0].startswith("admin ")


def events(sock, seconds):
    """What a viewer is sent in so many seconds, as (type, data, id)."""
    text, deadline = b"", time.monotonic() + seconds
    sock.settimeout(0.5)
    while time.monotonic() < deadline:
        try:
            piece = sock.recv(65536)
        except (socket.timeout, TimeoutError, ssl.SSLError):
            continue
        if not piece:
            break
        text += piece
    found = []
    for block in re.sub(rb"\r\n[0-9a-f]+\r\n", b"", text).decode().split("\n\n"):
        fields = dict(re.findall(r"^(id|event|data): (.*)$", block, re.M))
        if "data" in fields:
            found.append((fields.get("event"), json.loads(fields["data"]), fields.get("id")))
    return found


def look(web, last=None):
    sock = web.open()
    sock.sendall((f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nCookie: {web.cookie}\r\n"
                  + (f"Last-Event-ID: {last}\r\n" if last else "") + "\r\n").encode())
    return sock


def test_viewers(c):
    server, local, admin, viewer = with_logins(c)
    # Many who look do not starve those who ask; the one too many is told so.
    seats = [look(admin) for _ in range(16)]
    with look(admin) as sock:
        sock.settimeout(10)
        assert b" 429 " in sock.recv(65536)
    for _ in range(10):
        admin.do("GET", "/me")
    for sock in seats[1:]:
        sock.close()
    admin.do("PATCH", f"/sticks/{STICK}", {"label": "one"})
    heard = events(seats[0], 3)
    state = [(data, number) for kind, data, number in heard if kind == "state"]
    assert state and any(stick["label"] == "one" for data, _ in state for stick in data["changed"].get("sticks", [])), heard
    last = state[-1][1]
    seats[0].close()
    # Who comes again hears what was missed; who comes too late, or from another run, reads all anew.
    admin.do("PATCH", f"/sticks/{STICK}", {"label": "two"})
    with look(admin, last) as sock:
        heard = events(sock, 2)
        assert any(stick["label"] == "two" for kind, data, _ in heard if kind == "state" for stick in data["changed"].get("sticks", [])), heard
        assert "reload" not in [kind for kind, _, _ in heard]
    for other in ("abcdefgh.3", "99999999999999999999999999", last.split(".")[0] + ".", "x" * 300):
        with look(admin, other) as sock:
            assert "reload" in [kind for kind, _, _ in events(sock, 1)], other
    # A stream ends with its login.
    sock = look(viewer)
    assert viewer.do("POST", "/logout", {})["changed"]
    sock.settimeout(20)
    while sock.recv(65536):
        pass
    sock.close()
    # And with the server, at once.
    sock = look(admin)
    events(sock, 0.5)
    began = time.monotonic()
    assert server.stop() == 0
    print(f"ended with a viewer in {time.monotonic() - began:.2f} s", flush=True)


def test_the_api_is_as_its_document_says(c):
    server = start(c)
    local = Web(path=server.socket)
    document = local.do("GET", "/openapi.json")
    assert document["openapi"].startswith("3.1")
    for reference in set(re.findall(r'"#/([^"]+)"', json.dumps(document))):
        place = document
        for name in reference.split("/"):
            place = place[name]
    connection = http.client.HTTPConnection("localhost", timeout=20)

    def answers(method, path):
        """Whether there is such an address with such a method; the request itself is wrong on purpose."""
        if path == "/api/v1/events":
            return method == "GET"  # it has no end
        raw = None if method == "GET" else b'{"no such field": 1}'
        status, answer, _ = local.ask(method, path, raw=raw, connection=connection)
        code = answer.get("error", {}).get("code") if isinstance(answer, dict) else None
        return not (status == 405 or (status == 404 and code == "unknown"))

    described = set()
    for path, item in document["paths"].items():
        concrete = re.sub(r"\{(\w+)\}", r"no-\1", path)
        for method in ("GET", "POST", "PATCH", "DELETE"):
            if method.lower() in item:
                described.add((method, concrete))
            is_there = answers(method, concrete)
            assert is_there == (method.lower() in item), f"{method} {path}: {'not described' if is_there else 'not answered'}"
    # And whatever words the sources know as parts of an address: nothing answers that is not described.
    words = set()
    for source in ("server/admin/api.cpp", "server/http/server.cpp", "server/operations/operations.cpp"):
        text = (chain.SOURCE / source).read_text()
        words |= set(re.findall(r'(?:at\(\d\)|verb|path_\[0\]) [!=]= "(\w+)"', text)) | set(re.findall(r'\{"(\w+)",\s*&Call', text))
        for path in re.findall(r'/api/v1/([\w./]+)"', text):
            words |= set(path.split("/"))
    assert {"sticks", "block", "mappings", "capture", "login", "once"} <= words, words
    known = {path for _, path in described}
    for first in sorted(words):
        for path in [f"/api/v1/{first}", *(f"/api/v1/{first}/{second}" for second in sorted(words)),
                     *(f"/api/v1/{first}/x/{third}" for third in sorted(words))]:
            pattern = [re.fullmatch(re.sub(r"no-\w+", "[^/]+", one), path) for one in known]
            if not any(pattern):
                assert not any(answers(method, path) for method in ("GET", "POST", "DELETE")), f"{path} answers, but is not described"
    connection.close()


def test_the_command_is_idempotent_and_says_what_helps(c):
    server = start(c)
    here = {"socket_path": server.socket}
    twice = [(("till", "label", "kasse-01", "Bakery"), "called"), (("map", SERIAL, "kasse-01"), "belongs to"), (("block", SERIAL), "is blocked"),
             (("unblock", SERIAL), ""), (("drain", "on"), "maintenance"), (("drain", "off"), "maintenance"), (("unmap", SERIAL), "not mapped"),
             (("stick", "label", SERIAL, "TSE 7"), "called"), (("release", "TSE 7"), "not in use"), (("till", "revoke", "kasse-01"), "revoked"),
             (("till", "remove", "kasse-01"), "")]
    command(c, "till", "add", "kasse-01", **here)
    for words, text in twice:
        first = command(c, *words, "--reason", "test", **here)
        entries = len(Web(path=server.socket).do("GET", "/audit?limit=1000")["entries"])
        again = command(c, *words, "--reason", "test", **here)
        assert text in first and text in again, (words, first, again)
        assert len(Web(path=server.socket).do("GET", "/audit?limit=1000")["entries"]) == entries, words
    for words in (("status",), ("stick", "list"), ("till", "list"), ("map",), ("lease",), ("user", "list"), ("audit", "show"), ("audit", "verify"), ("stick", "show", SERIAL)):
        json.loads(command(c, *words, "--json", **here))
        assert command(c, *words, **here).strip()
    assert "simulated-1" in command(c, "identify", SERIAL, **here)
    # Mistakes: an exit code each, and what to do.
    assert "tillbridge stick list" in command(c, "stick", "show", "nix", expect=NOT_FOUND, **here)
    assert "systemctl" in command(c, "status", expect=UNREACHABLE, socket_path=c.directory / "nowhere")
    command(c, "drain", "maybe", expect=USAGE, **here)
    command(c, "no-such-verb", expect=USAGE, **here)
    weak = command(c, "user", "add", "ben", "--new-password-file", "-", expect=REFUSED, stdin="short\n", **here)
    assert "->" in weak, weak
    # The export can be checked without anything of ours.
    command(c, "audit", "export", "-o", c.directory / "export.jsonl", **here)
    check(c, c.directory / "export.jsonl")


def test_the_command_from_afar(c):
    server = start(c)
    here = {"socket_path": server.socket}
    command(c, "user", "add", "anna", "--role", "admin", "--new-password-file", "-", stdin=PASSWORD + "\n", **here)
    command(c, "user", "add", "ben", "--new-password-file", "-", stdin=PASSWORD + "\n", **here)
    fingerprint = json.loads(command(c, "status", "--json", **here))["server"]["fingerprint"]
    (c.directory / "password").write_text(PASSWORD + "\n")
    away = ["--server", f"127.0.0.1:{server.https}", "--password-file", str(c.directory / "password")]
    anna, ben = [*away, "--login", "anna"], [*away, "--login", "ben"]
    assert SERIAL in command(c, "status", *anna, "--fingerprint", fingerprint)
    assert SERIAL in command(c, "status", *anna, "--fingerprint", ":".join(re.findall("..", fingerprint.upper())))
    assert SERIAL in command(c, "status", *anna, "--authority", c.directory / "tillbridged.state/authority.crt")
    command(c, "block", SERIAL, *anna, "--fingerprint", fingerprint)
    command(c, "unblock", SERIAL, *ben, "--fingerprint", fingerprint, expect=REFUSED)
    # Somebody in between: another authority, or none that is known. No password is sent to him.
    wrong = ("0" if fingerprint[0] != "0" else "1") + fingerprint[1:]
    logins = len(Web(path=server.socket).audit("login"))
    for proof in (["--fingerprint", wrong], [], ["--authority", "/etc/ssl/certs/ca-certificates.crt"]):
        said = command(c, "status", *anna, *proof, expect=REFUSED)
        assert "right server" in said, said
    assert len(Web(path=server.socket).audit("login")) == logins and not Web(path=server.socket).audit("login_refused")
    # It logs out when it is done.
    assert len(Web(path=server.socket).audit("logout")) == logins


def test_shells_complete_what_is_typed(c):
    server = start(c)
    script = c.directory / "completion"
    script.write_text(command(c, "completion", "bash"))

    def completed(*words):
        text = f'source {script}; COMP_WORDS=({" ".join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}; _tillbridge; printf "%s\\n" "${{COMPREPLY[@]}}"'
        return subprocess.run(["bash", "--norc", "-c", text], check=True, text=True, stdout=subprocess.PIPE,
                              env={**os.environ, "TILLBRIDGE_SOCKET": server.socket}).stdout.split()

    program = str(c.build / "cli/tillbridge")
    assert {"status", "stick", "till", "map", "unmap", "lease", "release", "block", "unblock", "drain", "identify", "pair", "audit", "doctor", "capture", "login-link",
            "user", "completion"} <= set(completed(program, "")), completed(program, "")
    assert "names" not in completed(program, "")
    assert completed(program, "sta") == ["status"]
    assert {"list", "show", "add", "token", "approve"} <= set(completed(program, "till", ""))
    assert {"--reason", "--stick", "--json", "--server"} <= set(completed(program, "till", "add", "--"))
    assert SERIAL in completed(program, "map", "5A")
    assert SERIAL in completed(program, "stick", "show", "--json", "")
    for shell in ("zsh", "fish"):
        text = command(c, "completion", shell)
        assert "identify" in text and "--" in text or "-l" in text
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=text, text=True, check=True)


def test_an_exported_file_and_a_copied_log_are_checked_without_a_server(c):
    server = start(c)
    command(c, "till", "add", "kasse-07", "--stick", SERIAL, "--address", "tse.example:4799", socket_path=server.socket)
    exported = c.directory / "nachschau.jsonl"
    command(c, "audit", "export", "-o", exported, socket_path=server.socket)
    assert "Check it with: tillbridge audit verify FILE" in exported.read_text()
    folder, key = c.directory / "tillbridged.state/audit", c.directory / "audit.pub"
    key.write_bytes((folder / "audit.pub").read_bytes())
    copy = c.directory / "copy"
    shutil.copytree(folder, copy)
    nobody = "/nonexistent/socket"
    for what in (exported, copy):
        assert "compare it with what the server shows" in command(c, "audit", "verify", what, socket_path=nobody)
        assert "intact" in command(c, "audit", "verify", what, "--audit-key", key, socket_path=nobody)
        check(c, what)
    assert json.loads(command(c, "audit", "verify", exported, "--json", socket_path=nobody))["intact"] is True

    good = exported.read_text()
    exported.write_text(good.replace('"kind":"till_added"', '"kind":"till_removed"'))
    said = command(c, "audit", "verify", exported, "--audit-key", key, socket_path=nobody, expect=1)
    assert re.search(r"! nachschau\.jsonl:\d+: The chain breaks between entry \d+ and entry \d+", said), said
    lines = (copy / "audit.jsonl").read_text().splitlines(keepends=True)
    (copy / "audit.jsonl").write_text("".join(lines[:1] + ["nonsense\n"] + lines[2:]))
    said = command(c, "audit", "verify", copy, socket_path=nobody, expect=1)
    assert "! audit.jsonl:2: What stands in the place of entry 2 is no entry" in said, said
    # One file of a log proves nothing; another server's key does not fit; what is no key is said to be none.
    assert "Copy the whole folder" in command(c, "audit", "verify", folder / "audit.jsonl", socket_path=nobody, expect=1)
    exported.write_text(good)
    other = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], check=True, stdout=subprocess.PIPE).stdout
    key.write_bytes(subprocess.run(["openssl", "pkey", "-pubout"], input=other, check=True, stdout=subprocess.PIPE).stdout)
    assert "another server" in command(c, "audit", "verify", exported, "--audit-key", key, socket_path=nobody, expect=1)
    command(c, "audit", "verify", exported, "--audit-key", exported, socket_path=nobody, expect=USAGE)
    command(c, "audit", "verify", "--audit-key", key, socket_path=server.socket, expect=USAGE)


def test_a_log_that_was_put_aside_is_warned_of(c):
    server = start(c)
    command(c, "till", "add", "kasse-07", socket_path=server.socket)
    server.stop()
    folder = c.directory / "tillbridged.state/audit"
    lines = (folder / "audit.jsonl").read_text().splitlines(keepends=True)
    (folder / "audit.jsonl").write_text("".join(lines[:3]))
    server = start(c)
    server.wait_for(r"alarm: the audit log was found changed at the start of")
    local = Web(path=server.socket)
    assert [alarm["kind"] for alarm in local.do("GET", "/state")["alarms"]] == ["audit_damaged"]
    said = command(c, "audit", "verify", socket_path=server.socket)
    assert re.search(r"warning: damaged-\S+ holds .*Entr.* missing at the end.*\(audit\.jsonl\).*in order up to entry 3", said), said
    assert "intact" in said
    check(c, folder)
    aside = next(folder.glob("damaged-*"))
    aside.rename(c.directory / "taken-away")
    assert "is not here" in command(c, "audit", "verify", socket_path=server.socket, expect=1)
    server.wait_for(r"alarm: the audit log is not in order")


def test_the_line_for_a_till_names_the_address_that_it_can_reach(c):
    server = start(c)
    line = re.search(r"tb1:(\S+?)/", command(c, "till", "add", "kasse-07", "--address", "tse.example", socket_path=server.socket)).group(1)
    assert line == f"tse.example:{server.port}", line
    line = re.search(r"tb1:(\S+?)/", command(c, "till", "token", "kasse-07", "--address", "[2001:db8::7]:4799", socket_path=server.socket)).group(1)
    assert line == "[2001:db8::7]:4799", line
    for wrong in ("two words", "host/x", "host:0", "host:"):
        assert "HOST or HOST:PORT" in command(c, "till", "token", "kasse-07", "--address", wrong, socket_path=server.socket, expect=REFUSED)

    # A machine that is replaced: its certificate is worth nothing from now on.
    command(c, "map", SERIAL, "kasse-07", socket_path=server.socket)
    config = c.directory / "till" / "till.toml"
    command(c, "pair", re.search(r"pair (\S+)", command(c, "till", "token", "kasse-07", "--address", "127.0.0.1", socket_path=server.socket)).group(1),
            "--config", config)
    command(c, "doctor", "--config", config)
    printed = command(c, "till", "token", "kasse-07", "--replace", "--address", "127.0.0.1", socket_path=server.socket)
    assert "revoked" in command(c, "doctor", "--config", config, expect=1)
    command(c, "pair", re.search(r"pair (\S+)", printed).group(1), "--config", c.directory / "new" / "till.toml")
    command(c, "doctor", "--config", c.directory / "new" / "till.toml")


def check(c, what):
    """By a reader that has no line in common with the server."""
    subprocess.run(["/usr/bin/python3", chain.SOURCE / "tests/support/audit_verify.py", what, c.directory / "tillbridged.state/audit/audit.pub"],
                   check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(globals())
