"""The page in front of the real tillbridged, with a real session: what is done in the browser happens in the session."""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "chain"))
from chain_support import main  # noqa: E402

TILL, SERIAL, USER, PASSWORD = "kasse-01", "5A2F00000001", "anna", "four quiet words here"


class Browser:
    """tests/page/steps.mjs: one method call is one step on the page."""

    def __init__(self):
        environment = dict(os.environ, TILLBRIDGE_PAGE_PICTURES=os.path.join(os.path.abspath(sys.argv[1]), "page"),
                           TILLBRIDGE_PAGE_TIMEOUT_MS="60000")
        self.process = subprocess.Popen(["node", HERE / "steps.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)

    def __getattr__(self, step):
        def take(**values):
            self.process.stdin.write(json.dumps({"do": step, **values}) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline() or '{"ok": false, "why": "the browser ended"}')
            assert answer.pop("ok"), answer["why"]
            return answer

        return take


def test_what_is_done_on_the_page_happens_in_the_session(c):
    c.certificates(TILL)
    extra, bench = c.test_bench()
    server = c.usb_server([{"kind": "mass-storage", "serial": SERIAL, "size_mib": 16}], [], extra)
    link = server.wait_for(r"(https?://\S+/#once=\S+)").group(1)
    terminal = c.terminal("--sink", "probe", "--json", "--probe-stay", "--probe-bench", "100000", "--probe-timeout", "600")
    with Browser() as page:
        page.first_login(link=link, user=USER, password=PASSWORD)
        page.stick_says(stick=SERIAL, text="Not mapped")
        page.picture(name="real-first-run")

        c.client(terminal.port, c.till_config(TILL, server.port), user="verkauf")
        page.till_says(till=TILL, text="no stick mapped")
        page.headline(text="Welcome")
        page.picture(name="real-till-without-stick")

        page.drag(till=TILL, stick=SERIAL)
        terminal.wait_for('"event":"device_arrived"')
        page.stick_says(stick=SERIAL, text="In use")
        page.headline(text="Your till has its stick")
        page.line(stick=SERIAL)
        page.picture(name="real-in-use")

        # The stick takes its time from now on: that is what somebody who looks at the page must see.
        bench.fault(SERIAL, "command delay times=0 ms=40")
        slow = page.p99_above(stick=SERIAL, ms=40)
        print(f"p99 with a stick that takes 40 ms for each command: {slow['text']}", flush=True)
        page.line(stick=SERIAL)
        page.picture(name="real-slow")

        page.language(to="Deutsch", title="Kasse hinzufügen")
        page.theme(to="Dunkel")
        page.picture(name="real-german-dark")
        page.language(to="English", title="Add till")
        page.theme(to="Light")

        page.unmap(stick=SERIAL, reason="the test ends")
        terminal.wait_for('"event":"device_gone"')
        page.stick_says(stick=SERIAL, text="Not mapped")
        page.audit(expect=["Mapped", "Use begun", "Unmapped", "the test ends"])
        page.end()


def test_what_happens_to_the_stick_is_seen_on_the_page(c):
    """An ended use comes back only when the admin gives it back; a stick that is pulled comes back by itself."""
    c.certificates(TILL)
    extra, bench = c.test_bench()
    server = c.usb_server([{"kind": "mass-storage", "serial": SERIAL, "size_mib": 16}], [], extra)
    link = server.wait_for(r"(https?://\S+/#once=\S+)").group(1)
    terminal = c.terminal("--sink", "probe", "--json", "--probe-stay")
    c.client(terminal.port, c.till_config(TILL, server.port), user="verkauf")
    with Browser() as page:
        page.first_login(link=link, user=USER, password=PASSWORD)
        page.till_says(till=TILL, text="no stick mapped")
        page.drag(till=TILL, stick=SERIAL)
        terminal.wait_for('"event":"device_arrived"')
        page.headline(text="Your till has its stick")

        mark = terminal.mark()
        page.end_lease(stick=SERIAL, reason="cleaning the cupboard")
        terminal.wait_for('"event":"device_gone"', after=mark)
        page.need(text="An admin took its stick")
        page.picture(name="real-released")
        mark = terminal.mark()
        page.need(text="An admin took its stick", press="Give back")
        terminal.wait_for('"event":"device_arrived"', after=mark)
        page.headline(text="Your till has its stick")

        mark = terminal.mark()
        bench.unplug(SERIAL)
        terminal.wait_for('"event":"device_gone"', after=mark)
        page.need(text="is unplugged")
        page.stick_says(stick=SERIAL, text="Unplugged")
        page.picture(name="real-unplugged")
        mark = terminal.mark()
        bench.plug(SERIAL)
        terminal.wait_for('"event":"device_arrived"', after=mark)
        page.no_need(text="is unplugged")
        page.headline(text="Your till has its stick")
        page.end()


if __name__ == "__main__":
    main(globals())
