"""What goes wrong with TSE sticks in the field, as far as a redirection can make it worse: each through the whole chain. The numbers are
those of tse/FIELD_PROBLEMS.md; the others are tests of the stick alone."""

import time

from chain_support import main, tse
from tse_support import CLIENT, SERIAL, Shop, verify


def signed_through(shop, before, count=3):
    """The stick works, no counter was used twice and nothing is missing between."""
    receipts = shop.receipts(count)
    assert receipts[0]["counter"] > before
    archive, report = shop.export()
    assert report["findings"] == [], report
    assert shop.witness()["repeated_frames"] == 0 and shop.witness()["counter_gaps"] == 0, shop.witness()
    return archive, report


def test_01_a_sleeping_stick_answers_half_a_minute_late(c):
    """USB power saving. Nobody on the way may lose patience: FreeRDP's own redirection gives up after 10 s."""
    shop = Shop(c, "swissbit", sleep_after_s=2, wake_up_ms=31000)
    shop.setup()
    time.sleep(3)  # nothing to wait for: the idle time itself puts the stick to sleep
    began = time.monotonic()
    receipts = shop.receipts(1)
    assert time.monotonic() - began > 30
    assert receipts[0]["verified"]
    tse.nothing_happened_to(shop.witness())


def test_03_the_same_stick_comes_back_as_the_same_device(c):
    shop = Shop(c, "cryptovision")
    shop.setup()
    before = shop.receipts(1)[0]["counter"]
    place = shop.pos("status")[0]["place"]
    shop.unplug()
    shop.bench.plug(SERIAL)
    shop.wait_for_stick()
    assert shop.pos("status")[0]["place"] == place
    signed_through(shop, before)


def test_05_dead_until_its_power_is_cut(c):
    """The tunnel neither hangs nor resets the stick; with power back everything goes on."""
    shop = Shop(c, "cryptovision")
    shop.setup()
    before = shop.receipts(1)[0]["counter"]
    shop.bench.fault(SERIAL, "command dead code=0x2a")
    dying = shop.start_pos("receipt", "--client", CLIENT, "--count", 1)
    shop.bench.wait_for_faults(SERIAL, 1)
    shop.unplug()  # a minute without power, as people do it
    assert dying.wait() in (13, 40, 41), dying.text()
    shop.bench.plug(SERIAL)
    shop.wait_for_stick()
    signed_through(shop, before)
    assert shop.witness()["bus_resets"] == 0 and shop.witness()["class_resets"] == 0


def test_06_power_fails_in_the_middle_of_a_command(c):
    """The stick forgets time and login, the bus notices nothing. The POS is told and starts the stick again."""
    for kind, code in (("cryptovision", 0x0A), ("swissbit", 0x90), ("diebold", 200)):
        with type(c)(c.build) as own:
            shop = Shop(own, kind)
            shop.setup()
            before = shop.receipts(1)[0]["counter"]
            shop.bench.fault(SERIAL, f"before-command power-cycle code={code}")
            hit = shop.start_pos("receipt", "--client", CLIENT, "--count", 1)
            assert hit.wait() != 0, f"{kind}: nobody noticed the power failure\n{hit.text()}"
            assert shop.witness()["power_cycles"] == 1
            signed_through(shop, before)


def test_07_pulled_out_while_it_signs_and_back_a_second_later(c):
    """Nothing was signed: the POS says so. Signed, but the answer lost: it asks the stick that came back, and the receipt is whole."""
    for point, expected in (("before-command", 40), ("after-command", 0)):
        with type(c)(c.build) as own:
            shop = Shop(own, "cryptovision", signing_ms=300)
            shop.setup()
            before = shop.receipts(1)[0]["counter"]
            shop.bench.fault(SERIAL, f"{point} unplug ms=1000 code=0x0c")
            began = time.monotonic()
            hit = shop.start_pos("receipt", "--client", CLIENT, "--count", 1)
            assert hit.wait() == expected, hit.text()
            assert time.monotonic() - began < 25, "the POS must be told, not left to its own patience of 30 s"
            shop.wait_for_stick()
            _, report = signed_through(shop, before)
            assert report["logs"] == shop.witness()["signatures"]


def test_11_an_export_that_says_nothing_for_a_long_time(c):
    shop = Shop(c, "cryptovision", export_first_byte_ms=15000)
    shop.setup()
    shop.receipts(5)
    _, report = shop.export()
    assert report["transaction_logs"] == 10
    tse.nothing_happened_to(shop.witness())


def test_12_the_answer_to_a_signature_is_lost(c):
    """Signed and stored, but nobody can read it. It is in the log once, and the next number is the next one."""
    for kind, code in (("cryptovision", 0x0C), ("swissbit", 0x95), ("diebold", 205)):
        with type(c)(c.build) as own:
            shop = Shop(own, kind)
            shop.setup()
            before = shop.receipts(1)[0]["counter"]
            skip = 1 if kind == "swissbit" else 0  # 95 ends the start, too
            shop.bench.fault(SERIAL, f"after-command lose-answer code={code} skip={skip}")
            hit = shop.start_pos("receipt", "--client", CLIENT, "--count", 1)
            assert hit.wait() in (0, 12, 13, 15, 40, 41), hit.text()
            archive, report = signed_through(shop, before)
            assert report["logs"] == shop.witness()["signatures"], f"{kind}: the stick signed more than the log has"
            assert verify(own, archive)["findings"] == []


def test_14_serial_answers_in_fragments(c):
    """60 and 120 ms between the pieces; a client that waits 50 ms for the rest would fail, so none of it may be of our making."""
    for gap_ms in (60, 120):
        with type(c)(c.build) as own:
            shop = Shop(own, "diebold", packet_gap_ms=gap_ms)
            shop.setup()
            assert all(receipt["verified"] for receipt in shop.receipts(2))
            tse.nothing_happened_to(shop.witness())


if __name__ == "__main__":
    main(globals())
