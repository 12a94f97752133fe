"""tillbridged as it is installed: an own user without a capability, which the udev rules give the stick, and nothing else, and
whose stick they keep from everybody else. Then the stick is pulled in the middle of a transfer: the device is gone in the
session within 1 s, nobody hangs, and the programs go on."""

import glob
import os
import pathlib
import pwd
import re
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm_support  # noqa: E402

STICK = "46f4:0001:5A2F00000001"
TABLET = "0627:0001"  # QEMU's, of class HID


def may_open(session, user, device):
    """Whether `user`, without a capability, may send requests to the USB device at this place in sysfs."""
    code = f"import os; os.close(os.open({node_of(device)!r}, os.O_RDWR))"
    result = subprocess.run([*session.as_user(user), "/usr/bin/python3", "-c", code], stderr=subprocess.PIPE, text=True)
    assert result.returncode == 0 or "PermissionError" in result.stderr, result.stderr
    return result.returncode == 0


def node_of(device):
    number = {name: int(pathlib.Path(device, name).read_text()) for name in ("busnum", "devnum")}
    return f"/dev/bus/usb/{number['busnum']:03}/{number['devnum']:03}"


def properties(path):
    text = subprocess.run(["udevadm", "info", "--query=property", f"--path={path}"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


def plugged_in_as_installed(session, guest_side, vm_session):
    """The rules alone make the difference; before tillbridged runs, the kernel has the stick as a disk that nobody touches."""
    subprocess.run(["systemd-sysusers", vm_session.chain.SOURCE / "packaging/sysusers/tillbridge.conf"], check=True)
    user = "tillbridge"
    first = session.stick_of_machine(STICK)
    assert not may_open(session, user, first), "it may be opened without the rules"
    # A system that saves power, as many thin clients and laptops do.
    pathlib.Path("/usr/lib/udev/rules.d/60-save-power.rules").write_text(
        'ACTION=="add", SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", TEST=="power/control", ATTR{power/control}="auto"\n')
    assert session.install() == user
    guest_side.ask("qmp device_del id=first")
    vm_session.wait_until(lambda: not os.path.exists(first), "the first stick is still there")
    guest_side.ask("qmp device_add driver=usb-storage id=stick drive=late serial=5A2F00000001 bus=xhci.0")
    device = session.stick_of_machine(STICK)
    vm_session.wait_until(lambda: vm_session.disk_below(vhci=False), "the kernel does not show the stick's disk")
    subprocess.run(["udevadm", "settle"], check=True)
    found = os.stat(node_of(device))
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (pwd.getpwnam(user).pw_gid, 0o660), found
    assert pathlib.Path(device, "power/control").read_text() == "on\n", "it may fall asleep"
    tablet = session.stick_of_machine(TABLET)
    subprocess.run(["udevadm", "trigger", "--action=add", "--settle", tablet], check=True)
    assert pathlib.Path(tablet, "power/control").read_text() == "auto\n", "nothing here would send a stick to sleep"
    assert may_open(session, user, device) and not may_open(session, user, tablet)
    disk, = (path for path in glob.glob("/sys/block/sd*") if "vhci_hcd" not in os.path.realpath(path))
    said = properties(disk)
    assert said.get("UDISKS_IGNORE") == "1" and said.get("SYSTEMD_READY") == "0", said
    probed = [name for name in said if name.startswith(("ID_FS_", "ID_PART_"))] + glob.glob("/dev/disk/by-*/*")
    assert not probed, f"somebody looked into the stick: {probed}"
    guest_side.note(f"plugged in: {node_of(device)} is for {user} and root alone, always awake, and nobody reads the disk; "
                    f"another device stays shut")
    return user, device, tablet


def runs_without_rights(server, user):
    status = dict(re.findall(r"^(\w+):[ \t]*(.*)$", pathlib.Path(f"/proc/{server.process.pid}/status").read_text(), re.MULTILINE))
    assert set(status["Uid"].split()) == {str(pwd.getpwnam(user).pw_uid)}, status["Uid"]
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, f"{name} is {status[name]}"
    assert status["NoNewPrivs"] == "1" and not status["Groups"].strip(), status


def kept_from_others(device, tablet, vm_session):
    assert not vm_session.disk_is_known(vhci=False), "the kernel still has a disk of the stick that is in the session"
    driver = os.path.basename(os.path.realpath(glob.glob(f"{device}/*:1.0/driver")[0]))
    assert driver == "usbfs", f"{driver} has the stick"
    assert pathlib.Path(device, "power/control").read_text() == "on\n"
    assert pathlib.Path(device, "power/runtime_suspended_time").read_text() == "0\n", "it has slept"
    driver = os.path.basename(os.path.realpath(glob.glob(f"{tablet}/*:1.0/driver")[0]))
    assert driver == "usbhid", f"the other device belongs to {driver}"


def inside(build):
    import guest_side
    import vm_session

    with vm_session.Session(build, guest_side.note) as session:
        vm_session.load("usbhid")
        user, device, tablet = plugged_in_as_installed(session, guest_side, vm_session)
        session.hold_stick(STICK)
        runs_without_rights(session.server, user)
        disk = session.attached_disk()
        kept_from_others(device, tablet, vm_session)
        guest_side.note(f"the session has the stick through a server without rights: {disk}; no disk and no driver of this machine")
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
        images = [pathlib.Path(directory, name) for name in ("first.img", "stick.img")]
        for image, size in zip(images, (64 << 20, 1 << 30)):
            with open(image, "wb") as file:
                file.truncate(size)
            subprocess.run(["mkfs.vfat", "-n", "TSE", image], check=True, stdout=subprocess.DEVNULL)
        devices = [*vm_support.storage_stick(images[0], name="first"), "-device", "usb-tablet,bus=xhci.0",
                   "-drive", f"if=none,id=late,file={images[1]},format=raw,cache=unsafe"]
        vm_support.run_in_guest(build, "unplug_test.py", devices, {}, directory, log=print)


if __name__ == "__main__":
    vm_support.main(outside, inside)
