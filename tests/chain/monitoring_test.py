"""The ready monitoring in front of the real server: Prometheus, set up as docs/operating.md says, reads it over HTTPS with a token, takes the rules, raises an alert, and
each query of the dashboard finds what it draws."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

from chain_support import chain, main

SERIAL = "5A2F00000001"
GUIDE = chain.SOURCE / "docs/operating.md"
READY = chain.SOURCE / "packaging/monitoring"
# Nothing has happened yet, so there is nothing to draw.
MAY_BE_EMPTY = {"Alarms by kind", "Sticks that are not as they should be"}


class Prometheus:
    """As the guide's prometheus.yml sets it up, but for a name, an address and files of this test; its data in this chain's directory."""

    def __init__(self, c, https, token, authority):
        found = re.search(r"^    rule_files:.*(?:\n    .*)*", GUIDE.read_text(), re.MULTILINE).group()
        settings = re.sub("^    ", "", found, flags=re.MULTILINE)
        for wanted, here in (("/etc/prometheus/tillbridge.rules.yml", READY / "tillbridge.rules.yml"), ("/etc/prometheus/tillbridge.token", token),
                             ("/etc/prometheus/tillbridge-authority.pem", authority), ("usbserver:4712", f"localhost:{https}")):
            assert settings.count(wanted) == 1, f"{wanted} in the guide's prometheus.yml:\n{settings}"
            settings = settings.replace(wanted, str(here))
        config = c.file("prometheus.yml", "global: {scrape_interval: 1s, evaluation_interval: 1s}\n" + settings + "\n")
        with socket.socket() as free:  # it knows no port 0
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        c.start("prometheus", ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={c.directory / 'tsdb'}",
                               f"--web.listen-address=127.0.0.1:{self.port}"]).wait_for("Server is ready")

    def ask(self, path, **parameters):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?" + urllib.parse.urlencode(parameters), timeout=20) as answer:
            return json.load(answer)["data"]

    def find(self, expression):
        return self.ask("query", query=expression)["result"]

    def wait_for(self, expression):
        """Prometheus prints no line when it has read: asked until it has something."""
        deadline = time.monotonic() + chain.PATIENCE_S
        while time.monotonic() < deadline:
            found = self.find(expression)
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"Prometheus finds nothing for {expression}; targets: {self.ask('targets')['activeTargets']}")


def test_the_guides_prometheus_reads_warns_and_draws(c):
    token = c.directory / "metrics.token"
    token.touch(mode=0o600)
    token.write_text("0123456789abcdef0123456789abcdef\n")
    bench_on, bench = c.test_bench()
    server = c.usb_server([{"kind": "mass-storage", "serial": SERIAL, "size_mib": 16}], [],
                          f'metrics_token_file = "{token}"\n[authority]\nnames = ["localhost"]\n[libusb]\nenabled = false\n' + bench_on)
    found = server.wait_for(r"listening for administrators on \S+:(\d+) and (\S+)")
    tillbridge = [c.build / "cli/tillbridge"]
    administrator = {**c.environment(), "TILLBRIDGE_SOCKET": found.group(2)}

    def command(*words):
        return subprocess.run([*tillbridge, *words], env=administrator, check=True, text=True, stdout=subprocess.PIPE, timeout=60).stdout

    line = re.search(r"tillbridge pair (\S+)", command("till", "add", "kasse-01", "--stick", SERIAL)).group(1)
    config = c.directory / "till.toml"
    command("pair", line, "--config", config)
    terminal = c.terminal("--sink", "probe", "--probe-stay", "--probe-read", "0:2048")
    c.client(terminal.port, config)
    terminal.wait_for("arrived")
    server.wait_for("lease begun")

    prometheus = Prometheus(c, found.group(1), token, c.directory / "till-identity/authority.pem")
    prometheus.wait_for('up{job="tillbridge"} == 1')
    # Two readings, so that there are rates.
    prometheus.wait_for("count_over_time(tillbridge_build_info[1m]) >= 3")
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) >= 14 and all(rule["health"] in ("ok", "unknown") for rule in rules), rules
    assert not prometheus.find('ALERTS{alertstate="firing"}'), "an alert fires although nothing is wrong"

    dashboard = json.loads((READY / "tillbridge-dashboard.json").read_text())
    values = {}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            series = prometheus.find(re.sub(r"\$(instance|till|stick)\b", ".*", target["expr"].replace("$__rate_interval", "1m")))
            assert series or panel["title"] in MAY_BE_EMPTY, f"nothing to draw in '{panel['title']}': {target['expr']}"
            values.setdefault(panel["title"], [float(one["value"][1]) for one in series])
    assert values["Tills with a stick"] == [1] and values["Connected tills without one"] == [0], values
    assert 89 < values["Certificates: days left"][0] <= 90, values

    # A stick that is pulled is an alarm of the server, and an alert.
    bench.unplug(SERIAL)
    firing = prometheus.wait_for('ALERTS{alertstate="firing",alertname="TillbridgeAlarm"}')
    assert [alert["metric"]["kind"] for alert in firing] == ["stick_gone"], firing
    bench.plug(SERIAL)
    prometheus.wait_for('absent(ALERTS{alertstate="firing"})')


if __name__ == "__main__":
    if shutil.which("prometheus") is None:
        print("skipped: prometheus is missing; packaging/setup installs it")
        sys.exit(77)
    main(globals())
