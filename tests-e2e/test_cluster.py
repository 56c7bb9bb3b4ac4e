"""Several nodes and clusters over one etcd and one storage: S02, S03, S04, S08, S28, S38."""

import pytest

from support import data
from support.server import run_binary
from support.wait import until

ROUNDS = 30


@pytest.mark.parametrize("storage", ["a directory", "S3"], indirect=True)
def s08_what_was_flushed_on_one_node_is_seen_on_every_other_at_once(new_node, new_client, storage):
    nodes = [new_node(1), new_node(2), new_node(1, cluster="c2")]
    clients = [new_client(node) for node in nodes]
    name = data.create(clients[0])
    for round_ in range(ROUNDS):
        writer, readers = clients[round_ % 3], [clients[(round_ + step) % 3] for step in (1, 2)]
        writer.insert(name, [data.row(round_)])
        writer.flush(name)
        for reader in readers:
            assert data.count(reader, name) == round_ + 1
    for client in clients:
        assert [hit["id"] for hit in client.search(name, [data.vector(7)], limit=1)[0]] == [7]


def s08_a_collection_is_there_and_gone_on_every_node_at_once(new_node, new_client):
    a, b = new_client(new_node(1)), new_client(new_node(2))
    for round_ in range(ROUNDS):
        name = data.create(a)
        b.insert(name, [data.row(round_)])
        b.flush(name)
        assert data.count(a, name) == 1
        b.drop_collection(name)
        assert not a.has_collection(name)


def s09_before_the_flush_no_node_shows_it(new_node, new_client):
    a, b = new_client(new_node(1)), new_client(new_node(2))
    name = data.create(a)
    a.insert(name, data.rows(range(10)))
    assert data.count(a, name) == data.count(b, name) == 0
    a.flush(name)
    b.delete(name, ids=[3])
    assert data.count(a, name) == 10
    b.flush(name)
    assert data.count(a, name) == 9


def s03_clusters_of_a_user_share_all_data_and_other_users_see_none_of_it(new_node, new_client):
    alice = [new_client(new_node(1, cluster=cluster)) for cluster in ("c1", "c2")]
    bob = new_client(new_node(1, cluster="c3", user="bob"))
    name = data.create(alice[0])
    alice[0].insert(name, data.rows(range(10)))
    alice[0].flush(name)
    assert alice[1].list_collections() == [name]
    assert data.count(alice[1], name) == 10
    assert bob.list_collections() == []
    # A collection of the same name is another one.
    data.create(bob, name=name)
    bob.insert(name, data.rows(range(3)))
    bob.flush(name)
    alice[1].drop_collection(name)
    assert data.count(bob, name) == 3
    assert alice[0].list_collections() == []


def s04_whoever_has_the_id_of_a_cluster_is_of_that_cluster(new_node, new_master, etcd):
    nodes = [new_node(1), new_node(2, settings={"flush_interval": 7})]
    other = new_node(1, cluster="c2")
    # An id is unique for a user; what another one calls so is another cluster.
    stranger = new_node(1, user="bob")
    keys = etcd.get_all()
    clusters = [keys[key] for key in ("/alice/c1_property", "/alice/c2_property", "/bob/c1_property")]
    assert [[node["port"] for node in cluster["nodes"]] for cluster in clusters] == [
        [node.port for node in nodes], [other.port], [stranger.port]
    ]
    assert len({cluster["secret"] for cluster in clusters}) == 3
    # It brought rules of its own along, and has those of its cluster.
    assert keys["/alice/config/c1"]["flush_interval"] == 1000
    master = new_master()
    assert {master.own("route")["port"] for _ in range(4)} == {node.port for node in nodes}


def s38_a_client_writes_on_one_node_and_several_write_on_several(new_node, new_worker, new_client, etcd):
    nodes = [new_node(number, settings={"merge.enabled": False}) for number in (1, 2, 3)]
    name = data.create(new_client(nodes[0]))
    # Two on each node, all at the same time.
    workers = [new_worker(node.uri) for node in nodes * 2]
    for first, worker in enumerate(workers):
        worker.start(flush_blocks, name, range(1000 * first, 1000 * first + 200), 20)
    for worker in workers:
        worker.result()
    for node in nodes:
        assert data.count(new_client(node), name) == 6 * 200
    # Two times ten blocks on each node, and all of them were written there.
    keys = etcd.get_all()
    anchors = [value for key, value in keys.items() if f"/{name}/data/" in key and value["type"] == "raw_vector"]
    assert sorted(anchor["node"] for anchor in anchors) == [1] * 20 + [2] * 20 + [3] * 20


