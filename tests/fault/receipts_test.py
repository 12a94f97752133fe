"""A POS signs receipts in the session while the network between till and USB server fails: it sees a slow stick, nothing else.

Arguments: the build directory, then names of tests (none: all). See README.md for the full size."""

from fault_support import (SIGNATURE_NOT_MADE, SIGNATURE_UNKNOWN, Ledger, PatientShop, Relay, commands_aborted, size, stayed, suite,
                           tse)
from chain_support import main

HOLE_RECEIPTS = 6


def shop_behind(c, kind, *relay_arguments, **options):
    relay = []

    def way(server):
        relay.append(Relay(c, server.port, *relay_arguments))
        return relay[0].port

    shop = PatientShop(c, kind, way=way, **options)
    shop.setup()
    return shop, relay[0]


def under_cuts(c, kind, count):
    """Every 50 to 500 ms the TCP connection breaks, in one of four ways."""
    shop, relay = shop_behind(c, kind, "--cut-ms", "50:500")
    ledger = Ledger(shop)
    began, cuts, took_s = relay.cuts(), 0, 0
    # A few receipts can be so quick that nothing strikes them: then there are more of them.
    while cuts < 2:
        program = ledger.start(count)
        assert program.wait(size(3600, 150)) == 0, program.text(20)
        assert len(ledger.signed(program)) == count, program.text(20)
        cuts = relay.cuts() - began
        took_s += program.times[-1] - program.started
    stayed(shop)
    report, _ = ledger.check()
    tse.nothing_happened_to(shop.witness())
    assert shop.witness()["signatures"] == report["logs"]
    resumed = sum("goes on with its session" in line for line in shop.server.lines)
    receipts = sum(len(ledger.signed(program)) for _, program in ledger.runs)
    print(f"    {kind}: {receipts} receipts, {cuts} cuts, {resumed} resumed, {took_s:.1f} s", flush=True)
    assert resumed >= 1, relay.program.text(40)


def test_cuts_cryptovision(c):
    under_cuts(c, "cryptovision", size(1000, 25))


def test_cuts_swissbit(c):
    under_cuts(c, "swissbit", size(300, 10))


def test_cuts_diebold(c):
    under_cuts(c, "diebold", size(300, 10))


def a_hole_in_a_receipt(c, hole_s, **options):
    """The POS signs; in the middle of a receipt nothing passes any more. Returns (shop, relay, ledger, the POS)."""
    # A stick that takes its time is in the middle of something at any moment.
    shop, relay = shop_behind(c, "cryptovision", "--hole-s", hole_s, signing_ms=100, **options)
    ledger = Ledger(shop)
    program = ledger.start(HOLE_RECEIPTS)
    program.wait_for('"event":"receipt"')
    relay.hole()
    return shop, relay, ledger, program


def test_a_black_hole_in_the_middle_of_a_receipt(c):
    """Both ends give the connection up after 6 s and go on with their session after the hole."""
    hole_s = size(30, 7.5)
    shop, relay, ledger, program = a_hole_in_a_receipt(c, hole_s)
    assert program.wait() == 0, program.text()
    assert len(ledger.signed(program)) == HOLE_RECEIPTS
    longest = max(after - before for before, after in zip(program.times, program.times[1:]))
    assert longest >= hole_s, f"the hole was in the middle of no receipt: {longest:.1f} s"
    stayed(shop)
    shop.server.wait_for("goes on with its session")
    ledger.check()
    tse.nothing_happened_to(shop.witness())
    print(f"    {hole_s} s of silence: the receipt took {longest:.1f} s", flush=True)


def test_a_black_hole_longer_than_the_grace_time(c):
    """The session sees a stick that is unplugged, and the same one plugged in when the network is back."""
    grace_s, hole_s = size((60, 90), (1, 9))
    shop, relay, ledger, program = a_hole_in_a_receipt(c, hole_s, link=f"resume_grace_s = {grace_s}")
    shop.terminal.wait_for(r"device \d+ gone")
    # It waits a while for a stick that is gone, and asks it what became of the receipt if it comes back by then.
    assert program.wait() in (0, SIGNATURE_NOT_MADE, SIGNATURE_UNKNOWN), program.text()
    relay.wait_for_end_of_hole()
    shop.wait_for_stick()
    ledger.finish_open()
    again = ledger.start(3)
    assert again.wait() == 0, again.text()
    _, codes = ledger.check()
    tse.nothing_happened_to(shop.witness(), class_resets=commands_aborted(shop))
    assert f"is given up: it did not come back within {grace_s} s" in shop.server.text(), shop.server.text(40)
    print(f"    {hole_s} s of silence: gone after {gone_after(shop, relay):.1f} s, back {back_after(shop, relay):.1f} s after "
          f"its end; the POS ended with {max(codes)}", flush=True)


def gone_after(shop, relay):
    return shop.terminal.time_of(r"device \d+ gone") - relay.program.time_of("hole begins")


def back_after(shop, relay):
    return shop.terminal.times[shop.arrivals - 1] - relay.program.time_of("hole over")


if __name__ == "__main__":
    main(suite(globals(), "test_cuts_swissbit"))
