"""The chain through the lab's log: whether a line was changed or taken out.

Each line ends with its ``chain``: the SHA-256 of the chain before it and of the line
itself. That finds a change anywhere but at the end; there ``audit.head`` does, in which
the writer notes how far the log reaches. It finds accidents and quiet edits; who may write
the lab can make the whole chain anew, so keep a copy of its head elsewhere if that matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from flip_lab.store.audit import parse, read_lines
from flip_lab.store.layout import LabDir

GENESIS = "0" * 64
"""What the first line is chained to."""

_TAIL = len(',"chain":"') + 64 + len('"}')


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFlaw:
    """Something that is wrong with the log.

    Attributes:
        line: Number of the line, from 1.
        what: What is wrong with it, in one sentence.
    """

    line: int
    what: str


def head_path(lab: LabDir) -> Path:
    """Give the file that says how far the log reaches; see ``verify_audit``."""
    return lab.root / "audit.head"


def verify_audit(lab: LabDir) -> list[AuditFlaw]:
    """Find lines that were changed, taken out or put in since they were written.

    A last line that was cut short is no flaw: whoever wrote it was killed before it was
    acknowledged, and the next action clears it away.

    Returns:
        What is wrong, in order; empty when the log is whole.

    Raises:
        StoreError: If the log cannot be read.
        StoreFormatError: If a newer version of FLIP Lab wrote it.
    """
    lines = read_lines(lab)
    flaws: list[AuditFlaw] = []
    chains: dict[int, str] = {}
    previous, expected = GENESIS, 0
    for number, line in enumerate(lines, 1):
        record = parse(line)
        if record is None:
            if number < len(lines):
                flaws.append(AuditFlaw(line=number, what="It is no record of the log."))
            continue
        if record.sequence != expected or record.chain != chain_of(previous, line):
            what = "It was changed, or something before it was changed or taken out."
            flaws.append(AuditFlaw(line=number, what=what))
        chains[record.sequence] = previous = record.chain
        expected = record.sequence + 1
    return [*flaws, *_against_head(lab, chains, last=len(lines))]


def _against_head(lab: LabDir, chains: dict[int, str], last: int) -> Iterator[AuditFlaw]:
    head = read_head(lab)
    if head is None or chains.get(head[0]) == head[1]:
        return
    if head[0] in chains:
        what = f"The chain was made anew: action {head[0]} is another one than was kept."
    else:
        what = f"The log ends too early: it went up to action {head[0]}."
    yield AuditFlaw(line=last, what=what)


def read_head(lab: LabDir) -> tuple[int, str] | None:
    """Give sequence and chain of the last action that was kept; None if nobody knows."""
    try:
        sequence, chain = head_path(lab).read_text(encoding="ascii").split()
        return int(sequence), chain
    except (OSError, ValueError):
        return None


def chain_of(previous: str, line: bytes) -> str:
    """Give the chain that a line must end with.

    Args:
        previous: The chain of the line before it, ``GENESIS`` for the first.
        line: The line with its own chain, without its newline.

    Returns:
        64 hexadecimal digits.
    """
    return link(previous, line[:-_TAIL])


def link(previous: str, content: bytes) -> str:
    """Give the chain of a line's content: the line up to, and without, ``,"chain":…``."""
    return sha256(previous.encode() + content).hexdigest()
