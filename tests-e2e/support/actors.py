"""Clients that write and read all the time while a test does something to the servers, and what they saw."""

import itertools
import random
import threading
import time

import grpc
from pymilvus.grpc_gen import milvus_pb2

from support import data
from support.history import History
from support.raw import TIMEOUT_S, Raw, StatusError
from support.wait import pause, until

SIZE = 5
# More rows than a query returns at most are never there at once.
LIMIT = 16_384
BLOCKS_MAX = LIMIT // SIZE
FAILURES = (grpc.RpcError, StatusError)


class Actor(threading.Thread):
    """A client that does something again and again, and connects anew when that fails."""

    def __init__(self, address: str, stop: threading.Event, act):
        super().__init__(daemon=True)
        self.address, self.stop, self.act = address, stop, act
        self.done = 0
        self.broken = None
        # What it was told when something failed, and how long that took.
        self.failures: list[tuple[str, float]] = []

    def run(self) -> None:
        raw = None
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                raw = raw or Raw(self.address)
                self.act(raw)
                self.done += 1
            except FAILURES as error:
                self.failures.append((told(error), time.monotonic() - began))
                if raw:
                    raw.close()
                raw = None
                pause(0.05)
            except BaseException as error:
                self.broken = error
                return
        if raw:
            raw.close()


def told(error: Exception) -> str:
    """What a client is told by a failure."""
    return f"{error.code().name}: {error.details()}" if isinstance(error, grpc.RpcError) else str(error)


def blocks_of(raw: Raw, name: str, patience_s: float = TIMEOUT_S) -> list[int]:
    """The blocks that a query sees, each of them whole."""
    request = milvus_pb2.QueryRequest(collection_name=name, expr="id >= 0", output_fields=["id"])
    request.query_params.add(key="limit", value=str(LIMIT))
    answer = raw.call("Query", request, timeout_s=patience_s)
    rows = {}
    for key in answer.fields_data[0].scalars.long_data.data if answer.fields_data else []:
        rows.setdefault(key // SIZE, []).append(key)
    for block, keys in rows.items():
        assert sorted(keys) == list(range(block * SIZE, (block + 1) * SIZE)), f"block {block} in part: {keys}"
    return list(rows)


class Writer:
    """Flushes block after block into all collections, and deletes some of its own."""

    def __init__(self, history: History, names: list[str], numbers, seed: int):
        self.history, self.names, self.numbers = history, names, numbers
        self.random = random.Random(seed)
        self.own = []

    def __call__(self, raw: Raw) -> None:
        block = next(self.numbers)
        if block >= BLOCKS_MAX:
            pause(0.05)
            return
        keys = range(block * SIZE, (block + 1) * SIZE)
        older = self.own.pop(self.random.randrange(len(self.own))) if self.own and self.random.random() < 0.5 else None
        for name in self.names:
            raw.insert(name, keys, [data.vector(key) for key in keys])
            if older is not None:
                raw.delete(name, f"id >= {older * SIZE} and id < {(older + 1) * SIZE}")
        self.history.flush(block, older, lambda: raw.flush(self.names[0]))
        self.own.append(block)


class Load:
    """Clients that write and clients that read, until stopped."""

    def __init__(self, names: list[str], patience_s: float = TIMEOUT_S):
        self.names = names
        # How long a reader waits for an answer.
        self.patience_s = patience_s
        self.seed = int(time.time())
        self.history = History()
        self.actors: list[Actor] = []
        self._stop = threading.Event()
        self._numbers = itertools.count()
        print(f"seed {self.seed}")

    def write(self, *addresses: str) -> None:
        """Adds a client that writes for each."""
        for address in addresses:
            writer = Writer(self.history, self.names, self._numbers, self.seed + len(self.actors))
            self._add(Actor(address, self._stop, writer))

    def read(self, *addresses: str) -> None:
        """Adds a client that reads for each."""
        for address in addresses:
            turns = itertools.cycle(self.names)

            def look(raw, turns=turns, address=address):
                self.history.read(address, lambda: blocks_of(raw, next(turns), self.patience_s))

            self._add(Actor(address, self._stop, look))

    def _add(self, actor: Actor) -> None:
        self.actors.append(actor)
        actor.start()

    def go_on(self, times: int = 2, timeout_s: float = 60.0) -> None:
        """Waits until each of them has done so much more."""
        wanted = {actor: actor.done + times for actor in self.actors}
        for actor in self.actors:
            until(f"a client of {actor.address} to go on", lambda: actor.broken or actor.done >= wanted[actor], timeout_s)

    def failures(self) -> list[tuple[str, float]]:
        """What all of them were told when something failed, and how long it took."""
        return [failure for actor in self.actors for failure in actor.failures]

    def stop(self) -> None:
        """Ends them; each has to have done nothing that is impossible."""
        self._stop.set()
        for actor in self.actors:
            actor.join(60)
            assert not actor.is_alive() and actor.broken is None, (self.seed, actor.address, actor.broken)

    def check(self, *addresses: str) -> None:
        """Stops, looks what is there in the end, everywhere, and whether all that was seen is possible."""
        self.stop()
        acknowledged = [flush for flush in self.history.flushes if flush.end]
        reads = len(self.history.reads)
        print(f"{len(self.history.flushes)} flushes, {len(acknowledged)} of them acknowledged; {reads} reads")
        assert len(acknowledged) > 10 and reads > 10, (self.seed, len(acknowledged), reads)
        for address in addresses:
            raw = Raw(address)
            for name in self.names:
                self.history.read(f"{address} in the end", lambda name=name: blocks_of(raw, name))
            raw.close()
        assert self.history.problems() == [], f"seed {self.seed}"
