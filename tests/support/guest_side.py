"""The guest's half of guest.py's serial line: what a script that runs in the guest uses to talk to its test."""

import os
import sys
import termios
import traceback
import tty

_line = None


def _open():
    global _line
    if _line is None:
        fd = os.open("/dev/ttyS1", os.O_RDWR | os.O_NOCTTY)
        tty.setraw(fd, termios.TCSANOW)
        _line = os.fdopen(fd, "r+b", buffering=0)
    return _line


def _say(text):
    _open().write(text.replace("\n", "\\n").encode() + b"\n")


def note(text):
    print(text, flush=True)
    _say(f"note {text}")


def ask(question):
    """Asks the test outside; returns its one-line answer."""
    _say(f"ask {question}")
    answer = b""
    while not answer.endswith(b"\n"):
        answer += _open().read(1)
    text = answer.decode().strip()
    if text == "error":
        raise RuntimeError(f"the test could not answer: {question}")
    return text


def main(scenario):
    """Runs scenario(); reports its end, also a bad one."""
    try:
        scenario()
    except BaseException:
        traceback.print_exc()
        _say("fail " + traceback.format_exc()[-2500:])
    _say("done")
    sys.stdout.flush()
