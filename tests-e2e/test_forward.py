"""Inserts that go to another node, as the one that was asked is short of memory: S26, S27, and S06, S10 and S12 over it."""

import pytest
from pymilvus import DataType, MilvusException

from support import data
from support.server import run_binary
from support.wait import until

# Less than any process has in use: such a node is always above its mark.
SHORT = {"memory_budget": "1M"}


def owners(etcd, name: str) -> set[int]:
    """The nodes that the metadata names as those that inserted the rows of a collection."""
    prefix = f"/alice/{name}/data/"
    entries = [entry for key, entry in etcd.get_all().items() if key.startswith(prefix)]
    return {entry["node"] for entry in entries if entry["type"] != "delete_log"}


def short_and_idle(new_node, new_client, **settings):
    """Two nodes, of which the first is short of memory, and a client of each."""
    short, idle = new_node(1, settings=SHORT | settings), new_node(2)
    return short, idle, new_client(short), new_client(idle)


@pytest.mark.parametrize("storage", ["a directory", "S3"], indirect=True)
def s27_inserts_of_a_node_short_of_memory_are_forwarded(new_node, new_client, etcd, storage):
    short, idle, writer, reader = short_and_idle(new_node, new_client)
    name = data.create(writer)
    writer.insert(name, data.rows(range(100)))
    writer.insert(name, data.rows(range(100, 120)))
    assert data.count(writer, name) == data.count(reader, name) == 0
    writer.flush(name)
    for client in (writer, reader):
        assert data.keys(client, name) == list(range(120))
        assert [hit["id"] for hit in client.search(name, [data.vector(117)], limit=1)[0]] == [117]
    assert owners(etcd, name) == {2}
    assert short.metric("^redkite_forwarded_out_rows_total") == idle.metric("^redkite_forwarded_in_rows_total") == 120
    assert short.metric("^redkite_forwarded_out_blocks_total") == idle.metric("^redkite_forwarded_in_blocks_total") == 1
    assert "above high_water_level" in short.log() and "above high_water_level" not in idle.log()
    # The other one has enough, and keeps what its clients insert.
    other = data.create(reader)
    reader.insert(other, data.rows(range(5)))
    reader.flush(other)
    assert owners(etcd, other) == {2}
    assert idle.metric("^redkite_forwarded_out") == 0


def s06_what_is_done_to_forwarded_rows_is_done_in_order(new_node, new_client, etcd):
    _, _, writer, reader = short_and_idle(new_node, new_client)
    name = data.create(writer)
    writer.insert(name, data.rows(range(10)))
    writer.flush(name)
    writer.insert(name, data.rows(range(10, 20)))
    writer.delete(name, ids=[3, 13])
    writer.upsert(name, [data.row(4) | {"vector": data.vector(400)}, data.row(14) | {"vector": data.vector(14_000)}])
    # A filter has to see the rows: those that wait elsewhere, too.
    assert writer.delete(name, filter="id in [5, 15] or id == 16 or id > 18")["delete_count"] == 4
    writer.insert(name, data.rows([15]))
    writer.insert(name, data.rows([30, 31]))
    writer.delete(name, ids=[31])
    assert data.keys(reader, name) == list(range(10))
    writer.flush(name)
    want = sorted(set(range(19)) - {3, 13, 5, 16} | {30})
    for client in (writer, reader):
        assert data.keys(client, name) == want
        for key, number in ((4, 400), (14, 14_000), (15, 15)):
            found = client.query(name, filter=f"id == {key}", output_fields=["vector"])
            assert [list(row["vector"]) for row in found] == [pytest.approx(data.vector(number))]


