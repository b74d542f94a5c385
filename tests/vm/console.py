"""The `console` blocks of a document, run as they stand: lines that begin with `# ` are typed into one shell, `> ` goes
on, everything else is output that must come, in this order. Numbers in it stand for any number, `...` for any lines.

    SEPAL_DOCS_WRITE=1 ./dev test vm -k docs     leaves the documents with what was printed in $SEPAL_OUT/docs
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue


@dataclass
class Step:
    """One command, with the output that the document shows for it."""

    line: int                               # in the document, from 1
    command: str
    shown: list[str] = field(default_factory=list)
    end: int = 0                            # first line behind the output


def steps_of(document: str) -> Iterator[Step]:
    inside, step = False, None
    for number, text in enumerate(document.splitlines(), 1):
        if text.startswith("```"):
            if step:
                step.end = number
                yield step
            inside, step = text == "```console", None
        elif inside and text.startswith("# "):
            if step:
                step.end = number
                yield step
            step = Step(number, text[2:])
        elif inside and text.startswith("> ") and step and not step.shown:
            step.command += "\n" + text[2:]
        elif inside and step:
            step.shown.append(text)


def missing_line(shown: list[str], printed: list[str]) -> str | None:
    """The first line of `shown` that does not come in `printed`, in order; None when all do."""
    rest = iter([_without_numbers(text) for text in printed])
    for text in shown:
        if text.strip() == "...":
            continue
        wanted = _without_numbers(text)
        if not any(wanted == seen for seen in rest):
            return text
    return None


# Also hexadecimal ones, alone (0x1f, an id of 8 digits or more); a MAC or an address keeps its shape.
def _without_numbers(text: str) -> str:
    text = re.sub(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{8,}\b|\b\d+(\.\d+)?", "N", text)
    return re.sub(r"\s+", " ", text).strip()


class Shell:
    """One bash that lives through a whole document."""

    _MARK = "console-step-ends"

    def __init__(self, command: list[str], cwd: Path) -> None:
        self._process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, text=True, bufsize=1)
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def run(self, command: str, timeout: float = 60) -> list[str]:
        """What the command printed; its exit status is the document's affair."""
        self._process.stdin.write(f"{command}\necho; echo {self._MARK}\n")
        self._process.stdin.flush()
        printed: list[str] = []
        while True:
            try:
                line = self._lines.get(timeout=timeout)
            except Empty:
                raise TimeoutError(f"no end after {timeout} s: {command}\n" + "\n".join(printed)) from None
            if line == self._MARK:
                break
            printed.append(line)
        if printed and not printed[-1]:
            printed.pop()  # the echo's own
        return printed

    def close(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def rewritten(document: str, printed: dict[int, list[str]]) -> str:
    """The document with what was printed (by the line of the command) in place of what it showed."""
    lines = document.splitlines()
    for step in sorted(steps_of(document), key=lambda step: step.line, reverse=True):
        begin = step.line + step.command.count("\n")
        lines[begin:step.end - 1] = printed[step.line]
    return "\n".join(lines) + "\n"
