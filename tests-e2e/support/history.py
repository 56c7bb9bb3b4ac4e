"""What clients did and saw, with when, and whether that is possible where every flush is one atom at one moment between its
call and its answer (S06 to S09, S12).

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
        for flush in deleted.values():
            found += _torn(flush, inserted[flush.deletes], deleted.get(flush.inserts), reads)
        for read in reads:
            found += [f"{read.of} saw block {block}, which nobody inserted" for block in read.blocks - inserted.keys()]
        return found


NEVER = float("inf")


def _there(block: int, insert: Flush, reads: list[Read]) -> float:
    """From when on it is there for certain: when its flush was answered, or somebody had seen it."""
    return min([insert.end or NEVER, *(read.end for read in reads if block in read.blocks)])


def _torn(flush: Flush, older: Flush, newer: Flush | None, reads: list[Read]) -> list[str]:
    """Who saw half of a flush that deletes the block of `older`; `newer` is the one that deletes what it inserts, if any."""
    found = []
    there = _there(flush.deletes, older, reads)
    for read in reads:
        when = f"{read.of} at {read.start:.3f} to {read.end:.3f}"
        pair = f"the flush that inserts {flush.inserts} and deletes {flush.deletes}"
        if flush.inserts in read.blocks and flush.deletes in read.blocks:
            found.append(f"{pair} was torn, both were seen: {when}")
        neither = flush.inserts not in read.blocks and flush.deletes not in read.blocks
        if neither and read.start > there and (newer is None or read.end < newer.start):
            found.append(f"{pair} was torn, neither was seen: {when}")
    return found


def _problems_of(block: int, insert: Flush, delete: Flush | None, reads: list[Read]) -> list[str]:
    found = []
    there = _there(block, insert, reads)
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
