"""kill -9 of the real tillbridged at seeded points of an administrator's work."""

import http.client
import random
import signal
import sqlite3
import threading

from admin_test import STICK, Web, check, start
from chain_support import main


def deaths(c, seed, count):
    """kill -9 at seeded points of work: what was answered is there, nothing is damaged, and the next start goes on."""
    choice = random.Random(seed)
    known = {}  # what was answered: a stick's label, a till's
    for round_number in range(count):
        server = start(c, name="tillbridged")
        local = Web(path=server.socket)
        connection = http.client.HTTPConnection("localhost", timeout=20)
        state = local.do("GET", "/state")
        labels = {"stick": next(one["label"] for one in state["sticks"] if one["id"] == STICK),
                  **{till["name"]: till["label"] for till in state["tills"]}}
        for name, possible in known.items():
            assert labels.get(name, "") in possible, (round_number, name, labels.get(name), possible)
        if round_number % 10 == 0:
            report = local.do("GET", "/audit/verify")
            assert report["intact"], report
        assert not state["alarms"], state["alarms"]
        known = {name: {label} for name, label in labels.items()}
        left, pause = choice.randrange(1, 5), choice.random() * 0.006
        killer = None
        for number in range(left):
            label = f"{round_number}.{number}"
            name = choice.choice(["stick", "kasse-01", "kasse-02"])
            path, body = (f"/api/v1/sticks/{STICK}", {"label": label}) if name == "stick" else (f"/api/v1/tills/{name}", {"label": label})
            method = "PATCH"
            if name != "stick" and name not in labels:
                method, path, body = "POST", "/api/v1/tills", {"name": name, "label": label}
            known.setdefault(name, {""}).add(label)
            if number == left - 1:
                killer = threading.Timer(pause, lambda: server.process.send_signal(signal.SIGKILL))
                killer.start()
            try:
                status, answer, _ = local.ask(method, path, body, connection=connection)
                assert status == 200, (status, answer)
                known[name] = {label}
                labels[name] = label
            except (OSError, http.client.HTTPException):
                assert killer, "the server died before it was killed"
        connection.close()
        killer.join()
        server.process.wait()
        database = sqlite3.connect(c.directory / "tillbridged.state/tillbridge.db")
        assert database.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        database.close()
        c.programs.remove(server)
    server = start(c)
    assert Web(path=server.socket).do("GET", "/audit/verify")["intact"]
    server.stop()
    check(c, c.directory / "tillbridged.state/audit")


def test_a_hundred_sudden_deaths(c):
    deaths(c, 1, 100)


def test_a_hundred_other_sudden_deaths(c):
    deaths(c, 2, 100)


if __name__ == "__main__":
    main({name: test for name, test in globals().items() if name.startswith("test_a_hundred")})
