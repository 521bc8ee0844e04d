"""What is to be verified, and what is found wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perturb.errors import PerturbError

KINDS = {
    "edited": "not what was written: edited by hand, or damaged",
    "stale": "made by other code, configuration or data than today's",
    "differs": "not what comes out when it is made again",
    "missing": "asked for by the configuration, or by a record, and not there",
    "unknown": "nothing of this configuration makes it",
    "uncompared": "what it is made from is among the above",
}

# All that a file which comes out otherwise can be: which of them, its bytes do not tell.
OTHER_BYTES = "edited by hand, or made by other code or with another configuration"
_SHOWN = 6  # names in a sentence


@dataclass(frozen=True)
class Finding:
    """Something wrong with a file: one of `KINDS`, and what it is."""

    part: str
    kind: str
    file: Path
    says: str = ""


@dataclass
class Verification:
    """What was checked so far (a part of the results at a time), and what was found wrong.

    `left_out` has the SHA-256 of the files that the artefact does not hold which the results are
    from, by their names below the results. `others` counts, by what they are (`runs`), things that
    another configuration asked for: they are named, and nothing is wrong with them.
    """

    results: Path
    findings: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    others: dict[str, Counter[str]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def find(self, part: str, kind: str, file: str | Path, says: object = "") -> None:
        """Note that something is wrong with a file."""
        text = str(says).removeprefix(f"{file}: ")
        self.findings.append(Finding(part, kind, Path(file), text))

    def put_aside(self, what: str, name: str) -> None:
        """Note a run or a file that is of another configuration than the one that is given."""
        self.others.setdefault(what, Counter())[name] += 1

    def wrong(self, *parts: str) -> bool:
        """Whether something is wrong in any of these parts."""
        return any(finding.part in parts for finding in self.findings)

    def is_left_out(self, file: Path) -> bool:
        """Whether a file is not there because the artefact was made without it."""
        name = file.relative_to(self.results).as_posix()
        return name in self.left_out and not file.exists()

    def attempt(self, part: str, file: str | Path, read: Callable[[], Any]) -> Any:
        """Return what `read` reads of `file`, or None where it is damaged, which is noted."""
        self.checked[part] += 1
        try:
            return read()
        except PerturbError as error:
            self.find(part, "edited" if Path(file).exists() else "missing", file, error)
            return None

    def compare(self, part: str, file: str | Path, made: str | bytes) -> None:
        """Compare a file with what it would be if it were made again."""
        self.checked[part] += 1
        expected = made.encode() if isinstance(made, str) else made
        if not Path(file).exists():
            self.find(part, "missing", file)
        elif Path(file).read_bytes() != expected:
            self.find(part, "differs", file, OTHER_BYTES)

    def make_again(
        self, part: str, files: Iterable[Path], asked: bool, make: Callable[[Path], str | bytes]
    ) -> None:
        """Compare files with what `make` makes: all where they are asked for, else those there."""
        for file in files:
            if asked or file.exists():
                try:
                    made = make(file)
                except (PerturbError, FileNotFoundError) as error:
                    self.find(part, "uncompared", file, error)
                else:
                    self.compare(part, file, made)

    def count_of_wrong(self) -> str:
        """Return in words how many files are wrong."""
        count = len({finding.file for finding in self.findings})
        return (
            f"{count} file is not as it should be"
            if count == 1
            else (f"{count} files are not as they should be")
        )

    def table(self) -> str:
        """Return what was checked and found, as lines of text."""
        lines = [f"{f.kind:10}  {f.file}{': ' if f.says else ''}{f.says}" for f in self.findings]
        lines += [*self.notes, *self._said_of_others(), ""]
        kinds = [kind for kind in KINDS if any(f.kind == kind for f in self.findings)]
        lines.append("  ".join([f"{'part':16}", "checked", *(f"{kind:>10}" for kind in kinds)]))
        counts = Counter((f.part, f.kind) for f in self.findings)
        for part in dict.fromkeys([*self.checked, *(f.part for f in self.findings)]):
            numbers = [f"{counts[part, kind] or '':>10}" for kind in kinds]
            lines.append("  ".join([f"{part:16}", f"{self.checked[part]:7}", *numbers]).rstrip())
        lines += ["", *(f"{kind}: {KINDS[kind]}" for kind in kinds)]
        return "\n".join(lines).rstrip()

    def _said_of_others(self) -> list[str]:
        """Return a sentence on what is of another configuration; none where nothing is."""
        if not self.others:
            return []
        kinds = [f"{what} ({_named(names)})" for what, names in self.others.items()]
        return [
            f"Not of this configuration: {'; '.join(kinds)}. Their hashes were checked, where "
            "they have some; they were not compared with these settings, and count as nothing "
            "wrong. To compare them, name the files that they were made with as well: "
            "--configfile one.yaml other.yaml (or --config and the same keys)."
        ]


def _named(names: Counter[str]) -> str:
    """Return names with their counts; of many, the first ones."""
    shown = [f"{name}: {count}" for name, count in sorted(names.items())]
    more = [f"{len(shown) - _SHOWN} more"] if len(shown) > _SHOWN else []
    return ", ".join(shown[:_SHOWN] + more)
