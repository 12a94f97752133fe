"""What every test of this folder has in common: sticks of QEMU, and one Python scenario that runs in the guest."""

import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import guest  # noqa: E402

SKIPPED = 77
GUEST_TIMEOUT_S = 840  # below what ctest grants, so that the guest's console is printed


def storage_stick(image, serial="5A2F00000001", name="stick", usb3=False):
    """A QEMU usb-storage stick on an xHCI port; high speed unless usb3."""
    return ["-device", "qemu-xhci,id=xhci" + ("" if usb3 else ",p2=8,p3=0"),
            "-drive", f"if=none,id={name}-drive,file={image},format=raw,cache=unsafe",
            "-device", f"usb-storage,drive={name}-drive,serial={serial},id={name},bus=xhci.0"]


def run_in_guest(build, scenario, devices, answers=None, directory=None, log=None):
    """Boots and runs `scenario` (a file of this folder) with the build directory as its argument."""
    path = pathlib.Path(__file__).resolve().parent / scenario
    command = f"/usr/bin/python3 {path} {build} in-guest"
    with tempfile.TemporaryDirectory(prefix="tillbridge-vm-") as temporary:
        machine = guest.Guest(command, devices, answers, directory or temporary, log)
        if answers is not None:
            answers["qmp"] = lambda arguments: str(machine.qmp(arguments.split()[0], **dict(
                pair.split("=", 1) for pair in arguments.split()[1:])))
        machine.run(GUEST_TIMEOUT_S)


def main(outside, inside):
    """The same file is the test outside and the scenario in the guest: argv[1] is the build directory."""
    build = os.path.abspath(sys.argv[1])
    if sys.argv[2:] == ["in-guest"]:
        import guest_side
        guest_side.main(lambda: inside(build))
        return
    try:
        outside(build)
    except guest.GuestUnavailable as why:
        print(f"skipped: no QEMU guest can run here: {why}")
        sys.exit(SKIPPED)
    print("passed")
