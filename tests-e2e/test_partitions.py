"""A cluster whose network falls apart: S25, S39. Every process is on a host of its own, as is the client, see
`support.network`."""

import pytest

from support import data
from support.actors import Load
from support.network import Network, unavailable
from support.node import Master, Node
from support.wait import until
from support.worker import WorkerError
from test_etcd_faults import check_failures
from test_fanout import UNMERGED, ask, filled, served

# Short, so that a node that does not answer is missed soon; no test depends on how soon.
QUICK = {"master_heart_beat_interval": 100}


@pytest.fixture
def network():
    if reason := unavailable():
        pytest.skip(reason)
    made = Network()
    yield made
    made.close()


class World:
    """Where everything is. etcd and the S3 server run on the machine itself; each is reached by way of a host."""

    def __init__(self, network, etcd, new_node, new_master):
        self.network = network
        self.client, self.etcd, self.storage = network.host(), network.host(), network.host()
        network.relay(self.etcd, etcd.port, None, ("127.0.0.1", etcd.port))
        self._settings = {"etcd.endpoints": [f"http://{self.etcd.address}:{etcd.port}"]}
        self._new_node, self._new_master = new_node, new_master
        self._places = {}

    def use_s3(self, s3: dict) -> None:
        """Nodes reach the S3 server by way of its host."""
        port = int(s3["ENDPOINT"].rsplit(":", 1)[1])
        self.network.relay(self.storage, port, None, ("127.0.0.1", port))
        self._settings["storage.endpoint"] = f"http://{self.storage.address}:{port}"

    def node(self, number: int, place=None, **settings) -> Node:
        return self._start(lambda **options: self._new_node(number, **options), settings, place)

    def master(self, **settings) -> Master:
        return self._start(self._new_master, settings)

    def _start(self, new, settings, place=None):
        place = place or self.network.host()
        server = new(start=False, host=place.address, wrapper=place.wrapper, settings=self._settings | settings)
        # Clients come from their host, who asks for its health from the server's own.
        self.network.relay(None, server.port, self.client, (place.address, server.port))
        self.network.relay(None, server.http_port, place, ("127.0.0.1", server.http_port))
        self._places[server] = place
        return server.start()

    def of(self, *servers) -> list:
        """Their hosts."""
        return [self._places[server] for server in servers]


@pytest.fixture
def world(network, etcd, new_node, new_master) -> World:
    return World(network, etcd, new_node, new_master)


def three(world, new_client):
    """Nodes that have each a part of what there is, and what they answer."""
    nodes = [world.node(number, **UNMERGED) for number in (1, 2, 3)]
    clients = [new_client(node) for node in nodes]
    name = filled(nodes, clients)
    want = ask(clients[0], name)
    assert all(ask(client, name) == want for client in clients)
    return nodes, clients, name, want


def s39_answers_stay_whole_with_a_node_cut_off_from_the_others(world, new_client):
    nodes, clients, name, want = three(world, new_client)
    world.network.cut(world.of(nodes[1]), world.of(*nodes))
    # Again and again: while it is not known yet, and when it is.
    for _ in range(3):
        for client in clients:
            assert ask(client, name) == want
    assert all(node.metric("^redkite_subrequests_hedged_total") > 0 for node in nodes)
    # All of them know of what is flushed.
    clients[1].insert(name, [data.row(100_000, tag=3)])
    clients[1].flush(name)
    for client in clients:
        assert data.count(client, name, "id == 100000") == 1
    clients[1].delete(name, ids=[100_000])
    clients[1].flush(name)
    world.network.heal()
    before = served(nodes[1])

    def asked_again():
        assert ask(clients[0], name) == want
        return served(nodes[1]) > before

    until("the node to be asked again", asked_again, 60)


def s39_answers_stay_whole_with_a_slow_node(world, new_client):
    nodes, clients, name, want = three(world, new_client)
    (slow,) = world.of(nodes[1])
    slow.slow_down("32kbit")
    for _ in range(3):
        for client in (clients[0], clients[2]):
            assert ask(client, name) == want
    assert nodes[0].metric("^redkite_subrequests_hedged_total") > 0
    slow.speed_up()
    assert ask(clients[1], name) == want


