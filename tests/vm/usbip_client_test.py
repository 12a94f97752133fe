"""A till that is a whole PC: the stock Linux USB/IP client attaches to tillbridged, which holds a QEMU stick through libusb."""

import hashlib
import os
import pathlib
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm_support  # noqa: E402

STICK = "46f4:0001:5A2F00000002"
PATTERN = random.Random(7).randbytes(4 << 20)


def inside(build):
    import guest_side
    import vm_session

    with vm_session.Session(build, guest_side.note) as session:
        session.stick_of_machine(STICK)
        server = session.chain.usb_server([], [{"stick": STICK, "till": "usbip:*"}], '[usbip]\nlisten = "127.0.0.1:3240"')
        server.wait_for(r"USB/IP.*127\.0\.0\.1:3240")
        listing = subprocess.run(["usbip", "list", "-r", "127.0.0.1"], check=True, text=True, stdout=subprocess.PIPE).stdout
        busid = next(line.split(":")[0].strip() for line in listing.splitlines() if "46f4:0001" in line)
        guest_side.note(f"usbip list shows the stick as busid {busid}")
        subprocess.run(["usbip", "attach", "-r", "127.0.0.1", "-b", busid], check=True)
        disk = session.attached_disk()
        read = pathlib.Path(disk).read_bytes()[:len(PATTERN)]
        assert read == PATTERN, f"{disk} reads {hashlib.sha256(read).hexdigest()}"
        guest_side.note(f"{len(read) >> 20} MiB read from {disk} as on the stick")
        with open(disk, "r+b") as file:
            file.seek(8 << 20)
            file.write(PATTERN[::-1])
            os.fsync(file.fileno())
        port = subprocess.run(["usbip", "port"], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        assert "46f4" in port or "Port in Use" in port, port
        subprocess.run(["usbip", "detach", "-p", "00"], check=True)
        server.wait_for(r"lease ended|ended")


def outside(build):
    with tempfile.TemporaryDirectory(prefix="tillbridge-vm-") as directory:
        image = pathlib.Path(directory) / "stick.img"
        image.write_bytes(PATTERN + bytes(12 << 20))
        devices = vm_support.storage_stick(image, serial=STICK.split(":")[2])
        vm_support.run_in_guest(build, "usbip_client_test.py", devices, {}, directory, log=print)
        assert image.read_bytes()[8 << 20:12 << 20] == PATTERN[::-1], "what the client wrote is not on the stick"
        print("what the client wrote is on the stick")


if __name__ == "__main__":
    vm_support.main(outside, inside)
