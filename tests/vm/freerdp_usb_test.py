"""Stock xfreerdp3 with its own /usb redirection (no plugin) against tillbridge-terminal: the device works as far as the stock
client lets it, and the faults that show are logged by name."""

import hashlib
import os
import pathlib
import random
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm_support  # noqa: E402

PATTERN = random.Random(9).randbytes(4 << 20)
PROBED_BYTES = 512 << 10


def inside(build):
    import guest_side
    import vm_session

    with vm_session.Session(build, guest_side.note) as session:
        stick = session.stick_of_machine("46f4:0001")
        # By its ids, into a sink in user space: a device that appeared in this very kernel would match the ids as well.
        count = PROBED_BYTES // 512
        session.connect(None, ["/usb:id:46f4:0001"], kind="probe",
                        terminal=["--probe-read", f"0:{count}", "--probe-sha256", hashlib.sha256(PATTERN[:PROBED_BYTES]).hexdigest(),
                                  "--exit-after-session", "1"])
        code = session.terminal.wait(90)
        assert code == 0, f"the probe failed:\n{session.terminal.text()}"
        guest_side.note(f"{PROBED_BYTES >> 10} KiB read by the probe as on the stick, through the stock client")
        tell_faults(guest_side.note, session.terminal)
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


def tell_faults(note, terminal):
    for line in terminal.lines:
        if "fault of the client" in line:
            note(line)


def outside(build):
    with tempfile.TemporaryDirectory(prefix="tillbridge-vm-") as directory:
        image = pathlib.Path(directory) / "stick.img"
        image.write_bytes(PATTERN + bytes(12 << 20))
        vm_support.run_in_guest(build, "freerdp_usb_test.py", vm_support.storage_stick(image), {}, directory, timeout_s=220, log=print)


if __name__ == "__main__":
    vm_support.main(outside, inside)
