"""Stock xfreerdp3 with its own /usb redirection (no plugin) against tillbridge-terminal: the device works as far as the stock
client lets it, and the faults that show are logged by name. Then the plugin with the same stick, held by tillbridged, under the
same questions, and a table of who answered what: build/<preset>/conformance/comparison.md."""

import base64
import hashlib
import lzma
import os
import pathlib
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm_support  # noqa: E402

COMPARE = pathlib.Path(__file__).resolve().parents[1] / "conformance/compare"
SERIAL = "5A2F00000001"
PATTERN = random.Random(9).randbytes(4 << 20)
PROBED_BYTES = 512 << 10
CHUNK = 3000  # of the table, in one line to the test outside


def inside(build):
    import guest_side
    import vm_session

    with vm_session.Session(build, guest_side.note) as session:
        stick = session.stick_of_machine("46f4:0001")
        transcripts = {name: session.directory / f"{name}.jsonl" for name in ("stock-plain", "stock-windows", "ours-windows")}

        # By its ids, into a sink in user space: a device that appeared in this very kernel would match the ids as well.
        stock = ["/usb:id:46f4:0001"]
        session.connect(None, stock, kind="probe", terminal=probe(transcripts["stock-plain"]))
        code = session.terminal.wait()
        assert code == 0, f"the probe failed:\n{session.terminal.text()}"
        guest_side.note(f"{PROBED_BYTES >> 10} KiB read by the probe as on the stick, through the stock client")
        tell_faults(guest_side.note, session.terminal)
        session.client.stop()

        # Questioned as Windows would. Up to release 3.13 it gives the device up on the way, so it may not end by itself.
        session.connect(None, stock, kind="probe", terminal=probe(transcripts["stock-windows"], "windows"), awaited="arrived|went away before")
        session.terminal.wait_for(r"went away before it could be used|session 1: closed")
        tell_faults(guest_side.note, session.terminal)
        session.terminal.stop()
        session.client.stop()

        # By its address, into vhci-hcd.
        number = [int(pathlib.Path(stick, name).read_text()) for name in ("busnum", "devnum")]
        session.connect(None, ["/usb:addr:{:02x}:{:02x}".format(*number)])
        disk = session.attached_disk()
        with open(disk, "rb") as file:
            read = file.read(1 << 20)
        assert read == PATTERN[:len(read)], "the stock client's device reads other bytes than the stick holds"
        guest_side.note(f"{len(read) >> 20} MiB read from {disk} as on the stick, through the stock client")
        tell_faults(guest_side.note, session.terminal)
        session.client.stop()
        session.terminal.stop()

        session.hold_stick(f"46f4:0001:{SERIAL}", kind="probe", terminal=probe(transcripts["ours-windows"], "windows"))
        code = session.terminal.wait()
        assert code == 0, f"the plugin failed as a client of Windows:\n{session.terminal.text()}"
        guest_side.note(f"{PROBED_BYTES >> 10} KiB read by the probe as on the stick, through the plugin")
        session.client.stop()

        compared = subprocess.run([COMPARE, "--stock", transcripts["stock-plain"], transcripts["stock-windows"],
                                   "--ours", transcripts["ours-windows"]], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        table = base64.b64encode(lzma.compress(compared.stdout.encode())).decode()
        for start in range(0, len(table), CHUNK):
            guest_side.ask("table " + table[start:start + CHUNK])
        assert compared.returncode == 0, compared.stderr


def probe(transcript, profile="plain"):
    return ["--profile", profile, "--transcript", transcript, "--transcript-data", "--exit-after-session", "1",
            "--probe-read", f"0:{PROBED_BYTES // 512}", "--probe-sha256", hashlib.sha256(PATTERN[:PROBED_BYTES]).hexdigest()]


def tell_faults(note, terminal):
    for line in terminal.lines:
        if "fault of the client" in line or "wrong answer" in line:
            note(line)


def outside(build):
    chunks = []
    with tempfile.TemporaryDirectory(prefix="tillbridge-vm-") as directory:
        image = pathlib.Path(directory) / "stick.img"
        image.write_bytes(PATTERN + bytes(12 << 20))
        try:
            vm_support.run_in_guest(build, "freerdp_usb_test.py", vm_support.storage_stick(image, serial=SERIAL),
                                    {"table": chunks.append}, directory, log=print)
        finally:
            if chunks:
                table = lzma.decompress(base64.b64decode("".join(chunks))).decode()
                print(table)
                kept = pathlib.Path(build, "conformance/comparison.md")
                kept.parent.mkdir(exist_ok=True)
                kept.write_text(table)


if __name__ == "__main__":
    vm_support.main(outside, inside)
