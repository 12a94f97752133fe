"""A stick is pulled in the middle of a transfer: the device is gone in the session within 1 s, nobody hangs, and the programs
go on."""

import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm_support  # noqa: E402

STICK = "46f4:0001:5A2F00000001"


def inside(build):
    import guest_side
    import vm_session

    with vm_session.Session(build, guest_side.note) as session:
        session.hold_stick(STICK)
        disk = session.attached_disk()
        reader = subprocess.Popen(["dd", f"if={disk}", "of=/dev/null", "bs=64k", "iflag=direct"], stderr=subprocess.PIPE, text=True)
        before_server, before_terminal = session.server.mark(), session.terminal.mark()
        guest_side.ask("qmp device_del id=stick")
        session.server.wait_for(r"unplugged", after=before_server)
        session.terminal.wait_for(r"gone", after=before_terminal)
        took_s = session.terminal.time_of(r"gone", before_terminal) - session.server.time_of(r"unplugged", before_server)
        guest_side.note(f"the device left the session {took_s * 1000:.0f} ms after the server noticed that the stick was pulled")
        assert took_s < 5.0, "that is a time-out, not the news of the unplugging"
        code = reader.wait()
        assert code != 0, "the read must fail, not end as if the stick were empty"
        vm_session.wait_until(lambda: session.disk_is_gone(), "the disk is still there")
        assert session.client.process.poll() is None, "the RDP session must go on"
        guest_side.note("the reader got an error, the disk is gone, the RDP session goes on")


def outside(build):
    with tempfile.TemporaryDirectory(prefix="tillbridge-vm-") as directory:
        image = pathlib.Path(directory) / "stick.img"
        with open(image, "wb") as file:
            file.truncate(1 << 30)
        vm_support.run_in_guest(build, "unplug_test.py", vm_support.storage_stick(image), {}, directory, log=print)


if __name__ == "__main__":
    vm_support.main(outside, inside)
