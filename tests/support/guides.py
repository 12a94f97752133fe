"""The commands of the guides in docs/, as they stand there: what the clean-room test runs and what lint.guides looks at.

A block is a fence whose info string is `sh MACHINE OPTION...`: typed by that machine's root, in the order of the document; or `toml MACHINE`: lines at the
end of the machine's configuration. Other fences and indented code are there to be read. Options:
`background` (stays in the foreground of its own terminal, so whoever runs it does not wait), `debian-12`, `debian-13` (that release only), and `by-hand`
(has something that only a person knows, such as a stick's serial; not run by a test).
"""

import dataclasses
import re

MACHINES = ("usb-server", "till", "terminal-server")
OPTIONS = ("background", "debian-12", "debian-13", "by-hand")
CONFIGURATIONS = {"usb-server": "/etc/tillbridge/tillbridged.toml", "till": "/etc/tillbridge/till.toml"}
# What stands for the pairing line that `tillbridge till add` has printed; to be replaced before the block is run.
PAIRING_LINE = "tb1:usbserver:4711/..."
PRINTED_LINE = re.compile(r"tillbridge pair (tb1:\S+/\S+/\S+)")
# What only a person can fill in.
GAP = re.compile(r"<[A-Za-z-]+>|\b(SERIAL|HOST|NAME|STICK|TILL|FILE|LINE)\b")


class GuideError(Exception):
    """The document has not the form that is described above; one line for each mistake."""


@dataclasses.dataclass(frozen=True)
class Block:
    machine: str
    options: tuple
    text: str
    line: int  # of its opening fence, from 1
    section: str  # the heading that it stands under
    language: str  # sh or toml

    def for_release(self, release):
        """Whether it is typed on Debian `release` (12 or 13)."""
        wanted = [option for option in self.options if option.startswith("debian-")]
        return not wanted or f"debian-{release}" in wanted

    def script(self, printed=""):
        """What root's shell is given; `printed` is what the blocks before it printed, where the pairing line stands that it may need."""
        if self.language == "toml":
            return f"cat >>{CONFIGURATIONS[self.machine]} <<'END'\n\n{self.text}END\n"
        return self.text.replace(PAIRING_LINE, pairing_line(printed, f"line {self.line}")) if PAIRING_LINE in self.text else self.text


def pairing_line(printed, who):
    """The line for a new till in the output of `tillbridge till add` or `tillbridge till token`, the last one."""
    found = PRINTED_LINE.findall(printed)
    if not found:
        raise GuideError(f"{who} needs the pairing line, but what was printed before has none:\n{printed}")
    return found[-1]


def fences(text):
    """(info string, content, line of the opening fence) of every fenced block of a Markdown text."""
    opened, info, content, start = None, "", [], 0
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r" {0,3}(```+|~~~+)(.*)$", line)
        if opened is None and mark:
            opened, info, content, start = mark.group(1), mark.group(2).strip(), [], number
        elif opened and mark and mark.group(1).startswith(opened) and not mark.group(2).strip():
            yield info, "\n".join(content) + "\n", start
            opened = None
        elif opened:
            content.append(line)
    if opened:
        raise GuideError(f"line {start}: this block has no end")


def heading_above(text, line):
    found = [heading.group(1) for heading in (re.match(r"## +(.+?)\s*$", one) for one in text.splitlines()[:line - 1]) if heading]
    return found[-1] if found else ""


def blocks(path, all_fences=False):
    """The document's blocks, in order. With `all_fences` no fence may be without a machine. Raises GuideError with every mistake of form."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found, mistakes = [], []
    for info, content, line in fences(text):
        language, *words = info.split() or [""]
        if language not in ("sh", "toml") or not words:
            if all_fences or language == "sh":
                mistakes.append(f"line {line}: a block needs its machine: ```sh {'|'.join(MACHINES)}, not ```{info}")
            continue
        machine, *options = words
        if machine not in MACHINES:
            mistakes.append(f"line {line}: no machine is called '{machine}'; there are {', '.join(MACHINES)}")
        if language == "toml" and machine not in CONFIGURATIONS:
            mistakes.append(f"line {line}: the {machine} has no configuration in TOML")
        mistakes += [f"line {line}: no option is called '{option}'; there are {', '.join(OPTIONS)}" for option in options if option not in OPTIONS]
        if not content.strip():
            mistakes.append(f"line {line}: an empty block")
        found.append(Block(machine, tuple(options), content, line, heading_above(text, line), language))
    run = [block for block in found if "by-hand" not in block.options]
    mistakes += [f"line {block.line}: only a person can replace what is in capitals or brackets here ('{gap.group()}'); say by-hand"
                 for block in run for gap in [GAP.search(block.text)] if gap]
    mistakes += [f"line {block.line}: a line that was printed before is needed, but no 'tillbridge till add' stands before it"
                 for index, block in enumerate(run) if PAIRING_LINE in block.text and not any("tillbridge till add" in b.text for b in run[:index])]
    mistakes += [f"line {block.line}: '...' is left in it" for block in run if "..." in block.text.replace(PAIRING_LINE, "")]
    if all_fences:
        mistakes += [f"nothing is typed on the {machine}" for machine in MACHINES if not any(block.machine == machine for block in run)]
    if mistakes:
        raise GuideError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return found
