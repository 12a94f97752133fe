"""The plugin takes its stick from a stock usbipd (usbip-host) instead of from tillbridged."""

import os
import pathlib
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm_support  # noqa: E402

PATTERN = random.Random(8).randbytes(4 << 20)


def inside(build):
    import guest_side
    import vm_session

    with vm_session.Session(build, guest_side.note) as session:
        path = session.stick_of_machine("46f4:0001")
        vm_session.load("usbip_host")
        busid = os.path.basename(path)
        usbipd = session.chain.start("usbipd", ["usbipd", "-4"])
        subprocess.run(["usbip", "bind", "-b", busid], check=True)
        usbipd.wait_for(r"listening on")
        guest_side.note(f"the stock usbipd exports {busid}")
        # QEMU's stick loses a status that was asked for before all data was taken, which a real one answers with NAK; tillbridged
        # keeps the order for it, a stock usbipd does not.
        session.connect(session.chain.file(
            "till.toml", f'[usbip]\nhost = "127.0.0.1"\nport = 3240\nbusid = "{busid}"\npipeline = "off"\n'))
        disk = session.attached_disk()
        assert pathlib.Path(disk).read_bytes()[:len(PATTERN)] == PATTERN
        guest_side.note(f"{len(PATTERN) >> 20} MiB read from {disk} as on the stick")


def outside(build):
    with tempfile.TemporaryDirectory(prefix="tillbridge-vm-") as directory:
        image = pathlib.Path(directory) / "stick.img"
        image.write_bytes(PATTERN + bytes(12 << 20))
        vm_support.run_in_guest(build, "usbip_server_test.py", vm_support.storage_stick(image), {}, directory, log=print)


if __name__ == "__main__":
    vm_support.main(outside, inside)
