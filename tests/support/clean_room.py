"""Fresh machines: minimal Debian systems in QEMU, booted with their own kernel and systemd, joined by a network of their own.

A system is made once per release by mmdebstrap and kept; what a machine writes to its disk is thrown away with it. What is to be installed comes
along on a read-only share, Debian's own packages too: the machines reach nobody but each other. Nothing of this machine's root is in
them. A small agent runs what the test sends, as root, each script in a shell of its own.
"""

import base64
import hashlib
import inspect
import itertools
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import guest  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parents[2]
NEEDED = ["qemu-system-x86_64", "mmdebstrap", "mke2fs", "dpkg-deb"]
COMMAND_TIMEOUT_S = 900  # software emulation, on a machine that has other things to do
BOOT_TIMEOUT_S = 600

# What a machine of a shop has before it hears of tillbridge: a USB server nothing, a thin client an RDP client and a display.
KINDS = {"server": [], "till": ["freerdp3-x11", "xvfb", "xauth"]}

AGENT = r"""#!/bin/bash
# Runs scripts for the test: "ID BASE64" in, "ID EXIT-CODE BASE64" out.
exec 3<>/dev/virtio-ports/tillbridge.test
echo "ready 0 " >&3
while read -r id script <&3; do
  (
    out=$(mktemp)
    cd /root
    base64 -d <<<"$script" >"$out.sh"
    HOME=/root bash -eu "$out.sh" >"$out" 2>&1 3>&- </dev/null
    code=$?
    flock 3
    echo "$id $code $(base64 -w 0 "$out")" >&3
    rm -f "$out" "$out.sh"
  ) &
done
"""

AGENT_UNIT = r"""[Unit]
Description=Runs what the test sends
BindsTo=dev-virtio\x2dports-tillbridge.test.device
After=dev-virtio\x2dports-tillbridge.test.device
[Service]
ExecStart=/usr/local/sbin/test-agent
KillMode=process
[Install]
WantedBy=multi-user.target
"""


class CleanRoomUnavailable(Exception):
    """No fresh machines can be had here; the text says why."""


