"""Stock xfreerdp3 with its own /usb redirection (no plugin) against tillbridge-terminal: the device works as far as the stock
client lets it, and the faults that show are logged by name."""

import os
import pathlib
import random
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm_support  # noqa: E402

PATTERN = random.Random(9).randbytes(4 << 20)


def inside(build):
    import guest_side
    import vm_session

    with vm_session.Session(build, guest_side.note) as session:
        session.stick_of_machine("46f4:0001")
        session.connect(None, ["/usb:id:46f4:0001"])
        disk = session.attached_disk()
        with open(disk, "rb") as file:
            read = file.read(1 << 20)
        assert read == PATTERN[:len(read)], "the stock client's device reads other bytes than the stick holds"
        guest_side.note(f"{len(read) >> 20} MiB read from {disk} as on the stick, through the stock client")
        for line in session.terminal.lines:
            if "FreeRDP" in line or "tolerat" in line or "fault" in line:
                guest_side.note(line)


def outside(build):
    with tempfile.TemporaryDirectory(prefix="tillbridge-vm-") as directory:
        image = pathlib.Path(directory) / "stick.img"
        image.write_bytes(PATTERN + bytes(12 << 20))
        vm_support.run_in_guest(build, "freerdp_usb_test.py", vm_support.storage_stick(image), {}, directory, timeout_s=220, log=print)


if __name__ == "__main__":
    vm_support.main(outside, inside)
