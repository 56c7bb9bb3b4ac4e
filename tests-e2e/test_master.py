"""The Master: S23 to S26, and S14 through it."""

import json
import socket

import grpc
import pytest

from support import data
from support.handover import handover, proof
from support.raw import Raw, StatusError
from support.server import run_binary
from support.wait import until

# Short, so that a node that does not answer is missed soon; no test depends on how soon.
QUICK = {"master_heart_beat_interval": 50}


def s24_stock_clients_work_through_the_master(new_node, new_master, new_client):
    nodes = [new_node(number) for number in (1, 2)]
    through = new_client(new_master())
    name = data.create(through)
    through.insert(name, data.rows(range(10)))
    assert data.count(through, name) == 0
    through.flush(name)
    assert [hit["id"] for hit in through.search(name, [data.vector(7)], limit=1)[0]] == [7]
    for node in nodes:
        assert data.count(new_client(node), name) == 10
    # A message of many frames, both ways.
    through.insert(name, data.rows(range(10, 20_010)))
    through.flush(name)
    rows = through.query(name, filter="id >= 10", output_fields=["vector"], limit=16_384)
    assert len(rows) == 16_384


def s24_a_client_is_told_of_a_node_by_load_and_goes_there_itself(new_node, new_master, new_raw):
    nodes = {number: new_node(number) for number in (1, 2)}
    master = new_master()
    told = [master.own("route") for _ in range(4)]
    assert sorted(place["node"] for place in told) == [1, 1, 2, 2]
    for place in told:
        assert (place["address"], place["port"]) == ("127.0.0.1", nodes[place["node"]].port)
        raw = new_raw(f"{place['address']}:{place['port']}")
        assert raw.identifier
    # One that has more clients than the other gets no further ones.
    crowd = [new_raw(nodes[1].address) for _ in range(5)]
    until("the Master to hear of them", lambda: loads(master)[1] >= loads(master)[2] + 5)
    assert [master.own("route")["node"] for _ in range(3)] == [2, 2, 2]
    assert crowd


def s25_an_operator_is_told_who_is_alive(new_node, new_master):
    nodes = [new_node(number, settings=QUICK) for number in (1, 2)]
    master = new_master(settings=QUICK)
    nodes[1].kill9()
    until("it to be missed", lambda: master.live_nodes() == [1])
    shown = run_binary("status", "--master", master.address)
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert [line[:4] for line in lines[1:]] == [
        ["c1", "1", nodes[0].address, "alive"],
        ["c1", "2", nodes[1].address, "down"],
    ]
    told = json.loads(run_binary("status", "--master", master.address, "--json").stdout)
    assert [(node["cluster"], node["node"], node["alive"]) for node in told["nodes"]] == [("c1", 1, True), ("c1", 2, False)]
    master.kill9()
    refused = run_binary("status", "--master", master.address)
    assert refused.returncode == 1 and f"the Master at {master.address}" in refused.stderr


def loads(master) -> dict[int, int]:
    return {node["node"]: node["connections"] for node in master.own("loads")["nodes"]}


def s26_the_load_of_every_node_can_be_asked_for(new_node, new_master, new_raw):
    busy, idle = new_node(1, settings=QUICK), new_node(2)
    master = new_master()
    clients = [new_raw(busy.address) for _ in range(3)]

    def loads():
        return {node["node"]: node for node in master.own("loads")["nodes"]}

    until("three clients to be told of", lambda: loads()[1]["connections"] == len(clients))
    assert loads()[2]["connections"] == 0
    assert all(node["memory_bytes"] > 0 and node["takes_clients"] for node in loads().values())
    assert loads()[2]["address"] == idle.address


def s02_clusters_with_masters_of_their_own_share_metadata_and_storage(new_node, new_master, new_client):
    nodes = {cluster: new_node(1, cluster=cluster) for cluster in ("c1", "c2")}
    masters = {cluster: new_master(cluster=cluster) for cluster in nodes}
    for cluster, master in masters.items():
        assert master.own("route")["port"] == nodes[cluster].port
        assert [(node["cluster"], node["node"]) for node in master.own("loads")["nodes"]] == [(cluster, 1)]
    one, other = (new_client(master) for master in masters.values())
    name = data.create(one)
    one.insert(name, data.rows(range(5)))
    one.flush(name)
    assert data.keys(other, name) == list(range(5))


def s24_clients_through_the_master_are_spread(new_node, new_master, new_raw):
    for number in (1, 2):
        new_node(number)
    master = new_master()
    through = [new_raw(master.address) for _ in range(6)]
    until("both nodes to have three each", lambda: loads(master) == {1: 3, 2: 3})
    through[0].close()
    until("its end to be known", lambda: sorted(loads(master).values()) == [2, 3])


def s25_a_node_that_is_killed_or_frozen_is_left_out_and_comes_back(new_node, new_master, new_client):
    nodes = [new_node(number, settings=QUICK) for number in (1, 2, 3)]
    master = new_master(settings=QUICK)
    assert master.live_nodes() == [1, 2, 3]
    nodes[0].kill9()
    nodes[1].pause()
    until("both to be missed", lambda: master.live_nodes() == [3])
    assert {master.own("route")["node"] for _ in range(4)} == {3}
    client = new_client(master)
    name = data.create(client)
    nodes[0].start()
    nodes[1].resume()
    until("all to be there again", lambda: master.live_nodes() == [1, 2, 3])
    assert data.count(client, name) == 0


