"""Who holds what, and what flushes wait for: S20, S21, S42."""

import json
import threading

import pytest
from pymilvus.exceptions import MilvusException

from support import data
from support.server import run_binary
from support.wait import until

# Fragments stay where they were written, and who does not answer is missed soon.
SETTINGS = {"num_nodes": 3, "merge.enabled": False, "master_heart_beat_interval": 50}
PARTS = 12
ROWS = 20


def written(client) -> str:
    """A collection of a dozen fragments."""
    name = data.create(client)
    for part in range(PARTS):
        client.insert(name, data.rows(range(part * ROWS, (part + 1) * ROWS), tag=1))
        client.flush(name)
    return name


def status(master) -> dict:
    shown = run_binary("status", "--master", master.address, "--json")
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def held(master) -> dict[int, int]:
    """How many fragments each living node holds, once all have what they are to hold."""
    found = {}

    def settled():
        loads = status(master)
        nodes = [node for node in loads["nodes"] if node["alive"]]
        ready = all(not node.get("warming", True) and node["state"] != "joining" for node in nodes)
        newest = max((node.get("revision", 0) for node in nodes), default=0)
        if ready and loads["missing_replicas"] == 0 and all(node["revision"] == newest for node in nodes):
            found.update({node["node"]: node["fragments"] for node in nodes})
            return True
        return False

    until("all nodes to have their share", settled, 60)
    return found


def holds(master, want: dict[int, int]):
    """Waits until the nodes hold so many; what a Master tells may be a heartbeat old."""
    until(f"the nodes to hold {want}", lambda: held(master) == want, 60)


def spread(master, nodes: set[int]) -> dict[int, int] | None:
    """How many fragments each holds, once each of those nodes holds some and nobody else any."""
    copies = held(master)
    done = sum(copies.values()) == PARTS and {node for node, some in copies.items() if some} == nodes
    return copies if done else None


def changed(master, *changes: str):
    said = run_binary("config", "set", *changes, "--master", master.address)
    assert said.returncode == 0, said.stderr


class Asking:
    """Counts over and over while something else goes on; any other answer than the right one is kept."""

    def __init__(self, client, name: str, want: int):
        self.client, self.name, self.want = client, name, want
        self.wrong, self.asked, self.ended = [], 0, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.is_set():
            try:
                found = data.count(self.client, self.name, "tag >= 0")
            except MilvusException as error:
                found = error
            self.asked += 1
            if found != self.want:
                self.wrong.append(found)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        assert not self.wrong and self.asked > 0, self.wrong[:3]


@pytest.mark.parametrize("storage", ["S3"], indirect=True)
def s20_copies_lie_on_several_nodes_and_serve_without_the_store(s3, etcd, storage, new_node, new_master, new_client, new_proxy):
    proxy = new_proxy(int(s3["ENDPOINT"].rsplit(":", 1)[1]))
    storage["settings"]["storage.endpoint"] = f"http://127.0.0.1:{proxy.port}"
    nodes = [new_node(number, settings=SETTINGS | {"num_replicas": 1}) for number in (1, 2, 3)]
    master = new_master(settings=SETTINGS)
    clients = [new_client(node) for node in nodes]
    name = written(clients[0])
    def copied() -> bool:
        copies = held(master)
        return copies.get(1) == PARTS and sum(copies.values()) == 2 * PARTS

    until("a copy of each part to be made", copied, 60)
    # The store is gone, and with it a holder of every fragment: there is another one of each.
    proxy.refuse(True)
    nodes[0].kill9()
    for client in clients[1:]:
        assert data.count(client, name, "tag >= 0") == PARTS * ROWS
        assert len(client.query(name, filter="id < 100", output_fields=["vector"], limit=100)) == 100
    proxy.refuse(False)


def s20_a_changed_number_of_replicas_takes_effect_while_nodes_run(new_node, new_master, new_client):
    nodes = [new_node(number, settings=SETTINGS) for number in (1, 2, 3)]
    master = new_master(settings=SETTINGS)
    client = new_client(nodes[0])
    name = written(client)
    with Asking(new_client(nodes[1]), name, PARTS * ROWS):
        holds(master, {1: PARTS, 2: 0, 3: 0})
        for replicas, copies in ((2, 3 * PARTS), (1, 2 * PARTS), (0, PARTS)):
            changed(master, f"num_replicas={replicas}")
            until("the copies to be made or given up", lambda: sum(held(master).values()) == copies, 60)
    refused = run_binary("config", "set", "num_replicas=3", "--master", master.address)
    assert refused.returncode == 1 and "num_nodes - 1 = 2" in refused.stderr


