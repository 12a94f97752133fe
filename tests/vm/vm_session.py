"""Runs in the guest: the whole chain, with a real stick (QEMU's) at one end and vhci-hcd at the other."""

import glob
import os
import pathlib
import re
import shutil
import subprocess
import time

import chain


def load(*modules):
    for module in modules:
        subprocess.run(["modprobe", module], check=True)


def wait_until(condition, what):
    """Waits for the kernel (which prints no line to wait for) to show something."""
    deadline = time.monotonic() + chain.PATIENCE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} within {chain.PATIENCE_S} s; kernel log:\n" +
                         subprocess.run(["dmesg"], text=True, stdout=subprocess.PIPE).stdout[-2500:])


def usb_devices():
    """{sysfs path: (vid, pid, serial, below vhci?)} of everything but root hubs."""
    found = {}
    for path in glob.glob("/sys/bus/usb/devices/*"):
        def read(name):
            try:
                return pathlib.Path(path, name).read_text().strip()
            except OSError:
                return ""
        if read("idVendor") and read("idVendor") != "1d6b":
            found[path] = (read("idVendor"), read("idProduct"), read("serial"), "vhci_hcd" in os.path.realpath(path))
    return found


def disk_below(vhci):
    """The disk's node, once it can be opened: the kernel shows a disk in sysfs a little before that (ENXIO until then)."""
    for block in glob.glob("/sys/block/sd*"):
        node = "/dev/" + os.path.basename(block)
        try:
            if ("vhci_hcd" in os.path.realpath(block)) == vhci and int(pathlib.Path(block, "size").read_text()) > 0:
                os.close(os.open(node, os.O_RDONLY))
                return node
        except OSError:  # not yet, or no longer
            continue
    return None


def disk_is_known(vhci):
    return any(("vhci_hcd" in os.path.realpath(block)) == vhci for block in glob.glob("/sys/block/sd*"))


class Session:
    """The programs of the chain in the guest. Narrates through `note`."""

    TILL = "kasse-01"

    def __init__(self, build, note):
        self.note = note
        load("xhci_pci", "usb_storage", "sd_mod", "vhci_hcd", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1")
        self.directory = pathlib.Path("/run/tillbridge-test")
        self.directory.mkdir(exist_ok=True)
        self.chain = chain.Chain(build, directory=self.directory)
        self.chain.certificates(self.TILL)
        self.server = self.terminal = self.client = self.server_command = None

    def __enter__(self):
        self.chain.__enter__()
        return self

    def __exit__(self, *error):
        return self.chain.__exit__(*error)

    def stick_of_machine(self, vid_pid):
        vid, pid = vid_pid.split(":")[:2]
        return wait_until(lambda: next((path for path, (v, p, _, vhci) in usb_devices().items() if (v, p) == (vid, pid) and not vhci),
                                       None), f"the guest's kernel does not show the stick {vid_pid}")

    def install(self):
        """What the packages put into a system, where they put it; from now on tillbridged runs as its unit says. Returns its
        user. There is no systemd here: what the unit says of user and capabilities is carried out by setpriv."""
        packaging = chain.SOURCE / "packaging"
        unit = (packaging / "systemd/tillbridged.service").read_text()
        user = re.search(r"^User=(.+)$", unit, re.MULTILINE).group(1)
        for line in ("CapabilityBoundingSet=", "AmbientCapabilities=", "NoNewPrivileges=yes"):
            assert f"\n{line}\n" in unit, f"the unit does not say {line}"
        for rules in sorted((packaging / "udev").glob("*.rules")):
            shutil.copy(rules, "/usr/lib/udev/rules.d")
        subprocess.run(["udevadm", "control", "--reload"], check=True)
        program = pathlib.Path("/usr/sbin/tillbridged")
        program.touch()
        subprocess.run(["mount", "--bind", self.chain.build / "server/usb/tillbridged", program], check=True)
        pki = self.directory / "pki"
        for path in (self.directory, pki, pki / "server.crt", pki / "server.key", pki / "authority.crt"):
            shutil.chown(path, user, user)
        self.server_command = [*self.as_user(user), program]
        return user

    @staticmethod
    def as_user(user):
        return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
                "--ambient-caps=-all", "--no-new-privs"]

    def hold_stick(self, stick, extra="", terminal=(), kind="vhci"):
        """tillbridged, terminal server and thin client, with `stick` (VID:PID:SERIAL) mapped to the till."""
        self.stick_of_machine(stick)
        self.server = self.chain.usb_server([], [{"stick": stick, "till": self.TILL}], extra, command=self.server_command)
        self.note(f"tillbridged runs; {stick} is mapped to {self.TILL}")
        self.connect(self.chain.till_config(self.TILL, self.server.port), terminal=terminal, kind=kind)

    def connect(self, till_config, client=(), terminal=(), kind="vhci", awaited=None):
        """A terminal server and a thin client; without a till_config the client is the stock one, without the plugin."""
        self.terminal = self.chain.terminal("--sink", kind, *terminal)
        self.client = self.chain.client(self.terminal.port, till_config, client)
        self.terminal.wait_for(awaited or (r"attached as" if kind == "vhci" else r"arrived"))
        self.note("the terminal session has the device")

    def attached_disk(self):
        return wait_until(lambda: disk_below(vhci=True), "no disk appeared below vhci-hcd")

    def disk_is_gone(self):
        return not disk_is_known(vhci=True)