def s25_the_clients_of_a_frozen_node_get_another_one(new_node, new_master, new_client, new_raw):
    nodes = {number: new_node(number, settings=QUICK) for number in (1, 2)}
    master = new_master(settings=QUICK)
    name = data.create(new_client(nodes[2]))
    raws = [new_raw(master.address) for _ in range(4)]
    nodes[1].pause()
    # Those that were there are cut off, and find the other one when they connect again, which they do by themselves.
    for raw in raws:
        until("an answer from the other node", lambda raw=raw: counts(raw, name))
    nodes[1].resume()


def counts(raw: Raw, name: str) -> bool:
    try:
        return raw.count(name) == 0
    except grpc.RpcError:
        return False


def s23_a_master_that_is_killed_is_replaced_by_any_other(new_node, new_master, new_client, new_raw):
    new_node(1)
    first, second = new_master(), new_master()
    a, b = new_client(first), new_client(second)
    name = data.create(a)
    a.insert(name, data.rows(range(5)))
    a.flush(name)
    assert data.count(b, name) == 5
    # What was not flushed goes with it, as with any connection that ends.
    raw = new_raw(first.address)
    raw.insert(name, [100], [data.vector(100)])
    first.kill9()
    assert data.count(b, name) == 5
    again = Raw(second.address, identifier=raw.identifier)
    with pytest.raises(StatusError, match="(?i)not flushed|unflushed"):
        again.flush(name)
    again.insert(name, [6], [data.vector(6)])
    again.flush(name)
    again.close()
    assert data.count(b, name) == 6
    first.start()
    assert data.count(new_client(first), name) == 6


def s23_a_master_may_be_there_before_any_node(new_node, new_master, new_client):
    master = new_master(start=False)
    master.launch()
    # What is configured for the cluster is the nodes' to say.
    until("it to wait", lambda: "waiting for the first one" in master.log())
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", master.port), timeout=10)
    node = new_node(1, settings=QUICK)
    master.wait_ready()
    until("it to be met", lambda: master.live_nodes() == [1])
    node.kill9()
    until("it to be missed", lambda: master.live_nodes() == [])
    status, body, _ = master.get("/redkite/route", base=master.uri)
    assert (status, "no node of the cluster is alive" in body) == (503, True)
    assert master.get("/readyz")[0] == 503
    node.start()
    until("it to be met again", lambda: master.live_nodes() == [1])
    name = data.create(new_client(master))
    assert new_client(node).has_collection(name)


def s14_the_allow_list_holds_through_the_master(new_node, new_master, new_client):
    listed = {"ip_whitelist": ["127.0.0.1", "127.0.0.7"]}
    node, master = new_node(1, settings=listed), new_master()
    assert new_client(master).list_collections() == []
    for port, source, answered in [
        (master.port, "127.0.0.7", True),
        (master.port, "127.0.0.8", False),
        (node.port, "127.0.0.7", True),
        (node.port, "127.0.0.8", False),
    ]:
        assert (b"HTTP/1.1 404" in answer(port, source)) == answered, (port, source)


def s14_a_node_applies_its_list_to_the_address_that_a_master_tells(new_node, etcd):
    new_node(1, settings={"ip_whitelist": ["127.0.0.7"], "http_ip_whitelist": ["127.0.0.1"]})
    members = etcd.get_all()["/alice/c1_property"]
    port = int(members["nodes"][0]["internal"].rsplit(":", 1)[1])
    secret, boot = members["secret"], members["nodes"][0]["boot"]
    for source, proven, secret, boot, answered in [
        ("127.0.0.7", "127.0.0.7", secret, boot, True),
        ("127.0.0.8", "127.0.0.8", secret, boot, False),
        ("127.0.0.7", "127.0.0.8", secret, boot, False),
        ("127.0.0.7", "127.0.0.7", "0" * 32, boot, False),
        ("127.0.0.7", "127.0.0.7", secret, "another", False),
    ]:
        begin = handover(source, proof(secret, proven, boot))
        assert (b"HTTP/1.1 404" in answer(port, "127.0.0.1", begin)) == answered, (source, proven, secret, boot)
    assert answer(port, "127.0.0.1", handover("127.0.0.7", "")) == b""
    # Nor is anything else taken there but calls of the cluster.
    assert answer(port, "127.0.0.1") == b""


def s42_clients_are_sent_elsewhere_while_a_node_stops(new_node, new_master, new_client, new_raw):
    nodes = {number: new_node(number, settings=QUICK) for number in (1, 2)}
    master = new_master(settings=QUICK)
    name = data.create(new_client(nodes[2]))
    nodes[1].process.terminate()
    until("it to be left out", lambda: {master.own("route")["node"] for _ in range(4)} == {2})
    for _ in range(4):
        assert new_raw(master.address).count(name) == 0
    assert nodes[1].wait_exit() == 0


