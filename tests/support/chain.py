"""Runs the real programs of the chain for tests and for the demo: tillbridged, tillbridge-terminal, and a real xfreerdp3
(or FreeRDP 2's xfreerdp) with the plugin under Xvfb. Works on this machine and inside the QEMU guest alike.

Nothing here sleeps to wait for something: a test waits for a line that a program prints, or for a program to end.
Every program started here is ended here, by its process id.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
# How long anything may be waited for. It says that something hangs, not how fast it should be: a test machine may do other
# things for half a minute.
PATIENCE_S = 150


# Of each generation of FreeRDP: its client, its package for pkg-config and folder of add-ins, and where a build has the plugin for it.
FREERDP = {3: ("xfreerdp3", "freerdp3", "plugin"), 2: ("xfreerdp", "freerdp2", "plugin/freerdp2")}


class Program:
    """A running program whose output lines can be waited for."""

    def __init__(self, name, command, environment=None, log=None, directory=None):
        self.name, self.command, self.environment = name, [str(word) for word in command], environment
        self.lines = []
        self.times = []  # when each line came, monotonic seconds
        self._log = log
        self._changed = threading.Condition()
        self._ended = False
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, errors="replace", env=environment, cwd=directory)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self.times.append(time.monotonic())
                if self._log:
                    self._log(f"{self.name}: {line.rstrip()}")
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, pattern, after=0):
        """Waits for a line that matches; returns the match. `after`: only lines from this index on count."""
        expression = re.compile(pattern)
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            seen = after
            while True:
                while seen < len(self.lines):
                    found = expression.search(self.lines[seen])
                    if found:
                        return found
                    seen += 1
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = f"ended with {self.process.wait()}" if self._ended else f"{PATIENCE_S} s passed"
                    raise AssertionError(f"{self.name}: no line matched '{pattern}' ({why}); it printed:\n{self.text(40)}")
                self._changed.wait(left)

    def mark(self):
        """The number of lines so far, for wait_for(after=...)."""
        with self._changed:
            return len(self.lines)

    def time_of(self, pattern, after=0):
        """When the first such line came; it must have come."""
        index = next(i for i in range(after, len(self.lines)) if re.search(pattern, self.lines[i]))
        return self.times[index]

    def text(self, last=10000):
        return "\n".join("    " + line for line in self.lines[-last:])

    def wait(self, timeout_s=PATIENCE_S):
        """Waits for the program to end by itself; returns its exit code."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout_s} s; it printed:\n{self.text(40)}") from None
        self._reader.join(5)
        return code

    def stop(self):
        """Asks it to end (SIGTERM); returns its exit code. One that does not end is killed, which is a failure."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} did not end on SIGTERM; it printed:\n{self.text(40)}") from None
        self._reader.join(5)
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(5)


SANITIZER_REPORT = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:")


class Chain:
    """The programs of one test, in a directory of their own; ends them all when left. `freerdp`: the generation of its clients."""

    def __init__(self, build, log=None, directory=None, freerdp=3):
        self.build = pathlib.Path(build)
        self.log = log
        self.freerdp = freerdp
        self._temporary = None if directory else tempfile.TemporaryDirectory(prefix="tillbridge-")
        self.directory = pathlib.Path(directory or self._temporary.name)
        self.programs = []
        self.display = None
        self.sanitizer = sanitizer_of(self.build)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        problems = []
        for program in reversed(self.programs):
            try:
                program.stop()
            except AssertionError as problem:
                problems.append(str(problem))
            if any(SANITIZER_REPORT.search(line) for line in program.lines):
                problems.append(f"{program.name}: a sanitizer reported:\n{program.text(120)}")
        if kind is not None and not self.log:
            for program in self.programs:
                print(f"--- {program.name} ---\n{program.text(60)}", flush=True)
        if self._temporary:
            self._temporary.cleanup()
        if problems and kind is None:
            raise AssertionError("\n".join(problems))

    def start(self, name, command, environment=None):
        program = Program(name, command, environment or self.environment(), self.log)
        self.programs.append(program)
        return program

    def environment(self, preload=False):
        """Sanitizers end a program at the first report, except leaks in libraries that are not ours."""
        environment = dict(os.environ)
        suppressions = SOURCE / "tests/sanitizers"
        environment["ASAN_OPTIONS"] = "abort_on_error=0:detect_leaks=%d" % (0 if preload else 1)
        environment["LSAN_OPTIONS"] = f"suppressions={suppressions / 'lsan.supp'}:print_suppressions=0"
        environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
        environment["TSAN_OPTIONS"] = f"suppressions={suppressions / 'tsan.supp'}:exitcode=66:report_signal_unsafe=0"
        if preload and self.sanitizer:
            library = {"address": "libasan.so", "thread": "libtsan.so"}[self.sanitizer]
            # Only for the program itself (with_plugin), not for the shell that mounts and starts it.
            environment["TILLBRIDGE_PRELOAD"] = subprocess.run(["gcc", f"-print-file-name={library}"], check=True, text=True,
                                                       stdout=subprocess.PIPE).stdout.strip()
        return environment

    def certificates(self, *tills):
        """A private CA, a server certificate for localhost and one certificate per till, in <directory>/pki."""
        pki = self.directory / "pki"
        subprocess.run([SOURCE / "packaging/make-certificates", pki, "localhost", "127.0.0.1", "--", *tills], check=True,
                       stdout=subprocess.DEVNULL)
        return pki

    def file(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return path

    def usb_server(self, sticks, maps, extra="", name="tillbridged", link="", command=None):
        """tillbridged with these [[simulated]] and [[map]] tables (lists of dicts), and with lines for [link]; listens on a free
        loopback port. With the certificates that certificates() made, if any; otherwise with its own alone, and tills have to
        pair. `command`: what starts it, if not the program alone as this user."""
        pki = self.directory / "pki"
        files = [f'certificate = "{pki}/server.crt"', f'key = "{pki}/server.key"', f'authority = "{pki}/authority.crt"']
        config = self.file(f"{name}.toml", "\n".join([
            "[link]", 'listen = "127.0.0.1:0"', *(files if pki.exists() else []), link, *self.state_tables(name), extra,
            *tables("simulated", sticks), *tables("map", maps), ""]))
        server = self.start(name, [*(command or [self.build / "server/usb/tillbridged"]), "--config", config])
        server.config = config
        server.port = int(server.wait_for(r"listening for tills on \S+:(\d+)").group(1))
        return server

    def state_tables(self, name="tillbridged"):
        """A server's memory and its administrators' way in, both in this chain's directory."""
        return ["[state]", f'folder = "{self.directory}/{name}.state"', "[admin]", 'listen = "127.0.0.1:0"',
                f'socket = "{self.directory}/{name}.admin"']

    def test_bench(self):
        """(the configuration that switches it on, for usb_server(extra=...); the bench)"""
        bench = TestBench(self.directory / "bench.sock")
        return f'[simulation]\ncontrol = "{bench.path}"\n', bench

    def terminal(self, *arguments, name="tillbridge-terminal"):
        environment = {key: value for key, value in self.environment().items() if key != "HOME"}  # as a service is started
        terminal = self.start(name, [self.build / "server/terminal/tillbridge-terminal", "--listen", "127.0.0.1:0", *arguments], environment)
        terminal.port = int(terminal.wait_for(r"listening for RDP on \S+:(\d+)").group(1))
        return terminal

    def pos(self, *arguments, name="tillbridge-pos"):
        """tillbridge-pos with JSON output; never asks anybody."""
        return self.start(name, [self.build / "pos/tillbridge-pos", "--json", "--no-prompt", "--tries", self.directory / "tries",
                                 *arguments])

    def till_config(self, till, server_port, server_host="localhost"):
        pki = self.directory / "pki"
        return self.file(f"{till}.toml", f"""
[server]
host = "{server_host}"
port = {server_port}
[tls]
certificate = "{pki}/{till}.crt"
key = "{pki}/{till}.key"
authority = "{pki}/authority.crt"
""")

    def x_display(self):
        """One Xvfb for all clients of this chain, with its own authority file, reachable by Unix socket only."""
        if self.display is None:
            authority = self.directory / "Xauthority"
            authority.touch(mode=0o600)
            cookie = os.urandom(16).hex()
            subprocess.run(["xauth", "-q", "-f", authority], input=f"add :0 . {cookie}\n", text=True, check=True)
            read_end, write_end = os.pipe()
            process = subprocess.Popen(["Xvfb", "-displayfd", str(write_end), "-screen", "0", "640x480x24", "-nolisten", "tcp",
                                        "-auth", authority], pass_fds=[write_end], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            os.close(write_end)
            with os.fdopen(read_end) as number:
                self.display = f":{number.readline().strip()}"
            subprocess.run(["xauth", "-q", "-f", authority], input=f"add {self.display} . {cookie}\n", text=True, check=True)
            self.programs.insert(0, _Ended(process))
        return self.display, self.directory / "Xauthority"

    def client(self, port, config=None, arguments=(), name=None, user="kasse", prefix=(), plugin_for=None):
        """A real xfreerdp3 connected to the terminal server; with `config`, it loads the plugin of this build. `prefix`:
        a command that starts it, such as env. `plugin_for`: the plugin of another generation than the client's."""
        program, package, _ = FREERDP[self.freerdp]
        display, authority = self.x_display()
        environment = self.environment(preload=True)
        environment.update(DISPLAY=display, XAUTHORITY=str(authority), HOME=str(self.directory))
        command = [*prefix, program, f"/v:127.0.0.1:{port}", f"/u:{user}", "/p:none", "/sec:tls", "/cert:ignore", "/size:640x480",
                   "/log-level:WARN", "-clipboard", *arguments]
        if config:
            command.append(f"/dvc:tillbridge,config:{config}")
        return self.start(name or program, self.with_plugin(command, package, self.plugin(plugin_for or self.freerdp)), environment)

    def plugin(self, generation):
        """The folder of this build's plugin for that generation of FreeRDP, whether it is there or not."""
        return self.build / FREERDP[generation][2]

    def with_plugin(self, command, package, plugin):
        """FreeRDP loads add-ins from one fixed folder: mount this build's plugin over it, seen by this command only."""
        addins = pathlib.Path(subprocess.run(["pkg-config", "--variable=libdir", package], check=True, text=True,
                                             stdout=subprocess.PIPE).stdout.strip()) / package
        if not addins.is_dir():
            raise AssertionError(f"{addins} is missing; packaging/setup makes it")
        return [*mounted(plugin, addins),
                "sh", "-c", 'if [ -n "$TILLBRIDGE_PRELOAD" ]; then export LD_PRELOAD="$TILLBRIDGE_PRELOAD"; fi; exec "$@"', "sh", *command]


def mounted(folder, place):
    """A command that starts another one, which alone sees `folder` at `place`."""
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]
    return [*namespace, "sh", "-c", f'mount --bind "{folder}" "{place}" && exec "$@"', "sh"]


