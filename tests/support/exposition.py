"""A strict reader of Prometheus' text format 0.0.4, and the rules of promtool that concern our pages."""

import math
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(,?)')
TYPES = {"counter", "gauge", "histogram"}
UNITS_TO_AVOID = {"milliseconds", "microseconds", "minutes", "hours", "days", "ms", "us", "kib", "mib", "kilobytes"}


class Page:
    """Series by name and labels; `families` as {name: type}."""

    def __init__(self, text):
        self.families, self.series = {}, {}
        assert text.endswith("\n"), "the last line has no end"
        family = help_of = None
        for number, line in enumerate(text.split("\n")[:-1], 1):
            where = f"line {number}: {line}"
            if line.startswith("# HELP "):
                help_of, text_of = line[7:].split(" ", 1)
                assert text_of.strip(), where
            elif line.startswith("# TYPE "):
                family, kind = line[7:].split(" ")
                assert family == help_of, f"{where}: HELP is of {help_of}"
                assert kind in TYPES and family not in self.families, where
                self._check_name(family, kind, where)
                self.families[family] = kind
            else:
                self._sample(line, family, where)
        self._check_histograms()

    @staticmethod
    def _check_name(name, kind, where):
        assert NAME.fullmatch(name) and name == name.lower(), where
        assert (kind == "counter") == name.endswith("_total"), f"{where}: a counter ends in _total, nothing else does"
        assert not set(name.split("_")) & UNITS_TO_AVOID, f"{where}: not a base unit"
        assert not name.endswith(("_bucket", "_count", "_sum")), where

    def _sample(self, line, family, where):
        name = NAME.match(line).group()
        rest = line[len(name):]
        labels = []
        if rest.startswith("{"):
            rest = rest[1:]
            more = True
            while more:
                found = LABEL.match(rest)
                assert found, where
                labels.append((found.group(1), found.group(2)))
                rest, more = rest[found.end():], found.group(3) == ","
            assert rest.startswith("}"), where
            rest = rest[1:]
        assert re.fullmatch(r" (\+Inf|-?[0-9][0-9.e+-]*)", rest), where
        value = float(rest)
        assert len({key for key, _ in labels}) == len(labels), f"{where}: a label twice"
        kind = self.families.get(family)
        suffixes = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        assert any(name == family + suffix for suffix in suffixes), f"{where}: not of family {family}"
        assert kind == "gauge" or value >= 0, where
        key = (name, tuple(sorted(labels)))
        assert key not in self.series, f"{where}: twice"
        self.series[key] = value

    def _check_histograms(self):
        for family in (name for name, kind in self.families.items() if kind == "histogram"):
            buckets = {}
            for (name, labels), value in self.series.items():
                if name == family + "_bucket":
                    others = tuple(label for label in labels if label[0] != "le")
                    buckets.setdefault(others, []).append((float(dict(labels)["le"]), value))
            for labels, values in buckets.items():
                values.sort()
                assert all(low[1] <= high[1] for low, high in zip(values, values[1:])), (family, labels)
                assert math.isinf(values[-1][0]), f"{family}{labels}: no +Inf"
                assert values[-1][1] == self.series[family + "_count", labels], (family, labels)
                assert (family + "_sum", labels) in self.series

    def value(self, name, **labels):
        return self.series[name, tuple(sorted(labels.items()))]
