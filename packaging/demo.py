"""The demo's story; packaging/demo builds and calls it."""

import argparse
import hashlib
import json
import pathlib
import signal
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SOURCE / "tests/support"))
import chain  # noqa: E402
import tse  # noqa: E402

TILL, SERIAL, TSE_SERIAL, BLOCK = "kasse-01", "5A2F00000001", "5A2F00000002", 512
RECEIPTS = 10
READ_BYTES, WRITE_BYTES, WRITE_BLOCK = 16 << 20, 1 << 20, 70000


def step(text):
    print(f"\033[1m→\033[0m {text}", flush=True)


def good(text):
    print(f"  \033[32m✓\033[0m {text}", flush=True)


def event(terminal, name):
    return next(line for line in map(json.loads, (text for text in terminal.lines if text.startswith("{")))
                if line["event"] == name)


def show(build, keep):
    with chain.Chain(build) as c:
        step(f"A private authority and certificates for the USB server and for till {TILL}")
        c.certificates(TILL)

        image = c.directory / "stick.img"
        step("The USB server: tillbridged with one simulated stick, mapped to that till")
        server = c.usb_server([{"kind": "mass-storage", "serial": SERIAL, "image": image, "size_mib": 64, "label": "TSE"}],
                              [{"stick": f"1209:0001:{SERIAL}", "till": TILL}])
        good(f"listens with mutual TLS 1.3 on 127.0.0.1:{server.port}; the stick's FAT image has 64 MiB")
        before = image.read_bytes()
        written = c.directory / "written.bin"
        written.write_bytes(hashlib.shake_128(b"a receipt").digest(WRITE_BYTES))

        step("The terminal server: tillbridge-terminal, a headless RDP server")
        terminal = c.terminal("--sink", "probe", "--json", "--probe-stay", "--probe-read", f"0:{READ_BYTES // BLOCK}",
                              "--probe-write", f"{written}@{WRITE_BLOCK}", "--probe-bench", "200")
        good(f"listens for RDP on 127.0.0.1:{terminal.port}")

        step("The thin client: a real xfreerdp3 with the plugin, on a virtual screen")
        client = c.client(terminal.port, c.till_config(TILL, server.port))
        terminal.wait_for('"event":"session_opened"', 60)
        good("is connected; the RDP session is open")
        server.wait_for("lease begun", 60)
        good(f"the USB server gave stick {SERIAL} to {TILL}, and to nobody else")
        terminal.wait_for('"event":"device_arrived"', 60)
        good(f"the session sees the stick: {event(terminal, 'device_arrived')['label']}")

        step("The session reads and writes the stick, as if it were plugged in there")
        terminal.wait_for('"event":"probe"', 120)
        probe = event(terminal, "probe")
        if not probe["success"]:
            raise AssertionError(probe["result"])
        read = event(terminal, "read")
        if read["sha256"] != hashlib.sha256(before[:READ_BYTES]).hexdigest():
            raise AssertionError("the session read other bytes than the stick holds")
        good(f"{READ_BYTES >> 20} MiB read in the session, SHA-256 {read['sha256'][:16]}…: that of the stick's image")
        if image.read_bytes()[WRITE_BLOCK * BLOCK:][:WRITE_BYTES] != written.read_bytes():
            raise AssertionError("what the session wrote is not on the stick")
        good(f"{WRITE_BYTES >> 20} MiB written in the session is on the stick, byte for byte")
        measures = {line["measure"]: line for line in map(json.loads, (t for t in terminal.lines if t.startswith("{")))
                    if "measure" in line}
        small, large, bare = (measures[name] for name in ("read_4_kib", "read_64_kib", "three_channel_round_trips"))
        good(f"a 4 KiB read takes {small['p50_us'] / 1000:.2f} ms, a 64 KiB read {large['p50_us'] / 1000:.2f} ms; "
             f"three bare round trips of the channel {bare['p50_us'] / 1000:.2f} ms")

        if keep:
            print(f"""
Everything is running. To look at it:
  USB server      {server.config}
  stick's image   mdir -i {image}@@1M ::
  thin client     DISPLAY={c.display} XAUTHORITY={c.directory}/Xauthority xwd -root | ...
  certificates    {c.directory}/pki
Ctrl-C ends it.""", flush=True)
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                client.process.wait()
            except KeyboardInterrupt:
                print()
        step("The session ends")
        client.stop()
        server.wait_for("lease ended", 30)
        if any("reset" in line for line in server.lines):
            raise AssertionError("somebody asked for a reset of the stick:\n" + server.text())
        good("the stick is free again, and nobody reset it")


