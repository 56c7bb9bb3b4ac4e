"""What clients did and saw, with when, and whether that is possible where every flush is one atom at one moment between its
call and its answer (S06 to S09, S12).

Each block is judged by itself: that a flush which inserts one and deletes another is never seen in part is not checked.

A *block* is what lies between two flushes: rows of one number in every collection, and perhaps the deletion of an older block.
Each number is inserted by one flush and deleted by at most one.
"""

import threading
import time
from dataclasses import dataclass, field


@dataclass
class Flush:
    """One flush: what it inserts and deletes, and when. `end` is none where no answer said that it succeeded."""

    inserts: int
    deletes: int | None
    start: float
    end: float | None = None


@dataclass
class Read:
    """One query: the blocks it saw, by whom and when."""

    of: str
    start: float
    end: float
    blocks: frozenset[int]


@dataclass
class History:
    """All of it; several threads may add to it."""

    flushes: list[Flush] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def flush(self, inserts: int, deletes: int | None, call) -> None:
        """Calls a flush; if that fails it may have happened or not, then or later."""
        flush = Flush(inserts, deletes, time.monotonic())
        with self._lock:
            self.flushes.append(flush)
        call()
        flush.end = time.monotonic()

    def read(self, of: str, call) -> None:
        """Calls a query that returns block numbers."""
        start = time.monotonic()
        blocks = frozenset(call())
        with self._lock:
            self.reads.append(Read(of, start, time.monotonic(), blocks))

    def problems(self) -> list[str]:
        """What is impossible."""
        inserted = {flush.inserts: flush for flush in self.flushes}
        deleted = {flush.deletes: flush for flush in self.flushes if flush.deletes is not None}
        reads = sorted(self.reads, key=lambda read: read.start)
        found = []
        for block, insert in inserted.items():
            found += _problems_of(block, insert, deleted.get(block), reads)
        for read in reads:
            found += [f"{read.of} saw block {block}, which nobody inserted" for block in read.blocks - inserted.keys()]
        return found


NEVER = float("inf")


def _problems_of(block: int, insert: Flush, delete: Flush | None, reads: list[Read]) -> list[str]:
    found = []
    # From when on it is there for certain: when its flush was answered, or somebody had seen it.
    there = min([insert.end or NEVER, *(read.end for read in reads if block in read.blocks)])
    # From when on it may be gone, and from when on it is.
    may_go = delete.start if delete else NEVER
    seen_gone = (read.end for read in reads if block not in read.blocks and read.start > there)
    gone = min([(delete.end or NEVER) if delete else NEVER, *seen_gone])
    for read in reads:
        sees = block in read.blocks
        when = f"{read.of} at {read.start:.3f} to {read.end:.3f}"
        if sees and read.end < insert.start:
            found.append(f"block {block} was seen before its flush: {when}")
        if sees and read.start > gone:
            found.append(f"block {block} was seen after it was gone ({gone:.3f}): {when}")
        if not sees and read.start > there and read.end < may_go:
            found.append(f"block {block}, there since {there:.3f}, was not seen: {when}")
    return found