def s06_keys_that_are_texts_and_columns_of_every_kind_are_forwarded(new_node, new_client, etcd):
    _, _, writer, reader = short_and_idle(new_node, new_client)
    fields = [
        ("title", DataType.VARCHAR, {"max_length": 100, "nullable": True}),
        ("tags", DataType.ARRAY, {"element_type": DataType.INT64, "max_capacity": 4}),
        ("more", DataType.JSON, {}),
        ("bits", DataType.BINARY_VECTOR, {"dim": 8}),
    ]
    name = data.create(writer, key=DataType.VARCHAR, fields=fields)
    data.add_index(writer, name, "bits", "HAMMING")

    def row(key: str, number: int) -> dict:
        title = None if number % 2 else f"Ä {key}"
        more = {"number": number, "deep": [key]}
        return data.row(key, title=title, tags=[number] * (number % 4), more=more, bits=bytes([number]), extra=number)

    writer.insert(name, [row(f"k{number}", number) for number in range(6)])
    writer.delete(name, ids=["k1"])
    writer.upsert(name, [row("k2", 22)])
    writer.flush(name)
    assert owners(etcd, name) == {2}
    found = reader.query(name, filter="id != ''", output_fields=["*"])
    numbers = {"k0": 0, "k2": 22, "k3": 3, "k4": 4, "k5": 5}
    assert sorted(one["id"] for one in found) == sorted(numbers)
    for one in found:
        want = row(one["id"], numbers[one["id"]])
        assert (one["title"], list(one["tags"]), one["more"], one["extra"]) == (
            want["title"], want["tags"], want["more"], want["extra"],
        )
        assert list(one["vector"]) == pytest.approx(want["vector"])
        assert bytes(one["bits"][0]) == want["bits"]


def s12_rows_here_and_elsewhere_of_two_collections_are_one_atom(new_node, new_master, new_client, etcd):
    _, idle, writer, reader = short_and_idle(new_node, new_client)
    master = new_master()
    names = [data.create(writer) for _ in range(2)]
    writer.insert(names[0], data.rows(range(10)))
    # From here on the node is not short any more.
    set_for_all(master, "high_water_level=1")
    set_for_all(master, "high_water_level=0.5")
    writer.insert(names[1], data.rows(range(10)))
    writer.delete(names[0], ids=[1])
    assert [data.count(reader, name) for name in names] == [0, 0]
    writer.flush(names[0])
    assert [data.count(reader, name) for name in names] == [9, 10]
    # A block of which a node has died is gone as a whole.
    writer.insert(names[0], data.rows(range(20, 30)))
    writer.insert(names[1], data.rows(range(20, 30)))
    writer.delete(names[1], ids=[5])
    idle.kill9()
    with pytest.raises(MilvusException):
        writer.flush(names[1])
    assert [data.count(writer, name) for name in names] == [9, 10]


def set_for_all(master, change: str) -> None:
    done = run_binary("config", "set", change, "--master", master.address)
    assert done.returncode == 0, done.stderr


def s10_a_receiver_that_dies_before_the_flush_is_told_of_and_nothing_is_visible(new_node, new_client, etcd):
    short, idle, writer, reader = short_and_idle(new_node, new_client)
    name = data.create(writer)
    writer.insert(name, data.rows(range(10)))
    writer.flush(name)
    writer.insert(name, data.rows(range(10, 20)))
    writer.delete(name, ids=[1])
    reader.close()
    idle.kill9()
    with pytest.raises(MilvusException) as failed:
        writer.flush(name)
    for words in ("node 2", "forwarded", "2 unflushed operations", "insert them again"):
        assert words in failed.value.message
    assert data.keys(writer, name) == list(range(10))
    assert short.metric("^redkite_forward_losses_total") == 1
    # Alone, it keeps what it gets; and the other one gets some again when it is back.
    writer.insert(name, data.rows(range(10, 20)))
    writer.flush(name)
    assert data.keys(writer, name) == list(range(20))
    assert owners(etcd, name) == {1, 2}
    idle.restart()

    def forwarded() -> bool:
        writer.insert(name, data.rows([100]))
        return short.metric("^redkite_forwarded_out_blocks_total") > 2

    until("the other node to get rows again", forwarded)
    writer.flush(name)
    assert data.keys(new_client(idle), name)[-1] == 100