def run(*command, **options):
    result = subprocess.run([str(word) for word in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(str(word) for word in command)} ended with {result.returncode}:\n{result.stdout[-4000:]}")
    return result.stdout


def mirror():
    found = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages"], text=True, stdout=subprocess.PIPE)
    for line in found.stdout.splitlines():
        if line.rstrip("/").endswith("/debian"):
            return line
    raise CleanRoomUnavailable("no Debian mirror is configured in /etc/apt")


class System:
    """A minimal Debian of one release and kind: `root`, a folder, and `disk`, the same as an image. Made if it is not there."""

    def __init__(self, release, kind):
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        missing = [name for name in NEEDED if not shutil.which(name)]
        if missing:
            raise CleanRoomUnavailable(f"not installed: {', '.join(missing)} (packaging/setup installs them)")
        if os.geteuid() != 0:
            raise CleanRoomUnavailable("making a Debian system needs root")
        self.release, self.kind = release, kind
        recipe = f"{inspect.getsource(System.make)} {AGENT} {AGENT_UNIT} {KINDS[kind]}"
        made_from = hashlib.sha256(recipe.encode()).hexdigest()[:8]
        self.home = guest.cache_dir() / f"clean-{release}-{kind}-{made_from}"
        self.root, self.disk = self.home / "root", self.home / "disk.img"
        if not (self.home / "ready").exists():
            self.make()

    def make(self):
        work = self.home.with_name(f"{self.home.name}.{os.getpid()}")
        root = work / "root"
        work.mkdir()
        sources = [f"deb {mirror()} {self.release} main", f"deb {mirror()} {self.release}-updates main"]
        if self.release == "bookworm":
            sources.append(f"deb {mirror()} bookworm-backports main")
        # In a mount namespace of its own: whatever it mounts in the new system ends with it, also when it is killed.
        run("unshare", "--mount", "mmdebstrap", "--mode=root", "--variant=important", "--skip=cleanup/apt/lists",
            "--include=" + ",".join(["linux-image-amd64", "dbus", *KINDS[self.kind]]),
            # The kernel's modules that a root on a virtual disk needs, and no others: the image is made quickly, and unpacked quickly.
            "--essential-hook=mkdir -p $1/etc/initramfs-tools/conf.d; echo MODULES=list >$1/etc/initramfs-tools/conf.d/small; "
            "printf 'virtio_pci\\nvirtio_blk\\next4\\n' >$1/etc/initramfs-tools/modules",
            self.release, root, "-", input="\n".join(sources))
        (root / "usr/local/sbin/test-agent").write_text(AGENT)
        (root / "usr/local/sbin/test-agent").chmod(0o755)
        (root / "etc/systemd/system/test-agent.service").write_text(AGENT_UNIT)
        run("systemctl", f"--root={root}", "enable", "test-agent.service")
        # Under emulation each minute counts: no index of manual pages, no fsync of a disk that is thrown away.
        run("chroot", root, "debconf-set-selections", input="man-db man-db/auto-update boolean false\n")
        (root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
        # Timers that would only take the emulated processor away.
        run("systemctl", f"--root={root}", "mask", "apt-daily.timer", "apt-daily-upgrade.timer", "man-db.timer", "e2scrub_all.timer", "fstrim.timer")
        (root / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
        run("chroot", root, "passwd", "-l", "root")
        run("mke2fs", "-q", "-t", "ext4", "-d", root, work / "disk.img", "6G")
        (work / "ready").touch()
        try:
            work.rename(self.home)
        except OSError:  # another run was faster
            shutil.rmtree(work)

    def boot_file(self, name):
        return max((self.root / "boot").glob(f"{name}-*"))

    def download(self, packages, into):
        """What these package files need besides what the system has, into a folder; returns the names of the packages."""
        with tempfile.TemporaryDirectory(prefix="tillbridge-debs-", dir=self.root / "var/tmp") as folder:
            for package in packages:
                shutil.copy(package, folder)
            inside = "/" + str(pathlib.Path(folder).relative_to(self.root))
            files = [f"{inside}/{package.name}" for package in packages]
            options = ["-o", f"Dir::Cache::archives={inside}/debs", "-o", "APT::Sandbox::User=root"]
            pathlib.Path(folder, "debs/partial").mkdir(parents=True)
            run("chroot", self.root, "apt-get", "install", "-qq", "--no-install-recommends", "--download-only", "--yes", *options, *files,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"})
            found = sorted(pathlib.Path(folder, "debs").glob("*.deb"))
            own = {package.name.split("_")[0] for package in packages}
            found = [deb for deb in found if deb.name.split("_")[0] not in own]
            into.mkdir(parents=True, exist_ok=True)
            for deb in found:
                shutil.copy(deb, into)
            return [deb.name.split("_")[0] for deb in found]


class Machine:
    """One booted system. `run()` waits for a script's end and fails with its output, `start()` does not wait."""

    addresses = itertools.count(1)

    def __init__(self, name, system, directory, network, share, devices=(), memory_mib=640):
        self.name, self.system = name, system
        self.directory = pathlib.Path(directory)
        self.number = next(Machine.addresses)
        self.address = f"192.0.2.{self.number}"
        self.console = self.directory / f"{name}.console"
        port = self.directory / f"{name}.sock"
        self.process = subprocess.Popen(
            [str(word) for word in (
                "qemu-system-x86_64", "-name", name, "-accel", "tcg", "-cpu", "max", "-m", memory_mib, "-smp", 1, "-display", "none", "-no-reboot",
                "-serial", f"file:{self.console}", "-kernel", system.boot_file("vmlinuz"), "-initrd", system.boot_file("initrd.img"),
                # A device may come late in an emulated machine beside others; the agent must not be given up for that.
                "-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 no_timer_check mitigations=off systemd.default_device_timeout_sec=600",
                "-drive", f"if=virtio,file={system.disk},format=raw,snapshot=on,cache=unsafe",
                "-device", "virtio-serial", "-chardev", f"socket,id=agent,path={port},server=on,wait=on",
                "-device", "virtserialport,chardev=agent,name=tillbridge.test",
                # All machines of one test are on one wire, which ends at this host's loopback interface.
                "-netdev", f"socket,id=wire,mcast={network},localaddr=127.0.0.1",
                "-device", f"virtio-net-pci,netdev=wire,mac=52:54:00:00:00:{self.number:02x}",
                "-virtfs", f"local,path={share},mount_tag=share,security_model=none,readonly=on", *devices)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.directory / f"{name}.qemu", "w"))
        self._line = self._connect(port)
        self._answers = {}
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def _connect(self, port):
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            line = socket.socket(socket.AF_UNIX)
            try:
                line.connect(str(port))
                return line
            except OSError:  # QEMU has not made its socket yet
                line.close()
                time.sleep(0.05)
        raise AssertionError(f"{self.name}: QEMU did not start: " + (self.directory / f"{self.name}.qemu").read_text()[-2000:])

    def _read(self):
        for line in self._line.makefile("r"):
            number, code, *text = line.rstrip("\n").split(" ")
            with self._changed:
                self._answers[number] = (int(code), base64.b64decode("".join(text)).decode(errors="replace"))
                self._changed.notify_all()
        with self._changed:
            self._answers[None] = True  # the machine is off
            self._changed.notify_all()

    def _wait(self, number, timeout_s):
        with self._changed:
            arrived = self._changed.wait_for(lambda: number in self._answers or None in self._answers, timeout_s)
            if not arrived or number not in self._answers:
                console = self.console.read_text(errors="replace")[-3000:] if self.console.exists() else ""
                raise AssertionError(f"{self.name}: no answer within {timeout_s} s, or the machine went off\n--- console ---\n{console}")
            return self._answers[number]

    def booted(self):
        """Waits for systemd to have started everything, and joins the network."""
        self._wait("ready", BOOT_TIMEOUT_S)
        self.until("grep -l 52:54 /sys/class/net/*/address", "the network card")  # Debian 13 starts services before its driver is loaded
        self.run(f"hostnamectl hostname {self.name} 2>/dev/null || hostname {self.name}\n"
                 "device=$(basename $(dirname $(grep -l 52:54 /sys/class/net/*/address)))\n"
                 f"ip link set $device up; ip address add {self.address}/24 dev $device\n"
                 "mkdir -p /srv/share; modprobe 9pnet_virtio; mount -t 9p -o trans=virtio,version=9p2000.L,ro share /srv/share\n"
                 "systemctl is-system-running --wait || systemctl list-units --failed")

    def start(self, script):
        """Begins a script; the number that `result` takes."""
        number = str(next(self._numbers))
        with self._lock:
            self._line.sendall(f"{number} {base64.b64encode(script.encode()).decode()}\n".encode())
        return number

    def result(self, number, timeout_s=COMMAND_TIMEOUT_S):
        """(exit code, what it printed)"""
        return self._wait(number, timeout_s)

    def ended(self, number):
        with self._changed:
            return number in self._answers

    def run(self, script, timeout_s=COMMAND_TIMEOUT_S):
        code, text = self.result(self.start(script), timeout_s)
        assert code == 0, f"{self.name}: exit code {code} of\n{script}\n--- it printed ---\n{text[-4000:]}"
        return text

    def until(self, condition, what, timeout_s=300):
        """Asks a shell condition again and again; kernels and services print no line to wait for."""
        deadline = time.monotonic() + timeout_s
        while True:
            code, text = self.result(self.start(condition))
            if code == 0:
                return text
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name}: {what}: not within {timeout_s} s; last:\n{text}")
            time.sleep(0.5)

    def off(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._line.close()
