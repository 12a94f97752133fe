"""kill -9 of the till, of tillbridged, of both, at seeded moments while a POS signs receipts: the stick is usable afterwards
without a reset, no receipt is lost or doubled, and who survives holds no more than before.

Arguments: the build directory, then names of tests (none: all). See README.md for the full size."""

import random
import statistics
import time

from fault_support import SEED, SIGNATURE_NOT_MADE, SIGNATURE_UNKNOWN, Ledger, ShopWithBus, Vitals, commands_aborted, size, tse
from chain_support import main

ROUNDS = size(100, 2)
WARM_UP = size(10, 1)  # rounds before the survivors' memory is looked at
RECEIPTS = 20          # of each round; the kill comes among them


class Deaths:
    """The rounds of one series."""

    def __init__(self, c):
        # A stick that takes its time is in the middle of something at any moment.
        self.shop = ShopWithBus(c, "cryptovision", signing_ms=5)
        self.shop.setup()
        self.ledger = Ledger(self.shop)
        self.random = random.Random(SEED)
        self.back_s = []
        self.in_time = 0  # kills after which the POS still had something to do

    def run(self, kill, bring_back, failed_commands=0, **survivors):
        """`failed_commands`: so many at most end with an error in a session that goes on, whose class driver then begins anew."""
        vitals = Vitals(**survivors)
        for number in range(ROUNDS):
            program = self.ledger.start(RECEIPTS)
            program.wait_for('"event":"receipt"')
            time.sleep(self.random.uniform(0, 0.3))
            kill()
            began = time.monotonic()
            bring_back()
            self.back_s.append(time.monotonic() - began)
            # The POS asks the stick what became of a receipt whose answer it did not get, and goes on if it was signed.
            assert program.wait() in (0, SIGNATURE_NOT_MADE, SIGNATURE_UNKNOWN), program.text(20)
            self.in_time += program.times[-1] > began
            self.ledger.finish_open()
            if number in (WARM_UP - 1, ROUNDS - 1):
                vitals.take()
        last = self.ledger.start(3)
        assert last.wait() == 0, last.text()
        report, codes = self.ledger.check()
        witness = self.shop.witness()
        # Seen by the stick, a death is at most a command that does not end: no reset of the stick, no loss of power, nothing twice.
        tse.nothing_happened_to(witness, class_resets=commands_aborted(self.shop) + failed_commands)
        assert witness["signatures"] == report["logs"]
        receipts = sum(len(self.ledger.signed(program)) for _, program in self.ledger.runs)
        print(f"    {ROUNDS} deaths, {self.in_time} of them while the POS signed, {receipts} receipts, {witness['class_resets']} "
              f"commands begun anew; the POS ended with {dict(sorted(codes.items()))}; the stick was back after "
              f"{statistics.median(self.back_s):.2f} s, at most {max(self.back_s):.2f} s; {vitals.text()}", flush=True)
        vitals.check(self.shop.c.sanitizer)

    def in_any_order(self, *actions):
        for action in self.random.sample(actions, len(actions)):
            action()
            time.sleep(self.random.uniform(0, 0.05))


def test_the_till_dies(c):
    """Its next session has the stick at once."""
    deaths = Deaths(c)
    shop = deaths.shop

    def bring_back():
        shop.start_till_again()
        shop.wait_for_stick()

    deaths.run(lambda: shop.client.kill(), bring_back, tillbridged=shop.server, terminal=shop.terminal, bus=shop.bus)


def test_tillbridged_dies(c):
    """It starts again, and the session keeps its stick: what had no answer yet ends with an error, once."""
    deaths = Deaths(c)
    shop = deaths.shop

    def bring_back():
        shop.start_server_again()
        shop.server.wait_for("lease (begun|goes on)")

    deaths.run(lambda: shop.server.kill(), bring_back, failed_commands=ROUNDS, xfreerdp3=shop.client, terminal=shop.terminal,
               bus=shop.bus)
    arrivals = [line for line in shop.terminal.lines if "can be imported as" in line]
    assert len(arrivals) == 1, f"the device was enumerated again: {arrivals}"


def test_both_die(c):
    """The one or the other first: the next session has the stick."""
    deaths = Deaths(c)
    shop = deaths.shop

    def bring_back():
        deaths.in_any_order(shop.start_server_again, shop.start_till_again)
        shop.wait_for_stick()

    deaths.run(lambda: deaths.in_any_order(lambda: shop.client.kill(), lambda: shop.server.kill()), bring_back,
               terminal=shop.terminal, bus=shop.bus)


if __name__ == "__main__":
    main(globals())
