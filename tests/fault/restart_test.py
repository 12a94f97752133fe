"""The USB server is restarted as planned while a POS signs receipts: nothing is lost, and nobody but a clock notices.

Arguments: the build directory, then names of tests (none: all). See README.md for the full size."""

import random
import subprocess
import time

from fault_support import SEED, Ledger, ShopWithBus, size, suite, tse
from chain_support import main

ROUNDS = size(30, 2)


def restarts(c, kind, how, **options):
    """`how`: asks the server to end. The POS signs all the time, and sees no error at all."""
    shop = ShopWithBus(c, kind, **options)
    shop.setup()
    ledger, choice, took_s = Ledger(shop), random.Random(SEED), []
    program = ledger.start(1000000)
    for _ in range(ROUNDS):
        mark = program.mark()
        program.wait_for('"event":"receipt"', after=mark)
        time.sleep(choice.uniform(0, 0.3))
        began = time.monotonic()
        how(shop)
        assert shop.server.wait() == 0, shop.server.text(40)
        shop.start_server_again()
        mark = program.mark()
        program.wait_for('"event":"receipt"', after=mark)
        took_s.append(time.monotonic() - began)
    assert program.process.poll() is None, program.text(20)
    arrivals = [line for line in shop.terminal.lines if "can be imported as" in line]
    assert len(arrivals) == 1, f"the device was enumerated again: {arrivals}"
    # Only this ends the POS, in the middle of a receipt perhaps.
    program.kill()
    ledger.runs.pop()
    ledger.finish_open()
    _, report = shop.export()
    assert report["findings"] == [], report
    receipts = ledger.signed(program)
    counters = [line["counter"] for line in receipts]
    assert counters == list(range(counters[0], counters[0] + 2 * len(counters), 2)), "something was signed between two receipts"
    assert all(line["verified"] for line in receipts)
    witness = shop.witness()
    tse.nothing_happened_to(witness)
    assert witness["signatures"] == report["logs"]
    print(f"    {kind}: {ROUNDS} restarts, {len(receipts)} receipts; from asking to the next receipt at most {max(took_s):.1f} s",
          flush=True)


def terminated(shop):
    shop.server.process.terminate()


def drained(shop):
    """As an administrator does it who wants nobody new while the server goes down."""
    subprocess.run([shop.c.build / "cli/tillbridge", "drain", "on", "--socket", shop.c.directory / "tillbridged.admin"], check=True,
                   stdout=subprocess.DEVNULL, env=shop.c.environment())
    shop.server.process.terminate()


def test_restarted_cryptovision(c):
    restarts(c, "cryptovision", terminated, signing_ms=50)


def test_restarted_swissbit_after_drain(c):
    restarts(c, "swissbit", drained, signing_ms=50)


def test_restarted_diebold(c):
    """A serial stick: a read waits for its answer at any moment."""
    restarts(c, "diebold", terminated, signing_ms=50)


if __name__ == "__main__":
    main(suite(globals(), "test_restarted_cryptovision"))
