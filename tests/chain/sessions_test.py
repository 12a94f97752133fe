"""Sessions come and go; the stick stays as it is and is there again at once."""

import signal

from chain_support import Wire, image, json_lines, main

STICK = {"kind": "mass-storage", "serial": "5A2F00000001"}
MAP = {"stick": "1209:0001:5A2F00000001", "till": "kasse-01"}


def start(c, *terminal, link=""):
    c.certificates("kasse-01")
    server = c.usb_server([{**STICK, "image": image(c, "stick.img", 16)}], [MAP], link=link)
    return server, c.terminal("--sink", "probe", "--json", *terminal), c.till_config("kasse-01", server.port)


def test_the_till_comes_back_after_a_crash(c):
    """kill -9 of the thin client's program: its next session has the stick at once."""
    server, terminal, config = start(c, "--probe-stay", "--probe-read", "0:2048")
    mark = 0
    for round_number in range(5):
        client = c.client(terminal.port, config, name=f"client-{round_number}")
        terminal.wait_for('"event":"probe".*good', after=mark)
        mark = terminal.mark()
        client.kill()
        terminal.wait_for("closed:", after=mark)
    assert sum("lease begun" in line for line in server.lines) == 5, server.text()


def test_the_session_is_closed_in_the_middle_of_transfers(c):
    """The terminal server goes away while the probe reads: the plugin cancels, the stick is free for the next session."""
    server, terminal, config = start(c, "--probe-stay", "--probe-read", "0:32768")
    client = c.client(terminal.port, config)
    terminal.wait_for("device_arrived")
    terminal.kill()
    client.wait()
    second = c.terminal("--sink", "probe", "--json", "--exit-after-session", "1", "--probe-read", "0:2048", name="terminal-2")
    c.client(second.port, config, name="client-2")
    assert second.wait() == 0, second.text()


def test_the_client_reconnects_by_itself(c):
    """The network between thin client and terminal server breaks: the same client comes back, loads the plugin anew, and has its
    stick again. Three times, since what is left behind adds up."""
    server, terminal, config = start(c, "--probe-stay", "--probe-read", "0:2048")
    wire = Wire(terminal.port)
    try:
        client = c.client(wire.port, config, arguments=["+auto-reconnect"])
        terminal.wait_for('"event":"probe".*good')
        for _ in range(3):
            mark = terminal.mark()
            wire.cut()
            terminal.wait_for('"event":"probe".*good', after=mark)
        assert client.process.poll() is None
        assert sum("lease begun" in line for line in server.lines) == 4, server.text()
    finally:
        wire.close()


def test_the_usb_server_is_stopped(c):
    """SIGTERM, and nobody starts it again: the device leaves the session after the grace time, the session goes on, the server
    ends well."""
    server, terminal, config = start(c, "--probe-stay", link="resume_grace_s = 2")
    client = c.client(terminal.port, config)
    terminal.wait_for('"event":"probe".*good')
    mark = terminal.mark()
    assert server.stop() == 0
    terminal.wait_for("device_gone", after=mark)
    assert client.process.poll() is None


def test_the_mapping_changes_while_the_session_runs(c):
    server, terminal, config = start(c, "--probe-stay")
    c.client(terminal.port, config)
    terminal.wait_for('"event":"probe".*good')
    text = server.config.read_text()
    mark = terminal.mark()
    server.config.write_text(text.replace('till = "kasse-01"', 'till = "kasse-99"'))
    server.process.send_signal(signal.SIGHUP)
    terminal.wait_for("device_gone", after=mark)
    mark = terminal.mark()
    server.config.write_text(text)
    server.process.send_signal(signal.SIGHUP)
    terminal.wait_for("device_arrived", after=mark)
    server.config.write_text(text + "\n[[map]]\nstik = 1\n")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for(r"stik")
    assert not json_lines(terminal)[-1]["event"] == "device_gone", "a broken file must change nothing"


if __name__ == "__main__":
    main(globals())
