"""A shop from a box: three fresh Debian machines, our packages, and the quick start exactly as it is written, up to a receipt that
is signed in the session. Then the USB server's packages are replaced by newer ones while receipts are being signed, the other guides'
commands are typed (clean_room_guides.py), and in the end everything is purged.

  clean_room_test.py BUILD bookworm|trixie
"""

import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import clean_room  # noqa: E402
import clean_room_guides  # noqa: E402
import guest  # noqa: E402
import guides  # noqa: E402

SOURCE = clean_room.SOURCE
SKIPPED = 77
NUMBERS = {"bookworm": 12, "trixie": 13}
NAMES = {"usb-server": "usbserver", "till": "kasse-01", "terminal-server": "terminalserver"}
PACKAGES = {"usb-server": ["tillbridge-server", "tillbridge-cli"], "till": ["freerdp3-plugin-tillbridge", "tillbridge-cli"],
            "terminal-server": ["tillbridge-terminal", "tillbridge-pos"]}
# The audit log, which a tax audit may ask for, and what tillbridge-pos keeps in its user's home. Each package says so.
LEFT_ON_PURPOSE = {"usb-server": ["/var/lib/tillbridge/audit"], "till": [], "terminal-server": [".local/state/tillbridge/pin-tries"]}
GUIDES = ["quick-start.md", "linux-terminal-server.md", "operating.md"]  # each block of these for this release is typed
EXPOSURE = {"tillbridged.service": 2.0, "tillbridge-terminal.service": 2.5}  # of systemd-analyze security: 0 to 10, less is better
RECEIPTS_BEFORE, RECEIPTS_AFTER = 2, 2  # signed in the running session before and after the upgrade, at least

# A stick of QEMU on the USB server's own bus, beside the simulated TSE, which loses its power when its server ends.
STICK = "46f4:0001:5A2F0000000B"
STICK_DISK = "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_5A2F0000000B-0:0"
STICK_MIB = 16