def s25_a_cut_between_the_master_and_the_nodes_does_not_stop_clients_that_have_one(world, new_client):
    nodes = [world.node(number, **QUICK) for number in (1, 2)]
    master = world.master()
    client = new_client(nodes[0])
    load = Load([data.create(client)])
    addresses = [node.address for node in nodes]
    load.write(*addresses)
    load.read(*addresses)
    load.go_on()
    world.network.cut(world.of(master), world.of(*nodes))
    until("the Master to miss them", lambda: master.live_nodes() == [])
    assert master.get("/redkite/route", base=master.uri)[0] == 503
    load.go_on(times=5)
    world.network.heal()
    until("the Master to meet them again", lambda: master.live_nodes() == [1, 2])
    assert new_client(master).list_collections() == load.names
    load.check(*addresses)
    assert load.failures() == []


def test_a_node_cut_off_from_etcd_says_so_and_goes_on_afterwards(world, new_client, new_worker):
    nodes = [world.node(number) for number in (1, 2)]
    client = new_client(nodes[0])
    load = Load([data.create(client), data.create(client)])
    load.write(nodes[0].address)
    load.read(nodes[0].address)
    name = data.create(client)
    writer = new_worker(nodes[1].uri)
    writer.insert(name, data.rows(range(10)))
    writer.flush(name)
    writer.insert(name, data.rows(range(10, 20)))
    writer.delete(name, ids=[3])
    world.network.cut(world.of(nodes[1]), [world.etcd])
    with pytest.raises(WorkerError, match="metadata store"):
        writer.flush(name)
    # Of the others nobody notices.
    load.go_on()
    assert load.failures() == []
    assert data.keys(client, name) == list(range(10))
    world.network.heal()
    # At once, whatever the connection it had is up to.
    writer.flush(name)
    assert data.keys(client, name) == [key for key in range(20) if key != 3]
    load.write(nodes[1].address)
    load.read(nodes[1].address)
    load.go_on()
    load.check(*(node.address for node in nodes))
    check_failures(load)


def test_a_node_that_was_cut_off_and_replaced_does_no_harm(world, new_client, etcd):
    old = world.node(1)
    client = new_client(old)
    name = data.create(client)
    client.insert(name, data.rows(range(10)))
    client.flush(name)
    client.insert(name, data.rows(range(10, 20)))
    # All but its client are on the other side.
    other = world.network.host()
    world.network.cut(world.of(old), [world.etcd, other])
    new = world.node(1, place=other)
    assert etcd.get_all()["/alice/c1_property"]["nodes"][0]["incarnation"] == 2
    successor = new_client(new)
    successor.delete(name, ids=[3])
    successor.insert(name, data.rows(range(20, 30)))
    successor.flush(name)
    world.network.heal()
    until("the flush to succeed", lambda: succeeds(client.flush, name), 60)
    for each in (client, successor):
        assert data.keys(each, name) == [key for key in range(30) if key != 3]


@pytest.mark.parametrize("storage", ["S3"], indirect=True)
def test_a_node_cut_off_from_s3_is_helped_by_the_others(world, new_client, new_worker, s3):
    world.use_s3(s3)
    nodes, clients, name, want = three(world, new_client)
    world.network.cut(world.of(nodes[1]), [world.storage])
    writer = new_worker(nodes[1].uri)
    writer.insert(name, [data.row(100_000, tag=3)])
    writer.start("flush", name)
    # What others flush now they read for it.
    clients[0].insert(name, [data.row(200_000, tag=5)])
    clients[0].flush(name)
    assert [data.count(client, name, "id >= 100000") for client in clients] == [1, 1, 1]
    with pytest.raises(WorkerError, match="storage unavailable.*try again once the store answers"):
        writer.result()
    world.network.heal()
    until("the flush to succeed", lambda: succeeds(writer.flush, name), 60)
    for client in clients:
        assert data.count(client, name, "id >= 100000") == 2
        client.delete(name, ids=[100_000, 200_000])
    clients[1].flush(name)
    assert all(ask(client, name) == want for client in clients)


def succeeds(call, *args) -> bool:
    try:
        call(*args)
        return True
    except Exception:
        return False
