"""Three tills with three sticks at once through one tillbridged and one tillbridge-terminal: each sees only its own."""

from chain_support import BLOCK, image, json_lines, main, sha256

TILLS = ["kasse-01", "kasse-02", "kasse-03"]
READ_BYTES = 4 << 20


def test_each_till_sees_its_own_stick(c):
    c.certificates(*TILLS)
    images = {till: image(c, f"{till}.img", 16) for till in TILLS}
    serials = {till: f"5A2F0000000{number}" for number, till in enumerate(TILLS, 1)}
    # One stick more than tills: it is nobody's, so nobody may see it.
    sticks = [{"kind": "mass-storage", "serial": serials[till], "image": images[till]} for till in TILLS]
    sticks.append({"kind": "mass-storage", "serial": "5A2F00000009", "size_mib": 16})
    server = c.usb_server(sticks, [{"stick": f"1209:0001:{serials[till]}", "till": till} for till in TILLS])
    # The sessions stay open after the probe, so that all three are there at once.
    terminal = c.terminal("--sink", "probe", "--json", "--probe-stay", "--probe-read", f"0:{READ_BYTES // BLOCK}")
    for till in TILLS:
        c.client(terminal.port, c.till_config(till, server.port), name=till, user=till)
    wanted = {(serials[till], sha256(images[till].read_bytes()[:READ_BYTES])) for till in TILLS}

    def found():
        arrived, read, users = {}, {}, {}
        for line in json_lines(terminal):
            if line["event"] == "device_arrived":
                arrived.setdefault(line["session"], []).append(line["serial"])
            elif line["event"] == "read":
                read[line["session"]] = line["sha256"]
            elif line["event"] == "session_opened":
                users[line["session"]] = line["user"]
        return arrived, read, users

    mark = 0
    for _ in TILLS:
        terminal.wait_for(r'"event":"probe"', after=mark)
        mark = next(i for i in range(mark, len(terminal.lines)) if '"event":"probe"' in terminal.lines[i]) + 1
    arrived, read, users = found()
    assert all(len(serial) == 1 for serial in arrived.values()), f"a session got more than its own stick: {arrived}"
    assert {(arrived[session][0], read[session]) for session in read} == wanted, (arrived, read)
    for session, user in users.items():
        assert arrived[session] == [serials[user]], f"the session of {user} has stick {arrived[session]}"
    assert not any("5A2F00000009" in line for line in terminal.lines), "the stick that is mapped to nobody was shown"


if __name__ == "__main__":
    main(globals())
