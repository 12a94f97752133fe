"""Each mistake of a person gives a clear message and exit code, and the RDP session goes on."""

import socket
import subprocess

from chain_support import chain, image, main

STICK = {"kind": "mass-storage", "serial": "5A2F00000001"}
MAP = {"stick": "1209:0001:5A2F00000001", "till": "kasse-01"}


def a_till(c, config):
    terminal = c.terminal("--sink", "probe", "--probe-stay")
    client = c.client(terminal.port, config)
    terminal.wait_for("opened by user")
    return terminal, client


def goes_on(client):
    assert client.process.poll() is None, "the RDP session must not end because of the stick"


def test_server_unreachable(c):
    c.certificates("kasse-01")
    with socket.socket() as unused:  # bound and not listening: a port that surely refuses
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        _, client = a_till(c, c.till_config("kasse-01", port))
        client.wait_for(rf"localhost:{port}.*(refused|does not answer)")
        goes_on(client)


def test_plugin_of_the_other_generation_of_freerdp(c):
    """Both are called libtillbridge-client.so, so they get mixed up."""
    other = 5 - c.freerdp
    if not (c.plugin(other) / "libtillbridge-client.so").exists():
        print(f"    left out: there is no plugin for FreeRDP {other} in this build", flush=True)
        return
    c.certificates("kasse-01")
    terminal = c.terminal("--sink", "probe", "--probe-stay")
    client = c.client(terminal.port, c.till_config("kasse-01", 1), plugin_for=other)
    client.wait_for(rf"libtillbridge-client.so is for FreeRDP {other}, and here runs FreeRDP {c.freerdp}\.\S+; install the one for")
    terminal.wait_for("opened by user")
    goes_on(client)


def test_wrong_password_at_the_terminal_server(c):
    """It is said, it can be guessed twenty times only, then not even the right one is heard; who is in already stays."""
    password = c.file("password", "Kassenladen-17\n")
    password.chmod(0o600)
    terminal = c.terminal("--sink", "probe", "--probe-stay", "--user", "kasse", "--password-file", password)

    def client(word, name, user="kasse"):
        return c.client(terminal.port, arguments=[f"/p:{word}"], name=name, user=user)

    inside = client("Kassenladen-17", "inside")
    terminal.wait_for("opened by user kasse")
    said = r"wrong user or password|refused: too many wrong passwords; the next try is possible in \d+ s"
    for number in range(21):  # xfreerdp tries each twice
        mark = terminal.mark()
        guess = client("Kassenladen-17", "guess", user="root") if number == 0 else client(f"guess-{number}", "guess")
        heard = terminal.wait_for(said, after=mark).group(0)
        assert guess.wait() != 0
        if heard.startswith("refused"):
            break
    mark = terminal.mark()
    late = client("Kassenladen-17", "late")
    terminal.wait_for("refused: too many wrong passwords", after=mark)
    assert late.wait() != 0
    goes_on(inside)
    assert sum("wrong user or password" in line for line in terminal.lines) == 20, terminal.text()
    assert sum("opened by user" in line for line in terminal.lines) == 1, terminal.text()
    assert "Kassenladen" not in terminal.text() and "guess-" not in terminal.text(), "passwords are not logged"


def test_certificate_unknown(c):
    c.certificates("kasse-01")
    server = c.usb_server([STICK], [MAP])
    (c.directory / "pki").rename(c.directory / "pki-of-the-server")
    c.certificates("kasse-01")  # another authority
    pki = c.directory / "pki"
    (pki / "authority.crt").write_bytes((c.directory / "pki-of-the-server/authority.crt").read_bytes())
    _, client = a_till(c, c.till_config("kasse-01", server.port))
    server.wait_for(r"refused.*(certificate|authority)")
    client.wait_for(r"does not (know|accept).*certificate")
    goes_on(client)


