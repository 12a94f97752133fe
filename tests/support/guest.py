"""A QEMU guest with a stock Debian kernel and this machine's own root as its root file system.

The machine that builds and tests may have no USB at all, and no vhci-hcd. The guest has both: its kernel is Debian's
stock one, its root is this machine's (read-only over 9p, a tmpfs overlay on top), so whatever was built here runs there.
Software emulation on purpose: where /dev/kvm exists its KVM often cannot start a stock kernel.

Guest and test talk over a serial line, one line of text each way: the guest says "ask WORD ..." and waits for the
answer, "note TEXT" for the log, "fail TEXT", and "done" at the end. See guest_side.py for the other half.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time

NEEDED = ["qemu-system-x86_64", "busybox", "cpio", "depmod", "dpkg", "apt-get"]


class GuestUnavailable(Exception):
    """QEMU or the guest kernel cannot be had on this machine; the text says why."""


def cache_dir():
    base = os.environ.get("TILLBRIDGE_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "tillbridge")
    path = pathlib.Path(base)
    path.mkdir(parents=True, exist_ok=True)
    return path


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


INIT = r"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m || poweroff -f; done
mkdir -p /ro /rw
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose host /ro || poweroff -f
mount -t tmpfs tmpfs /rw; mkdir -p /rw/u /rw/w
mount -t overlay -o lowerdir=/ro,upperdir=/rw/u,workdir=/rw/w overlay /newroot || poweroff -f
for d in proc sys dev run tmp lib/modules; do mkdir -p /newroot/$d; done
for d in proc sys dev; do mount --move /$d /newroot/$d; done
mount -t tmpfs tmpfs /newroot/run
value() { sed -n "s/.*$1=\([^ ]*\).*/\1/p" /newroot/proc/cmdline; }
mount --bind "/ro$(value modules_at)" /newroot/lib/modules
exec switch_root /newroot /bin/bash -c "export PATH=/usr/sbin:/usr/bin:/sbin:/bin; $(value run); sync; echo o >/proc/sysrq-trigger; sleep 60"
"""