class TestBench:
    """tillbridged's [simulation] control socket: pulls, plugs, breaks and questions simulated sticks."""

    def __init__(self, path):
        self.path = path

    def say(self, line):
        """The lines before the final "ok"."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.path))
            connection.sendall(line.encode() + b"\n")
            lines = []
            for answer in connection.makefile("r"):
                answer = answer.rstrip("\n")
                if answer == "ok":
                    return lines
                if answer.startswith("error: "):
                    raise AssertionError(f"{line}: {answer}")
                lines.append(answer)
            raise AssertionError(f"{line}: no answer")

    def unplug(self, serial):
        self.say(f"unplug {serial}")

    def plug(self, serial):
        self.say(f"plug {serial}")

    def power_cycle(self, serial):
        self.say(f"power-cycle {serial}")

    def fault(self, serial, text):
        self.say(f"fault {serial} {text}")

    def heal(self, serial):
        self.say(f"heal {serial}")

    def wait_for_faults(self, serial, count):
        """The stick tells only when asked."""
        deadline = time.monotonic() + PATIENCE_S
        while self.witness(serial)["faults"] < count:
            assert time.monotonic() < deadline, f"the fault did not strike within {PATIENCE_S} s"
            time.sleep(0.05)

    def witness(self, serial):
        """What really happened to the stick: a dict of counts."""
        return json.loads(self.say(f"witness {serial}")[0])


class _Ended:
    """Xvfb: ended with the chain, its output is of no interest."""

    def __init__(self, process):
        self.name, self.process, self.lines = "Xvfb", process, []

    def text(self, last=0):
        return ""

    def stop(self):
        self.process.terminate()
        self.process.wait()


def tables(name, entries):
    """TOML array of tables from dicts of strings, numbers and booleans."""
    for entry in entries:
        yield f"[[{name}]]"
        for key, value in entry.items():
            if isinstance(value, bool):
                yield f"{key} = {str(value).lower()}"
            elif isinstance(value, list):
                yield f"{key} = {json.dumps(value)}"
            elif isinstance(value, (int, float)):
                yield f"{key} = {value}"
            else:
                yield f'{key} = "{value}"'


def sanitizer_of(build):
    cache = pathlib.Path(build) / "CMakeCache.txt"
    found = re.search(r"^TILLBRIDGE_SANITIZE:\w+=(\w*)", cache.read_text(), re.MULTILINE) if cache.exists() else None
    return found.group(1) if found and found.group(1) else None
