"""A QEMU usb-storage stick, held by tillbridged through libusb, is /dev/sdX at the session's end: mkfs.vfat, mount, 32 MiB of
files written, unmounted; then the image is checked from outside, byte for byte."""

import hashlib
import os
import pathlib
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm_support  # noqa: E402

FILES, FILE_BYTES, SEED = 8, 4 << 20, 20260101


def content(index):
    return random.Random(SEED + index).randbytes(FILE_BYTES)


def inside(build):
    import guest_side
    import vm_session

    with vm_session.Session(build, guest_side.note) as session:
        session.hold_stick("46f4:0001:5A2F00000001")
        disk = session.attached_disk()
        guest_side.note(f"the session sees {disk}, {int(open(f'/sys/block/{disk[5:]}/size').read()) // 2048} MiB")
        # Larger commands and clusters: under emulation each command costs tens of milliseconds, whatever its size.
        pathlib.Path("/sys/block", os.path.basename(disk), "device/max_sectors").write_text("1024\n")
        subprocess.run(["mkfs.vfat", "-F", "16", "-s", "32", "-n", "TSE", disk], check=True, stdout=subprocess.DEVNULL)
        mount = pathlib.Path("/run/stick")
        mount.mkdir()
        subprocess.run(["mount", "-t", "vfat", disk, mount], check=True)
        for index in range(FILES):
            (mount / f"file{index}.bin").write_bytes(content(index))
        subprocess.run(["umount", mount], check=True)
        guest_side.note(f"{FILES * FILE_BYTES >> 20} MiB of files written and unmounted")


def outside(build):
    with tempfile.TemporaryDirectory(prefix="tillbridge-vm-") as directory:
        image = pathlib.Path(directory) / "stick.img"
        with open(image, "wb") as file:
            file.truncate(96 << 20)
        vm_support.run_in_guest(build, "storage_test.py", vm_support.storage_stick(image), {}, directory, log=print)
        subprocess.run(["fsck.vfat", "-n", image], check=True, stdout=subprocess.DEVNULL)
        for index in range(FILES):
            name = f"file{index}.bin"
            found = subprocess.run(["mcopy", "-n", "-i", image, f"::{name}", "-"], check=True, stdout=subprocess.PIPE).stdout
            assert found == content(index), f"{name} differs: {hashlib.sha256(found).hexdigest()}"
            print(f"{name}: {len(found)} bytes as written, sha256 {hashlib.sha256(found).hexdigest()[:16]}...")


if __name__ == "__main__":
    vm_support.main(outside, inside)