def show_receipts(build):
    """A simulated TSE with real timing, and a POS in the session that signs with it."""
    with chain.Chain(build) as c:
        step("Another stick in the USB server: a simulated TSE (cryptovision), with its own key, 150 ms a signature")
        c.certificates(TILL)
        extra, bench = c.test_bench()
        server = c.usb_server([{"kind": "cryptovision", "serial": TSE_SERIAL}],
                              [{"stick": tse.stick_name("cryptovision", TSE_SERIAL), "till": TILL}], extra)
        terminal = c.terminal("--sink", "usbip", "--usbip-listen", "127.0.0.1:0")
        client = c.client(terminal.port, c.till_config(TILL, server.port))
        port = terminal.wait_for(r"listening for USB/IP clients on \S+:(\d+)", 60).group(1)
        terminal.wait_for("can be imported as", 60)
        good("the session has it; no kernel is needed for that: the POS brings a USB host stack of its own")

        pins = tse.pins_file(c.directory, "cryptovision")
        archive = c.directory / "tse.tar"

        def pos(*words, json_lines=True):
            command = [c.build / "pos/tillbridge-pos", "--usbip", f"127.0.0.1:{port}", "--pins", pins, "--no-prompt", "--tries",
                       c.directory / "tries", *(["--json"] if json_lines else []), *words]
            done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if done.returncode != 0:
                raise AssertionError(f"tillbridge-pos {words[0]} ended with {done.returncode}: {done.stderr}{done.stdout}")
            return [json.loads(line) for line in done.stdout.splitlines()] if json_lines else done.stdout

        step("The POS in the session: tillbridge-pos sets the TSE up and signs ten receipts")
        pos("setup", "--client", "KASSE-01")
        good("set up: PINs, time, client KASSE-01")
        print(pos("receipt", "--client", "KASSE-01", "--amount", "4.20", json_lines=False))
        receipts = [line for line in pos("receipt", "--client", "KASSE-01", "--amount", "11.90", "--count", str(RECEIPTS - 1))
                    if line["event"] == "receipt"]
        if len(receipts) != RECEIPTS - 1 or not all(receipt["verified"] for receipt in receipts):
            raise AssertionError("not all receipts were signed")
        for receipt in receipts:
            pos("verify", "--qr", receipt["qr"])
        good(f"{RECEIPTS} receipts signed; each verified from nothing but the text of its QR code")

        step("The export, and what a tax auditor's tool makes of it")
        pos("export", archive)
        report = next(line for line in pos("verify", archive) if line["event"] == "verify")
        good(f"{report['logs']} log messages, {report['transaction_logs']} of them of transactions: every signature, the counters and the "
             "certificate chain are good")
        tse.verify_independently(archive)
        good("a second checker, written apart from tillbridge, says the same")
        tse.nothing_happened_to(bench.witness(TSE_SERIAL))
        good("the stick itself saw no reset, no power cycle, no command twice and no gap in its counter")
        client.stop()


def show_with_real_kernels(build):
    step("A QEMU guest with a stock kernel: a USB stick, tillbridged (libusb), xfreerdp3 with the plugin, tillbridge-terminal (vhci-hcd)")
    result = subprocess.run([sys.executable, SOURCE / "tests/vm/storage_test.py", build])
    if result.returncode != 0:
        return result.returncode
    print("\nThe chain works with real kernels: stick → libusb → TLS → thin client → RDP → vhci-hcd → /dev/sdX.")
    return 0


def main():
    parser = argparse.ArgumentParser(prog="packaging/demo", description="Shows the whole chain on this machine.")
    parser.add_argument("build", help=argparse.SUPPRESS)
    parser.add_argument("--vm", action="store_true", help="with real kernels, in QEMU")
    parser.add_argument("--keep", action="store_true", help="leave everything running and say how to look at it")
    arguments = parser.parse_args()
    if arguments.vm:
        return show_with_real_kernels(arguments.build)
    try:
        show(arguments.build, arguments.keep)
        show_receipts(arguments.build)
        print("\nThe chain works: stick → USB server → TLS → thin client → RDP → session.")
    except AssertionError as failure:
        print(f"  \033[31m✗\033[0m {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