def s21_a_flush_waits_for_replicas_and_fails_as_a_whole_without(new_node, new_master, new_client):
    settings = SETTINGS | {"num_nodes": 2, "num_replicas": 1, "sync_level": 1}
    nodes = [new_node(number, settings=settings) for number in (1, 2)]
    master = new_master(settings=SETTINGS)
    clients = [new_client(node) for node in nodes]
    name = written(clients[0])
    holds(master, {1: PARTS, 2: PARTS})
    nodes[1].kill9()
    clients[0].insert(name, data.rows(range(1_000, 1_010), tag=1))
    clients[0].delete(name, filter="id < 10")
    with pytest.raises(MilvusException) as raised:
        clients[0].flush(name)
    for words in ("0 of the 1 replicas", "sync_level = 1", "node 2: ", "redkite config set sync_level=0"):
        assert words in raised.value.message
    assert data.count(clients[0], name, "tag >= 0") == PARTS * ROWS
    # The block stays: with the node back the same flush publishes it.
    nodes[1].start()

    def flushed():
        try:
            clients[0].flush(name)
            return True
        except MilvusException as error:
            assert "of the 1 replicas" in error.message
            return False

    until("the node to take part again", flushed, 60)
    assert data.count(new_client(nodes[1]), name, "tag >= 0") == PARTS * ROWS
    # And what is asked for can be changed while all run.
    nodes[1].kill9()
    changed(master, "sync_level=0")
    clients[0].insert(name, data.rows(range(2_000, 2_010), tag=1))
    until("the change to be known", flushed, 60)
    assert data.count(clients[0], name, "tag >= 0") == PARTS * ROWS + 10


def s42_a_node_is_drained_without_a_failed_query(new_node, new_master, new_client):
    nodes = [new_node(number, settings=SETTINGS) for number in (1, 2, 3)]
    master = new_master(settings=SETTINGS)
    name = written(new_client(nodes[1]))
    holds(master, {1: 0, 2: PARTS, 3: 0})
    with Asking(new_client(nodes[0]), name, PARTS * ROWS) as asking:
        drained = run_binary("drain", "--node", "2", "--master", master.address)
        assert drained.returncode == 0, drained.stderr
        until("the others to hold all", lambda: spread(master, {1, 3}), 60)
        assert 2 not in {master.own("route")["node"] for _ in range(20)}
        # It stays after all, and leaves again.
        kept = run_binary("drain", "--node", "2", "--keep", "--master", master.address)
        assert kept.returncode == 0, kept.stderr
        until("it to hold its share again", lambda: held(master).get(2) == PARTS, 60)
        drained = run_binary("drain", "--node", "2", "--master", master.address, "--json")
        assert json.loads(drained.stdout)["drained"] is True
        nodes[1].terminate()
        until("it to be no member any more", lambda: [node["node"] for node in status(master)["nodes"]] == [1, 3])
        seen = asking.asked
        until("a few more answers", lambda: asking.asked > seen + 20)
    # One that is gone without a word is taken out, too, but for the last one.
    nodes[2].kill9()
    until("it to be missed", lambda: master.live_nodes() == [1])
    drained = run_binary("drain", "--node", "3", "--master", master.address)
    assert drained.returncode == 0 and "no node of the cluster any more" in drained.stdout, drained.stderr
    for node, why in (("1", "no other node would be left"), ("7", "no node 7")):
        refused = run_binary("drain", "--node", node, "--master", master.address)
        assert refused.returncode == 1 and why in refused.stderr
    assert data.count(new_client(nodes[0]), name, "tag >= 0") == PARTS * ROWS


def s42_a_joining_node_holds_its_share_before_it_is_asked_and_data_can_be_spread(new_node, new_master, new_client):
    settings = SETTINGS | {"num_nodes": 1}
    first = new_node(1, settings=settings)
    master = new_master(settings=SETTINGS)
    client = new_client(first)
    name = written(client)
    with Asking(new_client(first), name, PARTS * ROWS):
        second = new_node(2, settings=settings | {"http": "127.0.0.1:0"})
        until("it to be ready", lambda: second.get("/readyz")[0] == 200)
        holds(master, {1: PARTS, 2: 0})
        assert json.loads(run_binary("config", "get", "num_nodes", "--master", master.address).stdout) == 2
        balanced = run_binary("rebalance", "--master", master.address)
        assert balanced.returncode == 0, balanced.stderr
        copies = until("both to hold some", lambda: spread(master, {1, 2}), 60)
        # What is inserted from now on is the inserting node's again.
        client.insert(name, [data.row(10_000, tag=-1)])
        client.flush(name)
        until("it to be held", lambda: held(master).get(1) == copies[1] + 1)
        second.kill9()
        second.start()
        until("it to have its share again", lambda: held(master).get(2) == copies[2], 60)