def prepare_kernel():
    """Downloads and unpacks the stock kernel once; returns (kernel, initrd, modules directory)."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        raise GuestUnavailable(f"not installed: {', '.join(missing)} (packaging/setup installs them)")
    depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], text=True, stdout=subprocess.PIPE).stdout
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        raise GuestUnavailable("apt does not know linux-image-amd64 (run apt-get update)")
    package = found.group(1)
    version = package.removeprefix("linux-image-")
    made_from = hashlib.sha256(INIT.encode()).hexdigest()[:8]  # another init makes another image
    home = cache_dir() / f"guest-{version}-{made_from}"
    kernel, initrd, modules = home / f"root/boot/vmlinuz-{version}", home / "init.gz", home / "root"
    for prefix in ("lib", "usr/lib"):  # merged-/usr packages of Debian 13 ship the modules below usr/
        if (home / f"root/{prefix}/modules").exists():
            modules = home / f"root/{prefix}/modules"
    if (home / "ready").exists():
        return kernel, initrd, modules

    work = home.with_name(home.name + f".{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        subprocess.run(["apt-get", "download", package], cwd=work, check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(work)
        raise GuestUnavailable(f"the guest kernel {package} could not be downloaded") from error
    run("dpkg", "-x", str(next(work.glob("*.deb"))), str(work / "root"))
    next(work.glob("*.deb")).unlink()
    run("depmod", "-b", str(work / ("root/usr" if (work / "root/usr/lib/modules").exists() else "root")), version)
    image = work / "init"
    for folder in ("bin", "modules", "proc", "sys", "dev", "newroot"):
        (image / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", image / "bin/busybox")
    order = []
    for module in ("virtio_pci", "9pnet_virtio", "9p", "overlay"):
        base = work / ("root/usr" if (work / "root/usr/lib/modules").exists() else "root")
        listing = run("modprobe", "-d", str(base), "-S", version, "--show-depends", module)
        for path in re.findall(r"insmod (\S+)", listing):
            name = os.path.basename(path).removesuffix(".xz")
            if name in order:
                continue
            order.append(name)
            if path.endswith(".xz"):
                with open(image / "modules" / name, "wb") as out:
                    subprocess.run(["xz", "-dc", path], check=True, stdout=out)
            else:
                shutil.copy(path, image / "modules" / name)
    (image / "modules/order").write_text("\n".join(order) + "\n")
    (image / "init").write_text(INIT)
    (image / "init").chmod(0o755)
    with open(work / "init.gz", "wb") as out:
        files = subprocess.run(["find", "."], cwd=image, check=True, stdout=subprocess.PIPE).stdout
        archive = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=image, check=True, input=files,
                                 stdout=subprocess.PIPE).stdout
        subprocess.run(["gzip", "-1"], check=True, input=archive, stdout=out)
    shutil.rmtree(image)
    (work / "ready").touch()
    try:
        work.rename(home)
    except OSError:  # another run was faster
        shutil.rmtree(work)
    return prepare_kernel()


class Guest:
    """One boot that runs one command. `answers` maps the words the guest may ask for to functions(arguments) -> text."""

    def __init__(self, command, devices=(), answers=None, directory="/tmp", log=None, memory_mib=1024):
        self.command, self.devices, self.answers = command, list(devices), answers if answers is not None else {}
        self.directory = pathlib.Path(directory)
        self.log = log or (lambda text: print(text, flush=True))
        self.memory_mib = memory_mib
        self.failure = None
        self.done = False
        self._qmp = None
        self._qmp_file = None

    def run(self, timeout_s):
        """Boots, serves the guest's questions until it is done, and raises AssertionError if it failed."""
        kernel, initrd, modules = prepare_kernel()
        line_path, qmp_path = str(self.directory / "line.sock"), str(self.directory / "qmp.sock")
        console = self.directory / "console.log"
        script = self.directory / "guest.sh"  # the kernel command line allows no spaces
        script.write_text("#!/bin/bash\nexport PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\n"
                          "ip link set lo up\n"
                          # What a booting system would have set up, and tillbridged and its stick need.
                          "ln -s /proc/self/fd /dev/fd\n"
                          "/usr/lib/systemd/systemd-udevd --daemon && udevadm trigger && udevadm settle\n" + self.command + "\n")
        script.chmod(0o755)
        process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(self.memory_mib), "-smp", "2",
             "-display", "none", "-no-reboot", "-nic", "none",
             "-serial", f"file:{console}",
             "-serial", f"unix:{line_path},server=on,wait=off",
             "-qmp", f"unix:{qmp_path},server=on,wait=off",
             "-kernel", str(kernel), "-initrd", str(initrd),
             "-append", f"console=ttyS0 quiet panic=-1 no_timer_check modules_at={modules} run={script}",
             "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
             *self.devices],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.directory / "qemu.log", "w"))
        deadline = time.monotonic() + timeout_s
        timer = threading.Timer(timeout_s, process.kill)
        timer.start()
        try:
            line = self._connect(line_path, process, deadline)
            self._serve(line)
        finally:
            timer.cancel()
            if self.done:
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    pass
            if process.poll() is None:
                process.kill()
            process.wait()
        if self.failure or not self.done:
            tail = console.read_text(errors="replace")[-3000:] if console.exists() else ""
            reason = self.failure or f"the guest stopped or ran out of its {timeout_s} s without an end"
            raise AssertionError(f"{reason}\n--- end of the guest's console ---\n{tail}")

    def qmp(self, command, **arguments):
        """A command to QEMU itself, e.g. device_del; returns when QEMU has accepted it."""
        if self._qmp is None:
            self._qmp = socket.socket(socket.AF_UNIX)
            self._qmp.connect(str(self.directory / "qmp.sock"))
            self._qmp_file = self._qmp.makefile("r")
            self._qmp_file.readline()  # greeting
            self.qmp("qmp_capabilities")
        self._qmp.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            reply = json.loads(self._qmp_file.readline())
            if "error" in reply:
                raise RuntimeError(f"QEMU refused {command}: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]

    @staticmethod
    def _connect(path, process, deadline):
        while True:
            line = socket.socket(socket.AF_UNIX)
            try:
                line.connect(path)
                return line
            except OSError:
                line.close()
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError("QEMU did not start; see qemu.log")
                time.sleep(0.05)  # waiting for another process to create its socket

    def _serve(self, line):
        for text in line.makefile("r", errors="replace"):
            word, _, rest = text.strip().partition(" ")
            if word == "note":
                self.log(f"    {rest}")
            elif word == "ask":
                name, _, arguments = rest.partition(" ")
                try:
                    answer = self.answers[name](arguments) or "ok"
                except Exception as error:  # the guest must not wait for ever
                    self.failure = f"the test could not answer '{rest}': {error}"
                    answer = "error"
                line.sendall(answer.encode() + b"\n")
            elif word == "fail":
                self.failure = rest.replace("\\n", "\n")
            elif word == "done":
                self.done = True
                return
