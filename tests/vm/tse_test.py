"""Simulated TSEs mounted from /dev/sdX in the session, as a real POS finds them: every way in which real clients open the file, a virus
scanner that reads everything meanwhile, a stick pulled while its file system is written, and a serial TSE at /dev/ttyACM0."""

import os
import pathlib
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm_support  # noqa: E402

TILL, CLIENT = "kasse-01", "KASSE-01"
# A Swissbit stick knows its files by their place on the disk: nobody overwrites or re-creates them.
STYLES = {"cryptovision": ["direct", "direct-zeroed", "recreated", "each-time", "cached"], "swissbit": ["direct", "each-time", "cached"]}
MOUNT = pathlib.Path("/run/tse")


class Scanner:
    """Reads the whole disk and all files again and again, past the page cache, as a virus scanner does."""

    def __init__(self, disk):
        self.disk, self.rounds, self._stop = disk, 0, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.is_set():
            for path in [self.disk, *MOUNT.glob("TSE*")]:
                subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=8192", "count=64", "iflag=direct"], check=True,
                               stderr=subprocess.DEVNULL)
            self.rounds += 1


class Till:
    """One session with one simulated stick of `kind`; the POS runs on what the kernel made of it."""

    def __init__(self, session, kind, serial, note, **options):
        import tse
        self.session, self.kind, self.serial, self.note, self.tse = session, kind, serial, note, tse
        c = session.chain
        extra, self.bench = c.test_bench()
        session.server = c.usb_server([tse.stick(kind, serial, **options)],
                                      [{"stick": tse.stick_name(kind, serial), "till": TILL}], extra, name=f"tillbridged-{kind}")
        session.connect(c.till_config(TILL, session.server.port))
        self.pins = tse.pins_file(c.directory, kind)
        self.place = None

    def mount(self):
        self.disk = self.session.attached_disk()
        self.partition = self.disk + "1"
        import vm_session
        vm_session.wait_until(lambda: os.path.exists(self.partition), "the partition does not appear")
        MOUNT.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "vfat", self.partition, MOUNT], check=True)
        self.place = MOUNT

    def pos(self, *arguments, expect=0):
        program = self.session.chain.pos("--stick", self.place, "--pins", self.pins, *arguments)
        code = program.wait()
        assert code == expect, f"tillbridge-pos {' '.join(map(str, arguments))} ended with {code}:\n{program.text()}"
        return program

    def export(self):
        archive = self.session.chain.directory / f"{self.kind}.tar"
        self.pos("export", archive, "--force")
        self.pos("verify", archive)
        self.note(self.tse.verify_independently(archive).split(": ", 1)[1])

    def end(self):
        self.session.client.stop()
        self.session.terminal.stop()
        self.session.server.stop()


def mounted(session, kind, serial, note):
    till = Till(session, kind, serial, note, size_mib=16)
    till.mount()
    till.pos("setup", "--client", CLIENT)
    with Scanner(till.disk) as scanner:
        for style in STYLES[kind]:
            till.pos("--open-style", style, "receipt", "--client", CLIENT)
    assert scanner.rounds > 0
    note(f"{kind}: a receipt with each of {', '.join(STYLES[kind])}, while everything was read {scanner.rounds} times")
    till.export()
    till.tse.nothing_happened_to(till.bench.witness(serial))
    return till


def pulled_while_the_file_system_is_written(till):
    """Row 8 of the field problems: the image must stay mountable, and the TSE must not have noticed but the power failure."""
    (MOUNT / "notes.txt").write_bytes(b"x" * 300000)  # waits in the page cache
    till.bench.unplug(till.serial)
    subprocess.run(["umount", "-l", MOUNT], check=True)
    import vm_session
    vm_session.wait_until(till.session.disk_is_gone, "the disk is still there")
    mark = till.session.terminal.mark()
    till.bench.plug(till.serial)
    till.session.terminal.wait_for(r"attached as", after=mark)
    till.mount()
    checked = subprocess.run(["fsck.vfat", "-n", till.partition], text=True, stdout=subprocess.PIPE)
    assert "TSE" in " ".join(os.listdir(MOUNT)), os.listdir(MOUNT)
    till.note("pulled while written: mounted again; fsck says: " + checked.stdout.strip().splitlines()[-1])
    till.pos("receipt", "--client", CLIENT, "--count", 1)
    till.export()
    assert till.bench.witness(till.serial)["repeated_frames"] == 0


def inside(build):
    import guest_side
    import vm_session

    vm_session.load("cdc_acm")
    with vm_session.Session(build, guest_side.note) as session:
        till = mounted(session, "cryptovision", "5A2F00000001", guest_side.note)
        pulled_while_the_file_system_is_written(till)
        subprocess.run(["umount", MOUNT], check=True)
        till.end()

        till = mounted(session, "swissbit", "5A2F00000002", guest_side.note)
        subprocess.run(["umount", MOUNT], check=True)
        till.end()

        till = Till(session, "diebold", "5A2F00000003", guest_side.note)
        till.place = vm_session.wait_until(lambda: next(pathlib.Path("/dev").glob("ttyACM*"), None), "no /dev/ttyACM appears")
        till.pos("setup", "--client", CLIENT)
        till.pos("receipt", "--client", CLIENT, "--count", 3)
        till.export()
        till.tse.nothing_happened_to(till.bench.witness(till.serial))
        till.end()


def outside(build):
    with tempfile.TemporaryDirectory(prefix="tillbridge-vm-") as directory:
        vm_support.run_in_guest(build, "tse_test.py", ["-device", "qemu-xhci"], {}, directory, log=print)


if __name__ == "__main__":
    vm_support.main(outside, inside)
