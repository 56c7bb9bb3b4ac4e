"""The Python client: S24 by asking the Master, S10 and S37 without the user's help."""

import sys
import threading
from pathlib import Path

import pytest
from pymilvus import MilvusClient, MilvusException

sys.path.insert(0, str(Path(__file__).parents[1] / "clients/python"))

import redkite

from support import data
from support.wait import until

# Short, so that a node that does not answer is missed soon; no test depends on how soon.
QUICK = {"master_heart_beat_interval": 50}


@pytest.fixture
def connect():
    """Makes clients that are closed after the test."""
    made = []

    def make(*masters, **options) -> redkite.Client:
        made.append(redkite.connect(",".join(master.address for master in masters), **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def s24_a_client_asks_the_master_and_goes_to_the_node(new_node, new_master, connect):
    nodes = {f"127.0.0.1:{node.port}" for node in (new_node(1), new_node(2))}
    master = new_master()
    clients = [connect(master) for _ in range(4)]
    assert {client.node for client in clients} == nodes
    first = clients[0]
    assert isinstance(first, MilvusClient)
    name = data.create(first)
    first.insert(name, data.rows(range(10)))
    first.delete(name, ids=[3])
    first.insert(name, [])
    assert (first.unflushed, data.count(clients[1], name)) == (2, 0)
    # The Master is needed no more.
    master.kill9()
    first.flush(name)
    assert first.unflushed == 0
    first.flush(name)
    # Whichever way it flushes, both sides count anew.
    first.insert(name, data.rows([50]))
    first.flush_all()
    first.delete(name, ids=[50])
    first.flush(name)
    for client in clients:
        assert data.count(client, name) == 9
        assert [hit["id"] for hit in client.search(name, [data.vector(7)], limit=1)[0]] == [7]


def s10_a_client_whose_node_dies_is_told_and_goes_on_elsewhere(new_node, new_master, connect):
    nodes = [new_node(number, settings=QUICK) for number in (1, 2)]
    master = new_master()
    client = connect(master)
    name = data.create(client)
    client.insert(name, data.rows(range(5)))
    client.flush(name)
    client.insert(name, data.rows(range(5, 10)))
    on = next(node for node in nodes if client.node.endswith(f":{node.port}"))
    on.kill9()
    with pytest.raises(redkite.SessionLost, match="the 1 writes before it"):
        client.insert(name, data.rows(range(10, 15)))
    assert not client.node.endswith(f":{on.port}") and client.unflushed == 0
    client.insert(name, data.rows(range(20, 25)))
    client.flush(name)
    assert data.keys(client, name) == [*range(5), *range(20, 25)]


def s10_a_flush_over_a_dead_node_is_told(new_node, new_master, connect):
    nodes = [new_node(number, settings=QUICK) for number in (1, 2)]
    client = connect(new_master())
    name = data.create(client)
    client.insert(name, data.rows(range(5)))
    next(node for node in nodes if client.node.endswith(f":{node.port}")).kill9()
    with pytest.raises(redkite.SessionLost, match="not committed"):
        client.flush(name)
    assert data.count(client, name) == 0


def s39_reads_go_on_where_a_node_dies(new_node, new_master, connect):
    nodes = [new_node(number, settings=QUICK) for number in (1, 2)]
    client = connect(new_master())
    name = data.create(client)
    client.insert(name, data.rows(range(5)))
    client.flush(name)
    next(node for node in nodes if client.node.endswith(f":{node.port}")).kill9()
    assert data.count(client, name) == 5
    assert [hit["id"] for hit in client.search(name, [data.vector(3)], limit=1)[0]] == [3]


def s37_a_flush_whose_answer_is_lost_is_asked_for(new_node, new_master, connect, tmp_path):
    """The node is frozen after the flush was sent; whatever became of it, the client is told the truth."""
    frozen = new_node(1, settings=QUICK)
    client = connect(new_master())
    name = data.create(client)
    other = new_node(2)
    client.insert(name, data.rows(range(5)))
    frozen.pause()
    told = []

    def flush():
        try:
            client.flush(name, timeout=2)
            told.append(True)
        except redkite.SessionLost:
            told.append(False)

    flushing = threading.Thread(target=flush)
    flushing.start()
    flushing.join(60)
    assert client.node.endswith(f":{other.port}")
    frozen.resume()
    assert told == [False], "it was asked for before it could be committed, and that settles it"
    assert data.count(client, name) == 0


def s16_what_was_published_by_itself_is_no_loss(new_node, new_master, connect):
    new_node(1, settings={"auto_flush": True, "flush_interval": 50})
    client = connect(new_master())
    name = data.create(client)
    client.insert(name, data.rows(range(5)))
    until("it to be published", lambda: data.count(client, name) == 5)
    client.flush(name)
    client.insert(name, data.rows(range(5, 10)))
    client.flush(name)
    assert data.count(client, name) == 10


def test_errors_are_those_of_pymilvus(new_node, new_master, connect):
    node, master = new_node(1, settings=QUICK), new_master()
    client = connect(master)
    with pytest.raises(MilvusException, match="collection not found"):
        client.insert("nowhere", data.rows([1]))
    assert client.unflushed == 0
    node.kill9()
    until("it to be missed", lambda: master.live_nodes() == [])
    with pytest.raises(redkite.NoNode, match="no node of the cluster is alive"):
        connect(master, patience_s=0.5)
    with pytest.raises(ValueError, match="want the address of a Master"):
        redkite.connect("")
