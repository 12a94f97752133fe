"""A POS in the session sets up a TSE, signs a hundred receipts and exports the log, with each family, through the whole chain."""

import re

from chain_support import main, tse
from tse_support import CLIENT, SERIAL, Shop

RECEIPTS = 100


def a_hundred_receipts(c, kind):
    shop = Shop(c, kind)
    assert any(line["event"] == "setup" and line["changed"] for line in shop.setup())
    receipts = shop.receipts(RECEIPTS)
    assert len(receipts) == RECEIPTS and all(receipt["verified"] for receipt in receipts)
    counters = [receipt["counter"] for receipt in receipts]
    assert counters == list(range(counters[0], counters[0] + 2 * RECEIPTS, 2)), "a start and a finish for each receipt"
    assert [receipt["transaction"] for receipt in receipts] == list(range(1, RECEIPTS + 1))
    assert re.fullmatch(rf"V0;{CLIENT};Kassenbeleg-V1;Beleg\^4\.20_0\.00_0\.00_0\.00_0\.00\^4\.20:Bar;1;\d+;.*", receipts[0]["qr"])

    archive, report = shop.export()
    assert report["transaction_logs"] == 2 * RECEIPTS and report["findings"] == []
    print(f"  {kind}: {tse.verify_independently(archive).split(': ', 1)[1]}")

    witness = shop.witness()
    tse.nothing_happened_to(witness)
    assert witness["signatures"] == report["logs"], "the stick signed what is in the export, and nothing else"
    # The session ends as a session does, and the stick keeps everything for the next one.
    shop.client.stop()
    shop.server.wait_for("lease ended")
    tse.nothing_happened_to(shop.witness())


def test_cryptovision(c):
    a_hundred_receipts(c, "cryptovision")


def test_swissbit(c):
    a_hundred_receipts(c, "swissbit")


def test_diebold(c):
    a_hundred_receipts(c, "diebold")


def test_setup_is_done_once_and_the_state_survives_the_server(c):
    shop = Shop(c, "cryptovision", state=c.directory / "tse", image=c.directory / "tse.img", size_mib=16)
    shop.setup()
    assert not any(line["changed"] for line in shop.setup() if line["event"] == "setup")
    last = shop.receipts(3)[-1]["counter"]
    shop.server.kill()  # as if somebody had pulled the plug of the USB server

    shop.server = c.start("tillbridged", shop.server.command)
    port = int(shop.server.wait_for(r"listening for tills on \S+:(\d+)").group(1))
    shop.client.stop()
    shop.client = c.client(shop.terminal.port, c.till_config("kasse-01", port))
    shop.port = int(shop.terminal.wait_for(r"listening for USB/IP clients on \S+:(\d+)", after=shop.terminal.mark()).group(1))
    shop.wait_for_stick()
    receipts = shop.receipts(2)
    assert receipts[0]["counter"] > last, "a counter was used twice"
    _, report = shop.export()
    assert report["transaction_logs"] == 2 * 5


def test_two_sessions_never_share_a_stick(c):
    """Row 9 of the field problems: two users of one stick. The second till is told why it gets none; the first goes on."""
    shop = Shop(c, "cryptovision")
    shop.setup()
    second = c.client(shop.terminal.port, c.till_config("kasse-02", shop.server.port), name="second xfreerdp3")
    second.wait_for(r"no stick|mapped")
    # And within one session a device is lent to one program at a time.
    first = shop.start_pos("receipt", "--client", CLIENT, "--count", 50)
    first.wait_for('"event":"receipt"')
    busy = shop.start_pos("status")
    assert busy.wait() == 14, busy.text()
    assert first.wait() == 0, first.text()
    tse.nothing_happened_to(shop.witness())
    assert SERIAL in "\n".join(shop.terminal.lines)


if __name__ == "__main__":
    main(globals())
