"""A second, different class of device: QEMU's usb-serial (an FTDI adapter, vendor class) enumerates in the session, its kernel
driver binds there, and bytes written to the session's tty come back from the program behind the real adapter."""

import glob
import os
import pathlib
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm_support  # noqa: E402
import chain  # noqa: E402 (vm_support says where it is)

VID_PID = "0403:6001"


def node_below_vhci():
    """The adapter's node, once it is there: the kernel shows a port in sysfs a little before it makes the node."""
    for port in glob.glob("/sys/bus/usb-serial/devices/ttyUSB*"):
        node = "/dev/" + os.path.basename(port)
        if "vhci_hcd" in os.path.realpath(port) and os.path.exists(node):
            return node
    return None


def inside(build):
    import termios
    import tty

    import guest_side
    import vm_session

    vm_session.load("usbserial", "ftdi_sio")
    with vm_session.Session(build, guest_side.note) as session:
        path = session.stick_of_machine(VID_PID)
        serial = pathlib.Path(path, "serial").read_text().strip()
        # The vendor class passes only when it is named, at both ends.
        session.hold_stick(f"{VID_PID}:{serial}", extra=f'[[allow]]\ndevice = "{VID_PID}"\n', terminal=["--allow", VID_PID])
        node = vm_session.wait_until(node_below_vhci, "no ttyUSB appeared below vhci-hcd")
        guest_side.note(f"the session sees {node}")
        line = os.open(node, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(line, termios.TCSANOW)
        for text in (b"kasse?", b"x" * 3000):
            os.write(line, text)
            answer = b""
            while len(answer) < len(text):
                answer += os.read(line, 4096)
            assert answer == text.upper(), answer
            guest_side.note(f"{len(text)} bytes written to the session's tty came back from the adapter, in upper case")
        os.close(line)


def answer_in_upper_case(path):
    """The program behind the adapter, outside the guest."""
    line = socket.socket(socket.AF_UNIX)
    deadline = time.monotonic() + chain.PATIENCE_S
    while True:
        try:
            line.connect(path)
            break
        except OSError:
            if time.monotonic() > deadline:
                return
            time.sleep(0.1)
    with line:
        while data := line.recv(4096):
            line.sendall(data.upper())


def outside(build):
    with tempfile.TemporaryDirectory(prefix="tillbridge-vm-") as directory:
        path = os.path.join(directory, "adapter.sock")
        threading.Thread(target=answer_in_upper_case, args=[path], daemon=True).start()
        devices = ["-device", "qemu-xhci,id=xhci", "-chardev", f"socket,id=adapter,path={path},server=on,wait=off",
                   "-device", "usb-serial,chardev=adapter,id=serial,bus=xhci.0,always-plugged=on"]
        vm_support.run_in_guest(build, "serial_test.py", devices, {}, directory, log=print)


if __name__ == "__main__":
    vm_support.main(outside, inside)