def test_certificate_of_another_server(c):
    c.certificates("kasse-01")
    server = c.usb_server([STICK], [MAP])
    (c.directory / "pki").rename(c.directory / "pki-of-the-server")
    c.certificates("kasse-01")
    _, client = a_till(c, c.till_config("kasse-01", server.port))
    client.wait_for(r"certificate.*not from the configured authority file.*authority\.crt")
    goes_on(client)


def test_stick_not_mapped(c):
    c.certificates("kasse-01", "kasse-02")
    server = c.usb_server([STICK], [MAP])
    _, client = a_till(c, c.till_config("kasse-02", server.port))
    server.wait_for(r"kasse-02.* gets no stick")
    client.wait_for(r"(no stick|mapped).*kasse-02|kasse-02.*(no stick|\[\[map\]\])")
    goes_on(client)


def test_stick_unplugged_during_a_transfer(c):
    """Gone in the session at once (the figure is printed), and back when it is plugged in again."""
    control = c.directory / "control.sock"
    path = image(c, "stick.img", 64)
    c.certificates("kasse-01")
    server = c.usb_server([{**STICK, "image": path, "delay_us": 20000}], [MAP], f'[simulation]\ncontrol = "{control}"')
    terminal = c.terminal("--sink", "probe", "--probe-stay", "--json", "--probe-read", "0:131072")
    client = c.client(terminal.port, c.till_config("kasse-01", server.port))
    terminal.wait_for("device_arrived")
    server.wait_for("lease begun")
    mark = terminal.mark()
    assert tell(control, "unplug 5A2F00000001") == "ok"
    server.wait_for("unplugged")
    terminal.wait_for('"event":"device_gone"', after=mark)
    took_s = terminal.time_of('"event":"device_gone"', mark) - server.time_of("unplugged")
    print(f"    the device was gone in the session after {took_s * 1000:.0f} ms", flush=True)
    assert took_s < 5.0, "that is a time-out, not the news of the unplugging"
    goes_on(client)
    mark = terminal.mark()
    assert tell(control, "plug 5A2F00000001") == "ok"
    terminal.wait_for("device_arrived", after=mark)


def tell(control, line):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(control))
        connection.sendall(line.encode() + b"\n")
        return connection.makefile().readline().strip()


def run(c, *command):
    return subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=chain.PATIENCE_S, env=c.environment())


def test_typo_in_the_server_configuration(c):
    config = c.file("typo.toml", '[link]\nlisten = "127.0.0.1:0"\ncertificat = "x"\n')
    ended = run(c, c.build / "server/usb/tillbridged", "--config", config)
    assert ended.returncode == 2, ended
    assert f"{config}:3" in ended.stderr and "certificat" in ended.stderr and "certificate" in ended.stderr, ended.stderr


def test_typo_in_the_till_configuration(c):
    config = c.file("till.toml", '[server]\nhost = "localhost"\n[tls]\ncertificat = "x"\n')
    _, client = a_till(c, config)
    client.wait_for(rf"{config}:4.*certificat")
    goes_on(client)


def test_missing_configuration(c):
    ended = run(c, c.build / "server/usb/tillbridged", "--config", c.directory / "nowhere.toml")
    assert ended.returncode == 2 and "nowhere.toml" in ended.stderr, ended


def test_port_in_use(c):
    c.certificates("kasse-01")
    first = c.usb_server([STICK], [MAP])
    text = first.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{first.port}")
    config = c.file("second.toml", text.replace("/tillbridged.", "/second."))  # a memory of its own
    ended = run(c, c.build / "server/usb/tillbridged", "--config", config)
    assert ended.returncode == 3 and str(first.port) in ended.stderr, ended


def test_terminal_open_to_the_network_without_a_user(c):
    ended = run(c, c.build / "server/terminal/tillbridge-terminal", "--sink", "probe", "--listen", "0.0.0.0:0")
    assert ended.returncode == 2 and "--user" in ended.stderr, ended


if __name__ == "__main__":
    main(globals())