def s10_a_receiver_that_was_restarted_has_lost_the_block_too(new_node, new_client):
    _, idle, writer, _ = short_and_idle(new_node, new_client)
    name = data.create(writer)
    writer.insert(name, data.rows(range(10)))
    idle.restart()
    with pytest.raises(MilvusException, match="node 2, to which rows of this client were forwarded"):
        writer.insert(name, data.rows(range(10, 20)))
    writer.flush(name)
    assert data.count(writer, name) == 0


@pytest.mark.parametrize("end", ["kill9", "pause"])
def s10_of_a_sender_that_dies_nothing_is_visible_and_nothing_is_held(new_node, new_client, end):
    short, idle, writer, reader = short_and_idle(new_node, new_client)
    name = data.create(reader)
    writer.insert(name, data.rows(range(10_000)))
    held = idle.metric("^redkite_session_buffered_bytes")
    assert held > 0
    getattr(short, end)()
    # Of one that is frozen it takes some time to find out that nobody is there.
    until("the rows to be dropped", lambda: idle.metric("^redkite_session_buffered_bytes") == 0, timeout_s=120)
    assert data.count(reader, name) == 0
    reader.insert(name, data.rows([1]))
    reader.flush(name)
    assert data.keys(reader, name) == [1]
    assert "are dropped" in idle.log()
    if end == "pause":
        short.resume()
        with pytest.raises(MilvusException, match="node 2, to which rows of this client were forwarded"):
            writer.flush(name)
        assert data.keys(writer, name) == [1]


@pytest.mark.parametrize("end", ["kill9", "close"])
def s10_a_client_that_leaves_takes_its_forwarded_rows_along(new_node, new_client, new_worker, end):
    short, idle = new_node(1, settings=SHORT), new_node(2)
    writer, reader = new_worker(short.uri), new_client(idle)
    name = data.create(reader)
    writer.insert(name, data.rows(range(1_000)))
    assert idle.metric("^redkite_session_buffered_bytes") > 0
    getattr(writer, end)()
    until("the rows to be dropped", lambda: idle.metric("^redkite_session_buffered_bytes") == 0)
    assert data.count(reader, name) == 0


def s10_a_receiver_that_is_frozen_is_given_up_and_does_no_harm(new_node, new_client):
    _, idle, writer, reader = short_and_idle(new_node, new_client)
    name = data.create(writer)
    writer.insert(name, data.rows(range(10)))
    idle.pause()
    # It takes as long as it takes to find out that nobody is there.
    with pytest.raises(MilvusException, match="node 2, to which rows of this client were forwarded"):
        writer.flush(name)
    writer.insert(name, data.rows(range(20, 30)))
    writer.flush(name)
    idle.resume()
    assert data.keys(writer, name) == data.keys(reader, name) == list(range(20, 30))
    until("the rows to be dropped", lambda: idle.metric("^redkite_session_buffered_bytes") == 0)


def s26_a_node_asks_a_master_for_the_loads(new_node, new_master, new_client, etcd):
    short = new_node(1, settings=SHORT)
    # Of two that have more the one with the least share in use.
    new_node(2, settings={"memory_budget": "1G"})
    new_node(3, settings={"memory_budget": "1T"})
    master = new_master()
    until("all three to be met", lambda: master.live_nodes() == [1, 2, 3])
    loads = {node["node"]: node for node in master.own("loads")["nodes"]}
    assert [loads[node]["memory_budget_bytes"] for node in (1, 2, 3)] == [1 << 20, 1 << 30, 1 << 40]
    set_for_all(master, f"master_address=127.0.0.1:1,{master.address}")
    writer = new_client(short)
    name = data.create(writer)

    def asked() -> float:
        writer.insert(name, data.rows([1]))
        writer.flush(name)
        return short.metric('^redkite_loads_asked_total.*"master"')

    until("the node to follow the change and ask the Master", asked)
    assert owners(etcd, name) == {3}