def packages(release, suffix=""):
    """The packages of this source tree, built once: the name of their folder is a digest of everything that goes into them."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=SOURCE, check=True,
                            stdout=subprocess.PIPE).stdout.decode().split("\0")
    digest = hashlib.sha256(suffix.encode())
    for name in sorted(listed):
        path = SOURCE / name
        if name and path.is_file() and not name.startswith("tests/"):
            digest.update(f"{name} {path.stat().st_mode & 0o111} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    prefix = f"packages-{release}{suffix}-"
    home = guest.cache_dir() / f"{prefix}{digest.hexdigest()[:12]}"
    if not home.exists():
        work = home.with_name(f"{home.name}.{os.getpid()}")
        clean_room.run(SOURCE / "packaging/build-packages", "--release", release, "--suffix", suffix, "--output", work)
        with contextlib.suppress(OSError):  # another run was faster
            work.rename(home)
        shutil.rmtree(work, ignore_errors=True)
        older = sorted(guest.cache_dir().glob(prefix + "*"), key=lambda path: path.stat().st_mtime)[:-3]
        for path in older:
            shutil.rmtree(path, ignore_errors=True)
    return {path.name.split("_")[0]: path for path in (home / release / "amd64").glob("*.deb")}


class Shop:
    """The three machines, and what the test says about them."""

    def __init__(self, release, directory):
        self.release, self.directory = release, pathlib.Path(directory)
        self.began = time.monotonic()
        self.machines = {}
        self.background = []
        self.printed = ""  # by all blocks of the guides so far
        self.typed = set()  # (guide, line) of those

    def note(self, text):
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def __enter__(self):
        systems = {kind: clean_room.System(self.release, kind) for kind in clean_room.KINDS}
        share = self.directory / "share"
        old, new = packages(self.release), packages(self.release, "+next")
        for folder, debs in (("release", old), ("newer", new)):
            (share / folder).mkdir(parents=True)
            for deb in debs.values():
                shutil.copy(deb, share / folder)
        for role, wanted in PACKAGES.items():
            needs = systems["till" if role == "till" else "server"].download([old[name] for name in wanted], share / role)
            self.report_sizes(role, [old[name] for name in wanted], needs)
        network = f"230.0.0.1:{20000 + os.getpid() % 20000}"
        try:
            for role, name in NAMES.items():
                devices = self.stick() if role == "usb-server" else ()
                self.machines[role] = clean_room.Machine(name, systems["till" if role == "till" else "server"], self.directory, network, share, devices)
            hosts = "".join(f"{machine.address} {machine.name}\n" for machine in self.machines.values())
            for role, machine in self.machines.items():
                machine.booted()
                machine.run(f"cat >>/etc/hosts <<'END'\n{hosts}END\n: >/etc/resolv.conf\ncp /srv/share/release/*.deb /root/\n"
                            f"cp /srv/share/{role}/*.deb /var/cache/apt/archives/ 2>/dev/null || true")
        except BaseException:
            self.__exit__()
            raise
        self.note(f"three fresh machines of Debian {NUMBERS[self.release]} run")
        return self

    def __exit__(self, *error):
        for machine in self.machines.values():
            machine.off()

    def stick(self):
        image = self.directory / "stick.img"
        with open(image, "wb") as file:
            file.truncate(STICK_MIB << 20)
        return ["-device", "qemu-xhci,id=xhci,p2=4,p3=0", "-drive", f"if=none,id=stick,file={image},format=raw,cache=unsafe",
                "-device", f"usb-storage,drive=stick,serial={STICK.rsplit(':', 1)[1]},bus=xhci.0"]

    def report_sizes(self, role, debs, needs):
        for deb in debs:
            installed = subprocess.run(["dpkg-deb", "-f", deb, "Installed-Size"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
            self.note(f"{role}: {deb.name} {deb.stat().st_size // 1024} KiB, installed {installed} KiB")
        self.note(f"{role}: brings {len(needs)} packages of Debian along: {' '.join(sorted(needs)) or 'none'}")

    def blocks(self, name, section=None):
        """What docs/NAME lets one type on this release, or what it does so under that heading."""
        return [block for block in guides.blocks(SOURCE / "docs" / name)
                if "by-hand" not in block.options and block.for_release(NUMBERS[self.release]) and section in (None, block.section)]

    def quick_start(self):
        """Every block of the document, in order, on the machine that is named above it."""
        for block in self.blocks("quick-start.md"):
            self.type("quick-start.md", block)

    def type(self, name, block, folder="/root"):
        """One block of docs/NAME, as it is written, on its machine, standing in that folder; what it printed."""
        where, machine = f"{name}, line {block.line}", self.machines[block.machine]
        script = f"export DISPLAY=:1\ncd {folder}\n" + block.script(self.printed)
        self.typed.add((name, block.line))
        if "background" in block.options:
            machine.run("systemd-run --quiet --unit=display Xvfb :1 -screen 0 800x600x24")
            machine.until("test -S /tmp/.X11-unix/X1", "the display")
            self.background.append((block, machine, machine.start(script)))
            self.note(f"{where}: begun on the {block.machine}")
            return ""
        try:
            code, text = machine.result(machine.start(script))
        except AssertionError as error:
            raise AssertionError(f"{where}: {error}\n{self.what_they_say()}") from None
        assert code == 0, (f"{where} ended with {code} on the {block.machine}:\n{block.text}\n--- it printed ---\n"
                           f"{text[-3000:]}\n{self.what_they_say()}")
        self.printed += text
        self.note(f"{where}: done on the {block.machine}: {block.text.strip().splitlines()[-1][:100]}")
        return text

    def what_they_say(self):
        told = []
        for block, machine, number in self.background:
            told.append(f"--- {machine.name}: {block.text.strip()} {'ended: ' + machine.result(number)[1][-2000:] if machine.ended(number) else 'runs'}")
        for role, unit in (("usb-server", "tillbridged"), ("terminal-server", "tillbridge-terminal")):
            code, text = self.machines[role].result(self.machines[role].start(f"journalctl --no-pager -n 40 -u {unit}; dmesg | tail -n 15"), 120)
            told.append(f"--- {role} ---\n{text}")
        return "\n".join(told)


def secrets_are_kept(shop):
    """Nobody but its owner may read a key, a password or the database, and the server has no right that it does not need."""
    for role, machine in shop.machines.items():
        open_files = machine.run(
            "for folder in /etc/tillbridge /var/lib/tillbridge /var/lib/tillbridge-terminal; do [ ! -e $folder ] || find $folder -type f -perm /077 "
            "-exec grep -lE 'PRIVATE KEY|quick-start-only|SQLite format' {} +; done || true")
        assert not open_files.strip(), f"{role}: others may read {open_files}"
    server = shop.machines["usb-server"]
    others = server.run("runuser -u nobody -- find /var/lib/tillbridge /run/tillbridge 2>/dev/null | wc -l").strip()
    assert others == "2", f"nobody can look into the server's folders: {others} places"
    status = server.run("cat /proc/$(systemctl show -P MainPID tillbridged)/status")
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE) and re.search(r"^Uid:\t(?!0\t)", status, re.MULTILINE), status
    for unit, bar in EXPOSURE.items():
        machine = shop.machines["usb-server" if unit == "tillbridged.service" else "terminal-server"]
        exposure = float(re.search(r"Overall exposure level for .*: ([\d.]+)", machine.run(f"systemd-analyze security --no-pager {unit}")).group(1))
        shop.note(f"systemd-analyze security {unit}: {exposure}")
        assert exposure < bar, f"{unit}: {exposure}, wanted below {bar}"


TSE = "/dev/disk/by-id/usb-TILLBRDG_Simulated_TSE_5A2F00000001-0:0-part1"
# Only receipts that were signed count: not one whose TSE was pulled before (exit code 13) or while it was asked (40: not signed,
# 41: nobody can be asked yet).
RECEIPTS = f"""
rm -f /root/enough; : >/root/receipts
while [ ! -e /root/enough ]; do
  mountpoint -q /media/tse || {{ udevadm wait --timeout=60 {TSE}; mount {TSE} /media/tse; }}
  code=0; tillbridge-pos receipt --client kasse-01 --amount 1.00 --pins /root/tse-pins >/root/receipt.txt 2>&1 || code=$?
  case $code in 0) echo signed >>/root/receipts;; 13 | 40 | 41) umount -l /media/tse; sleep 1;; *) cat /root/receipt.txt; exit $code;; esac