def flush_blocks(context, name: str, keys, size: int) -> None:
    """In a worker: inserts so many rows at a time and flushes them."""
    for start in range(0, len(keys), size):
        context.client.insert(name, data.rows(keys[start:start + size]))
        context.client.flush(name)


def s28_the_members_of_a_cluster_stand_in_its_property_key(new_node, etcd):
    first, second = new_node(1), new_node(2)
    members = etcd.get_all()["/alice/c1_property"]
    told = [(node["node"], node["address"], node["port"], node["incarnation"]) for node in members["nodes"]]
    assert told == [(1, "127.0.0.1", first.port, 1), (2, "127.0.0.1", second.port, 1)]
    second.restart()
    members = etcd.get_all()["/alice/c1_property"]
    assert [(node["node"], node["incarnation"]) for node in members["nodes"]] == [(1, 1), (2, 2)]


def test_a_second_live_node_of_the_same_number_is_refused(new_node):
    first = new_node(1)
    second = new_node(1, start=False)
    second.launch()
    assert second.wait_exit() == 1
    assert "node 1 of cluster c1 runs already" in second.log()
    assert first.address in second.log()
    assert first.get("/readyz")[0] == 200


def test_a_restart_takes_over_from_a_frozen_predecessor_which_does_no_harm(new_node, new_client, etcd):
    zombie = new_node(1, settings={"gc.retention": "0s", "gc.interval": "100ms"})
    old = new_client(zombie)
    name = data.create(old)
    old.insert(name, data.rows(range(10)))
    old.flush(name)
    old.insert(name, data.rows(range(10, 20)))
    zombie.pause()
    node = new_node(1, settings={"gc.retention": "0s", "gc.interval": "100ms"})
    assert etcd.get_all()["/alice/c1_property"]["nodes"][0]["incarnation"] == 2
    client = new_client(node)
    client.delete(name, ids=[1])
    client.insert(name, data.rows(range(20, 30)))
    client.flush(name)
    zombie.resume()
    # What its client wrote is in its session still, and a flush is a flush.
    old.flush(name)
    for reader in (old, client):
        assert data.keys(reader, name) == [key for key in range(30) if key != 1]
    until("both to tell what they need", lambda: len(needs(etcd)) == 2)


def needs(etcd) -> list[str]:
    return [key for key in etcd.get_all() if key.startswith("/alice/.node/c1/1/")]


def s34_the_first_node_says_what_is_configured_for_the_cluster(new_node, new_client, etcd):
    new_node(1, settings={"auto_flush": True, "flush_interval": 0})
    assert etcd.get_all()["/alice/config/c1"]["auto_flush"] is True
    client = new_client(new_node(2))
    name = data.create(client)
    client.insert(name, data.rows(range(10)))
    assert data.count(client, name) == 10
    # Whatever the others are started with: what is stored is in force, and who wanted something else is told.
    other = new_node(3, settings={"flush_interval": 500})
    words = ("flush_interval = 500", "the cluster has 0 (/alice/config/c1)", "redkite config set flush_interval=500")
    assert all(word in other.log() for word in words), other.log()
    client = new_client(other)
    client.insert(name, data.rows(range(10, 20)))
    assert data.count(client, name) == 20


def s19_a_cluster_is_said_to_have_the_nodes_that_joined_it(new_node, etcd):
    for number, nodes in [(1, 2), (2, 2), (3, 3), (7, 4)]:
        new_node(number, settings={"num_nodes": 2})
        assert etcd.get_all()["/alice/config/c1"]["num_nodes"] == nodes


def s34_a_standalone_does_not_replace_the_configuration_of_a_cluster(new_node, new_server, etcd, storage):
    new_node(1, settings={"ip_whitelist": ["127.0.0.1"]})
    before = etcd.get_all()["/alice/config/c1"]
    settings = {"user": "alice", "cluster_id": "c1", "etcd.endpoints": [etcd.endpoint]} | storage["settings"]
    server = new_server(settings=settings, start=False)
    server.launch()
    assert server.wait_exit() == 1
    assert 'cluster_id = "c1" is a cluster of nodes (/alice/c1_property' in server.log()
    assert etcd.get_all()["/alice/config/c1"] == before


def test_a_node_without_its_cluster_is_refused_at_once(tmp_path):
    refused = run_binary("node", "--data-dir", tmp_path, "--listen", "0.0.0.0:0", cwd=tmp_path)
    assert refused.returncode == 2
    for key in ("cluster_id", "node_id", "etcd.endpoints", "storage.url", "advertise"):
        assert f"{key} = " in refused.stderr
    assert list(tmp_path.iterdir()) == []
