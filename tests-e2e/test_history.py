"""Histories of many clients on several nodes of two clusters while nodes and Masters die: S06 to S09, S12."""

import itertools
import random
import threading
import time

import grpc
import pytest
from pymilvus.grpc_gen import milvus_pb2

from support import data
from support.history import Flush, History, Read
from support.raw import Raw, StatusError
from support.wait import pause

SIZE = 5
SECONDS = 12
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

    def run(self) -> None:
        raw = None
        while not self.stop.is_set():
            try:
                raw = raw or Raw(self.address)
                self.act(raw)
                self.done += 1
            except FAILURES:
                if raw:
                    raw.close()
                raw = None
                pause(0.05)
            except BaseException as error:
                self.broken = error
                return
        if raw:
            raw.close()


def blocks_of(raw: Raw, name: str) -> list[int]:
    """The blocks that a query sees, each of them whole."""
    request = milvus_pb2.QueryRequest(collection_name=name, expr="id >= 0", output_fields=["id"])
    request.query_params.add(key="limit", value=str(LIMIT))
    answer = raw.call("Query", request, timeout_s=5)
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


@pytest.mark.parametrize("storage", ["a directory", "S3"], indirect=True)
def test_histories_are_those_of_atomic_flushes(new_node, new_master, new_client, storage):
    seed = int(time.time())
    print(f"seed {seed}")
    chance = random.Random(seed)
    # The second one is short of memory: the first one holds what its clients insert.
    nodes = [new_node(1), new_node(2, settings={"memory_budget": "1M"}), new_node(1, cluster="c2")]
    masters = [new_master(), new_master(cluster="c2")]
    client = new_client(nodes[0])
    names = [data.create(client), data.create(client)]
    history, stop, numbers = History(), threading.Event(), itertools.count()
    addresses = [server.address for server in [*nodes, masters[0]]]
    actors = [
        Actor(address, stop, Writer(history, names, numbers, seed + at)) for at, address in enumerate(addresses)
    ]
    for address in [*addresses, masters[1].address]:
        turns = itertools.cycle(names)

        def look(raw, turns=turns, address=address):
            history.read(address, lambda: blocks_of(raw, next(turns)))

        actors.append(Actor(address, stop, look))
    for actor in actors:
        actor.start()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        victim = chance.choice([*nodes, *nodes, *masters])
        pause(chance.uniform(0.2, 1.0))
        if chance.random() < 0.5:
            victim.kill9()
            pause(chance.uniform(0.0, 0.5))
            victim.start()
        else:
            victim.pause()
            pause(chance.uniform(0.0, 1.5))
            victim.resume()
    stop.set()
    for actor in actors:
        actor.join(60)
        assert not actor.is_alive() and actor.broken is None, (seed, actor.address, actor.broken)
    acknowledged = [flush for flush in history.flushes if flush.end]
    print(f"{len(history.flushes)} flushes, {len(acknowledged)} of them acknowledged; {len(history.reads)} reads")
    assert len(acknowledged) > 10 and len(history.reads) > 10, (seed, len(acknowledged), len(history.reads))
    # What is there in the end, everywhere.
    for node in nodes:
        raw = Raw(node.address)
        for name in names:
            history.read(f"{node.address} in the end", lambda: blocks_of(raw, name))
        raw.close()
    assert history.problems() == [], f"seed {seed}"


# One flush at 3 to 5 inserts block 1; one at 8 to 11 inserts block 2 and deletes block 1.
@pytest.mark.parametrize(
    "reads, problem",
    [
        ([(0, 1, set())], None),
        ([(0, 1, {1})], "before its flush"),
        ([(2, 4, set()), (2, 4, {1})], None),
        ([(6, 7, set())], "was not seen"),
        ([(2, 4, {1}), (4.1, 4.2, set())], "was not seen"),
        ([(6, 7, {1}), (9, 12, {2}), (9, 12, {1})], None),
        ([(12, 13, {1})], "after it was gone"),
        ([(6, 7, {1}), (9, 9.5, {2}), (9.6, 9.7, {1})], "after it was gone"),
        ([(9, 9.5, {2}), (9.6, 9.7, {1})], "was not seen"),
        ([(9, 10, {1, 2})], "torn, both"),
        ([(9, 10, set())], "torn, neither"),
        ([(12, 13, {2})], None),
        ([(0, 9, {1, 7})], "which nobody inserted"),
    ],
)
def test_a_history_that_is_impossible_is_noticed(reads, problem):
    history = History()
    history.flushes = [Flush(1, None, 3, 5), Flush(2, 1, 8, 11)]
    history.reads = [Read("r", start, end, frozenset(blocks)) for start, end, blocks in reads]
    found = history.problems()
    assert found == [] if problem is None else any(problem in one for one in found), found