done
umount /media/tse
"""
BLOCKS = """
disk=$(readlink -f DISK)
rm -f /root/blocks; number=0
while [ ! -e /root/enough ]; do
  number=$((number + 1))
  head -c 65536 /dev/urandom >/root/written
  dd if=/root/written of=$disk bs=64k seek=$((number % 200)) oflag=direct status=none
  dd if=$disk of=/root/read bs=64k skip=$((number % 200)) count=1 iflag=direct status=none
  cmp /root/written /root/read
  echo $number >>/root/blocks
  sleep 0.3  # leaves the emulated machines time for what else they do
done
""".replace("DISK", STICK_DISK)


def upgrade_in_mid_lease(shop):
    """The stick on the bus must not notice. The simulated TSE is part of the server that is replaced, so it is pulled and plugged in."""
    server, till, terminal = (shop.machines[role] for role in NAMES)
    server.run(f"echo '# a line of the administrator' >>/etc/tillbridge/tillbridged.toml; tillbridge map {STICK} kasse-01")
    terminal.run(f"udevadm wait --timeout=60 {STICK_DISK}")
    bus_place = terminal.run("basename $(dirname $(grep -l 5A2F0000000B /sys/bus/usb/devices/*/serial))").strip()
    kept = ("sha256sum /etc/tillbridge/tillbridged.toml $(find /var/lib/tillbridge -name '*.pem' -o -name '*.key' -o -name '*.crt'); "
            "tillbridge till list --json | grep -oE '\"(name|fingerprint)\":[^,}]*'")
    before = server.run(kept)
    terminal.run("dmesg --clear; rm -f /root/enough")
    running = {"receipts": terminal.start(RECEIPTS), "blocks": terminal.start(BLOCKS)}

    def done(more):
        """Waits until so many more receipts were signed and blocks written; how many there are now."""
        for what, number in running.items():
            assert not terminal.ended(number), f"{what} ended: {terminal.result(number)}\n{shop.what_they_say()}"
        now = [int(word) for word in terminal.run("wc -l </root/receipts; wc -l </root/blocks || echo 0").split()]
        try:
            terminal.until(f"test $(wc -l </root/receipts) -ge {now[0] + more} -a $(wc -l </root/blocks) -ge {now[1] + more}", "receipts and blocks")
        except AssertionError as error:
            ended = {what: terminal.result(number) for what, number in running.items() if terminal.ended(number)}
            raise AssertionError(f"{error}\nended: {ended}\n{terminal.run('tail -n 3 /root/receipt.txt /root/blocks; mount | grep tse || true')}\n"
                                 f"{shop.what_they_say()}") from None

    terminal.until("test -e /root/receipts -a -e /root/blocks", "the first block")
    done(RECEIPTS_BEFORE)
    old = server.run("tillbridged --version; systemctl show -P MainPID tillbridged").split()
    update, = shop.blocks("operating.md", "Updates")
    shop.type("operating.md", update, folder="/srv/share/newer")
    till.run("cd /srv/share/newer && apt-get install -y ./freerdp3-plugin-tillbridge_*.deb ./tillbridge-cli_*.deb")
    new = server.run("systemctl is-active --quiet tillbridged; tillbridged --version; systemctl show -P MainPID tillbridged").split()
    assert new[-2] != old[-2] and "+next" in new[-2] and new[-1] != old[-1], f"{old} before, {new} after"
    done(RECEIPTS_AFTER)
    terminal.run("touch /root/enough")
    for what, number in running.items():
        code, text = terminal.result(number)
        assert code == 0, f"{what} failed while the USB server was replaced:\n{text}\n{shop.what_they_say()}"
    kernel = terminal.run("dmesg")
    noticed = [line for line in kernel.splitlines() if f" usb {bus_place}: " in line]
    assert not noticed, f"the stick at {bus_place} was disturbed:\n{kernel}"
    after = server.run(kept)
    assert after == before, f"configuration, tills or certificates changed:\n{before}\n{after}"
    server.run("tillbridge audit verify")
    terminal.run(f"udevadm wait --timeout=60 {TSE}; mount {TSE} /media/tse; rm -f /root/tse.tar\n"
                 "tillbridge-pos export /root/tse.tar; umount /media/tse; tillbridge-pos verify /root/tse.tar")
    counted = terminal.run("wc -l </root/receipts; wc -l </root/blocks").split()
    shop.note(f"upgraded {old[-2]} to {new[-2]} in mid-lease: {counted[0]} receipts signed and {counted[1]} blocks written meanwhile, "
              f"the stick on the bus noticed nothing, every signature is right")


def our_files(machine):
    """All paths that bear our name, but for what the test itself brought and what the system logs."""
    return set(machine.run("find / -xdev \\( -path /proc -o -path /sys -o -path /srv -o -path /root -o -path /tmp -o -path /var/log -o -path /var/cache \\) -prune "
                           "-o \\( -path '*tillbridge*' -o -path '*/freerdp[23]*' \\) -print").splitlines())


def purge(shop, before):
    for role, machine in shop.machines.items():
        text = machine.run("export DEBIAN_FRONTEND=noninteractive\napt-get purge -y $(dpkg-query -W -f '${Package}\\n' '*tillbridge*')\n"
                           "apt-get autoremove --purge -y\nif dpkg -l | grep tillbridge; then exit 1; fi")
        left = our_files(machine) - before[role]
        files = {path for path in left if not any(other.startswith(path + "/") for other in left)}
        said = re.findall(r"left on purpose: ([^\s,]+)", text)
        assert said == LEFT_ON_PURPOSE[role], f"{role}: it says that {said} is left\n{text[-1500:]}"
        unsaid = sorted(path for path in files if not any(place in path for place in said))
        assert not unsaid, f"{role}: left behind: {unsaid}\n{text[-1500:]}"
        gone = [place for place in said if not any(place in path for path in files)]
        assert not gone, f"{role}: {gone} is gone, but it says that it is left"
        shop.note(f"purged on the {role}: {len(files)} files left" + ("; it says so" if files else ""))


def main():
    release = sys.argv[2]
    with tempfile.TemporaryDirectory(prefix="tillbridge-clean-", dir="/var/tmp") as directory:
        try:
            with Shop(release, directory) as shop:
                before = {role: our_files(machine) for role, machine in shop.machines.items()}
                shop.quick_start()
                secrets_are_kept(shop)
                upgrade_in_mid_lease(shop)
                clean_room_guides.sticks_of_users(shop, TSE)
                clean_room_guides.operating(shop, TSE, STICK_DISK)
                untouched = [f"{name}, line {block.line}" for name in GUIDES for block in shop.blocks(name) if (name, block.line) not in shop.typed]
                assert not untouched, f"nobody typed {untouched}"
                purge(shop, before)
        except (clean_room.CleanRoomUnavailable, guest.GuestUnavailable) as why:
            print(f"skipped: no fresh machines can be had here: {why}")
            sys.exit(SKIPPED)
    print("passed")


if __name__ == "__main__":
    main()