def answer(port: int, source: str, begin: bytes = b"") -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0)) as connection:
        try:
            connection.sendall(begin + b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(1 << 16)
        except ConnectionError:
            return b""


def config(master, *arguments: object):
    command, *others = arguments
    return run_binary("config", command, "--master", master.address, *others)


def s34_the_configuration_of_a_cluster_changes_while_it_runs(new_node, new_master, new_client, etcd):
    nodes = [new_node(number) for number in (1, 2)]
    master = new_master(settings={"flush_interval": 77})
    assert config(master, "get", "auto_flush").stdout == "false\n"
    assert config(master, "get", "flush_interval").stdout == "1000\n"
    clients = [new_client(node) for node in nodes]
    name = data.create(clients[0])
    for number, client in enumerate(clients):
        client.insert(name, data.rows(range(5 * number, 5 * number + 5)))
        assert data.count(client, name) == 5 * number
        client.flush(name)
    changed = config(master, "set", "auto_flush=true", "flush_interval=0")
    assert changed.returncode == 0 and "auto_flush = true\n" in changed.stdout, changed
    stored = etcd.get_all()["/alice/config/c1"]
    assert (stored["auto_flush"], stored["flush_interval"]) == (True, 0)
    for number, client in enumerate(clients):
        key = iter(range(100 + 1000 * number, 1000 * (number + 1)))

        def visible(client=client, key=key):
            count = data.count(client, name)
            client.insert(name, data.rows([next(key)]))
            return data.count(client, name) == count + 1

        until("writes to be visible at once", visible)
    # A process that starts now has it, too.
    late = new_client(new_node(3))
    count = data.count(late, name)
    late.insert(name, data.rows([9_999]))
    assert data.count(late, name) == count + 1


@pytest.mark.parametrize(
    "change, problem",
    [
        ("num_replicas=5", "want at most num_nodes - 1 = 0"),
        ("sync_level=1", "want at most num_replicas = 0"),
        ("listen=127.0.0.1:1", "each process's own"),
        ("auto_flsh=true", "did you mean auto_flush?"),
        ("flush_interval=soon", "from redkite config set"),
        ("auto_flush", "want key=value"),
    ],
)
def s34_a_change_that_will_not_do_changes_nothing(new_node, new_master, etcd, change, problem):
    new_node(1)
    master = new_master()
    before = etcd.get_all()["/alice/config/c1"]
    refused = config(master, "set", "auto_flush=true", change)
    assert refused.returncode == 1 and problem in refused.stderr, refused
    assert etcd.get_all()["/alice/config/c1"] == before


def s14_who_may_connect_changes_while_clients_are_connected(new_node, new_master, new_client, new_raw):
    node = new_node(1, settings={"http_ip_whitelist": ["127.0.0.1"]})
    master = new_master(settings={"http_ip_whitelist": ["127.0.0.1"]})
    name = data.create(new_client(node))
    kept = new_raw(master.address)
    assert kept.count(name) == 0
    assert answer(node.port, "127.0.0.8") and answer(master.port, "127.0.0.8")
    assert config(master, "set", "ip_whitelist=127.0.0.1,127.0.0.7").returncode == 0
    for server in (node, master):
        until("strangers to be refused", lambda server=server: answer(server.port, "127.0.0.8") == b"")
        assert answer(server.port, "127.0.0.7")
    # Who is connected stays.
    assert kept.count(name) == 0


def s22_how_masters_listen_for_nodes_is_configured_while_they_run(new_node, new_master):
    node = new_node(1)
    master = new_master()
    node.pause()
    assert config(master, "set", "master_heart_beat_interval=100", "time_out_on_heart_beat=2").returncode == 0
    until("the node to be missed", lambda: master.live_nodes() == [])
    node.resume()
    until("it to be met again", lambda: master.live_nodes() == [1])


def s10_a_client_that_is_moved_between_nodes_is_told_on_each(new_node, new_client, new_raw, etcd):
    nodes = [new_node(number) for number in (1, 2)]
    name = data.create(new_client(nodes[0]))
    on = [new_raw(nodes[0].address)]
    identifier = on[0].identifier

    def move(node):
        on[-1].close()
        on.append(new_raw(node.address, identifier=identifier))
        with pytest.raises(StatusError, match="not flushed, if it had any, are gone"):
            on[-1].insert(name, [100], [data.vector(100)])
        return on[-1]

    on[0].insert(name, [1], [data.vector(1)])
    on[0].flush(name)
    elsewhere = move(nodes[1])
    elsewhere.insert(name, [2], [data.vector(2)])
    back = move(nodes[0])
    back.insert(name, [3], [data.vector(3)])
    back.flush(name)
    # Nobody tells it twice, and a reconnect to the node it is on is none of its concern.
    back.close()
    again = new_raw(nodes[0].address, identifier=identifier)
    again.insert(name, [4], [data.vector(4)])
    again.flush(name)
    assert data.keys(new_client(nodes[1]), name) == [1, 3, 4]
    assert etcd.get_all()[f"/alice/.client/{identifier:016x}"]["node"] == 1
