"""The three families of simulated TSEs, for tests and for the demo."""

import pathlib
import subprocess
import sys

VERIFIER = pathlib.Path(__file__).resolve().parent / "tse_verify.py"

# kind: (VID:PID of the simulated stick, PINs and PUKs that `tillbridge-pos setup` gives it)
FAMILIES = {
    "cryptovision": ("1209:0003", {"admin-pin": "11223344", "admin-puk": "1122334455", "time-pin": "55667788",
                                   "time-puk": "5566778899"}),
    "swissbit": ("1209:0004", {"admin-pin": "24680", "admin-puk": "246801", "time-pin": "13579"}),
    "diebold": ("1209:0005", {"transport-pin": "12345", "admin-pin": "24680", "admin-puk": "246801", "time-pin": "13579",
                              "time-puk": "135791"}),
}


def stick(kind, serial, **options):
    """A [[simulated]] table; a quick one unless options say otherwise."""
    return {"kind": kind, "serial": serial, "signing_ms": 0, "self_test_ms": 200, **options}


def stick_name(kind, serial):
    """As a [[map]] names it."""
    return f"{FAMILIES[kind][0]}:{serial}"


def pins_file(directory, kind, **changed):
    path = pathlib.Path(directory) / f"{kind}{'-changed' if changed else ''}.pins"
    path.touch(mode=0o600)
    pins = {**FAMILIES[kind][1], **{key.replace("_", "-"): value for key, value in changed.items()}}
    path.write_text("".join(f"{key} = {value}\n" for key, value in pins.items()))
    return path


def verify_independently(archive):
    """By a checker that has no line in common with tillbridge. Returns what it said; raises if it found anything."""
    result = subprocess.run([sys.executable, VERIFIER, archive], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, f"tse_verify.py: {result.stdout}"
    return result.stdout.strip()


def nothing_happened_to(witness, class_resets=0):
    """The stick was neither reset nor cut off from power, and no frame came twice. `class_resets`: so many of Bulk-Only Transport's
    own are allowed: with it a class driver begins anew after a transfer that failed; the stick forgets the command, nothing else."""
    for what in ("repeated_frames", "counter_gaps", "power_cycles", "bus_resets", "unplugs"):
        assert witness[what] == 0, f"{what} is {witness[what]}: {witness}"
    assert witness["class_resets"] <= class_resets, f"{witness['class_resets']} class resets, {class_resets} expected: {witness}"
