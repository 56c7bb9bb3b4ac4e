"""Histories of many clients on several nodes of two clusters while nodes and Masters die: S06 to S09, S12."""

import random
import time

import pytest

from support import data
from support.actors import Load
from support.history import Flush, History, Read
from support.wait import pause

SECONDS = 12


@pytest.mark.parametrize("storage", ["a directory", "S3"], indirect=True)
def test_histories_are_those_of_atomic_flushes(new_node, new_master, new_client, storage):
    # The second one is short of memory: the first one holds what its clients insert.
    nodes = [new_node(1), new_node(2, settings={"memory_budget": "1M"}), new_node(1, cluster="c2")]
    masters = [new_master(), new_master(cluster="c2")]
    client = new_client(nodes[0])
    load = Load([data.create(client), data.create(client)], patience_s=5)
    chance = random.Random(load.seed)
    addresses = [server.address for server in [*nodes, masters[0]]]
    load.write(*addresses)
    load.read(*addresses, masters[1].address)
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
    load.check(*(node.address for node in nodes))


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
