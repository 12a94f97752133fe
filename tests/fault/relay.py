"""A network between till and USB server that breaks: forwards TCP connections, and cuts or swallows as told. One seed,
one sequence of cuts. Prints what it does, one line each; ends on SIGTERM."""

import argparse
import random
import selectors
import signal
import socket
import struct
import time

HALF_OPEN_S = 0.7  # how long one end of a cut may believe that it is connected


class Pair:
    """One connection of a till and the one to the server behind it."""

    def __init__(self, till, server):
        self.till, self.server = till, server
        self.cut_at = None

    def other(self, one):
        return self.server if one is self.till else self.till


class Relay:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.selector = selectors.DefaultSelector()
        self.pairs = {}  # socket -> Pair
        self.dying = []  # (when, socket): the forgotten end of a half-open connection
        self.forwarded, self.cuts = 0, 0
        self.hole_after = options.hole_after
        signal.signal(signal.SIGUSR1, lambda *_: setattr(self, "hole_after", self.forwarded + options.hole_in))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)
        print(f"relay on 127.0.0.1:{self.listener.getsockname()[1]}", flush=True)

    def run(self):
        while True:
            now = time.monotonic()
            due = [pair.cut_at for pair in set(self.pairs.values()) if pair.cut_at] + [when for when, _ in self.dying]
            for key, _ in self.selector.select(max(0, min(due) - now) if due else None):
                if key.fileobj is self.listener:
                    self.accept()
                elif key.fileobj in self.pairs:
                    self.forward(key.fileobj)
            now = time.monotonic()
            for pair in set(self.pairs.values()):
                if pair.cut_at and now >= pair.cut_at:
                    self.cut(pair)
            for when, end in [entry for entry in self.dying if now >= entry[0]]:
                self.dying.remove((when, end))
                self.drop(end)

    def accept(self):
        till, _ = self.listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self.options.to), 5)
        except OSError as error:
            print(f"the server is not there: {error}", flush=True)
            till.close()
            return
        pair = Pair(till, server)
        for end in (till, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs[end] = pair
            self.selector.register(end, selectors.EVENT_READ)
        if self.options.cut_ms:
            least, most = self.options.cut_ms
            pair.cut_at = time.monotonic() + self.random.uniform(least, most) / 1000

    def forward(self, end):
        pair = self.pairs[end]
        try:
            data = end.recv(65536)
            if data:
                if end is pair.server:
                    self.forwarded += len(data)
                    if self.hole_after and self.forwarded >= self.hole_after:
                        self.hole()
                pair.other(end).sendall(data)
                return
        except OSError:
            pass
        self.drop(pair.till)
        self.drop(pair.server)

    def hole(self):
        """Nothing is read, nothing accepted: it all waits in the kernel, as in a network that comes back. What was just
        read is the first that nobody gets in time."""
        self.hole_after = None
        print(f"hole begins after {self.forwarded} bytes", flush=True)
        time.sleep(self.options.hole_s)
        print("hole over", flush=True)

    def cut(self, pair):
        """Both ends hear of it, with or without a reset, or only one does."""
        self.cuts += 1
        how = self.random.choice(["reset", "end", "till only", "server only"])
        print(f"cut {self.cuts}: {how} after {self.forwarded} bytes", flush=True)
        pair.cut_at = None
        for end, name in ((pair.till, "till only"), (pair.server, "server only")):
            if how in ("reset", "end", name):
                self.drop(end, how == "reset")
            else:  # it is neither read nor written any more
                self.selector.unregister(end)
                del self.pairs[end]
                self.dying.append((time.monotonic() + HALF_OPEN_S, end))

    def drop(self, end, reset=False):
        if end in self.pairs:
            self.selector.unregister(end)
            del self.pairs[end]
        if reset:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", type=int, required=True, help="the server's port")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cut-ms", type=lambda text: [float(part) for part in text.split(":")], help="LEAST:MOST of each connection")
    parser.add_argument("--hole-after", type=int, help="bytes from the server before nothing passes")
    parser.add_argument("--hole-in", type=int, default=1, help="the same, counted from SIGUSR1")
    parser.add_argument("--hole-s", type=float, default=10)
    Relay(parser.parse_args()).run()


if __name__ == "__main__":
    main()