def s26_without_a_master_the_nodes_are_asked_themselves(new_node, new_master, new_client, etcd):
    # One that nobody listens at, and one that answers something else.
    gone = {"master_address": "127.0.0.1:1"}
    short, _, writer, _ = short_and_idle(new_node, new_client, **gone)
    name = data.create(writer)
    writer.insert(name, data.rows(range(10)))
    writer.flush(name)
    assert owners(etcd, name) == {2}
    assert short.metric('^redkite_loads_asked_total.*"nodes"') == 1
    assert short.metric('^redkite_loads_asked_total.*"master"') == 0


def s27_if_all_are_above_the_mark_the_one_with_the_most_free_memory_gets_them(new_node, new_client, etcd):
    # Nobody has so little in use as nothing.
    nodes = {
        number: new_node(number, settings={"high_water_level": 0, "memory_budget": budget})
        for number, budget in ((1, "1M"), (2, "1G"), (3, "1T"))
    }
    for number in (1, 2, 3):
        writer = new_client(nodes[number])
        name = data.create(writer)
        writer.insert(name, data.rows(range(10)))
        writer.flush(name)
        assert owners(etcd, name) == {3}
    # It keeps its own.
    assert nodes[3].metric("^redkite_forwarded_out") == 0


def s22_the_mark_can_be_changed_while_all_run(new_node, new_master, new_client, etcd):
    node = new_node(1, settings={"memory_budget": "1T"})
    new_node(2, settings={"memory_budget": "2T"})
    master = new_master()
    config = etcd.get_all()["/alice/config/c1"]
    assert (config["high_water_level"], config["master_address"]) == (0.6, "")
    assert "memory_budget" not in config
    writer = new_client(node)

    def owner() -> set[int]:
        name = data.create(writer)
        writer.insert(name, data.rows([1]))
        writer.flush(name)
        return owners(etcd, name)

    assert owner() == {1}
    set_for_all(master, "high_water_level=0")
    until("rows to be forwarded", lambda: owner() == {2})
    set_for_all(master, "high_water_level=0.9")
    until("rows to stay", lambda: owner() == {1})
    assert "below high_water_level again" in node.log()
    refused = run_binary("config", "set", "high_water_level=1.5", "--master", master.address)
    assert refused.returncode == 1 and "want a number from 0 to 1" in refused.stderr


def s16_what_is_flushed_automatically_is_forwarded_too(new_node, new_client, etcd):
    short, _, writer, reader = short_and_idle(new_node, new_client, auto_flush=True, flush_interval=0)
    name = data.create(writer)
    for key in range(5):
        writer.insert(name, data.rows([key]))
        assert data.count(reader, name) == key + 1
    writer.upsert(name, data.rows([2]))
    assert data.keys(reader, name) == list(range(5))
    assert owners(etcd, name) == {2}
    assert short.metric("^redkite_forwarded_out_rows_total") == 6


def s21_the_replicas_of_forwarded_rows_are_on_other_nodes_than_the_one_that_received_them(
    new_node, new_master, new_client, etcd
):
    copies = {"num_nodes": 2, "num_replicas": 1, "sync_level": 1}
    short, idle, writer, reader = short_and_idle(new_node, new_client, **copies)
    master = new_master()
    name = data.create(writer)
    writer.insert(name, data.rows(range(10)))
    writer.flush(name)
    assert owners(etcd, name) == {2}
    writer.delete(name, ids=[3])
    writer.flush(name)
    held = lambda: {node["node"]: node.get("fragments") for node in master.own("loads")["nodes"]}
    until("both to hold it", lambda: held() == {1: 1, 2: 1})
    # The node that received them cannot stand for its own replica.
    idle.kill9()
    short.restart(settings=short.settings | {"memory_budget": "1T"})
    writer = new_client(short)
    writer.insert(name, data.rows(range(20, 30)))
    with pytest.raises(MilvusException, match="0 of the 1 replicas"):
        writer.flush(name)
    assert data.count(writer, name) == 9
