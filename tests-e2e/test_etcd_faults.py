"""An etcd that loses its leader, restarts, forgets, fills up, stalls or goes back, under a cluster that is in use."""

import pytest

from support import data
from support.actors import Load
from support.raw import StatusError
from support.server import run_binary
from support.wait import pause, until

# Whatever happens, nobody waits longer for an answer: less than what Raw waits.
BOUND_S = 29

# What a client may be told of while etcd is away: what does not answer, or that nobody knows what became of its flush.
CLEAR = ("metadata", "etcd")


def check_failures(load: Load) -> None:
    """Each was told in time, and said what does not answer."""
    for told, took in load.failures():
        assert took < BOUND_S, (told, took)
        assert any(word in told for word in CLEAR), told


def cluster(new_node, new_master, new_client, nodes: int = 2, **settings):
    """Nodes, a Master, and clients that write and read on each and through the Master."""
    running = [new_node(number, settings=settings) for number in range(1, nodes + 1)]
    master = new_master()
    client = new_client(running[0])
    load = Load([data.create(client), data.create(client)])
    addresses = [server.address for server in [*running, master]]
    load.write(*addresses)
    load.read(*addresses)
    load.go_on()
    return running, master, load


@pytest.mark.parametrize("etcd", ["three members"], indirect=True)
def test_another_member_of_etcd_leads(new_node, new_master, new_client, etcd):
    nodes, _, load = cluster(new_node, new_master, new_client)
    killed = etcd.leader()
    killed.kill9()
    load.go_on()
    killed.start()
    frozen = etcd.leader()
    frozen.pause()
    load.go_on()
    frozen.resume()
    load.go_on()
    load.check(*(node.address for node in nodes))
    check_failures(load)


def test_etcd_is_killed_and_started_again(new_node, new_master, new_client, etcd):
    nodes, master, load = cluster(new_node, new_master, new_client)
    etcd.kill9()
    failed = len(load.failures())
    until("clients to be told", lambda: len(load.failures()) > failed + len(load.actors), 60)
    # Who is alive is heard without it.
    assert master.own("route")["node"] in (1, 2)
    etcd.start()
    load.go_on()
    load.check(*(node.address for node in nodes))
    check_failures(load)


def test_etcd_stalls_for_three_seconds(new_node, new_master, new_client, etcd):
    nodes, master, load = cluster(new_node, new_master, new_client)
    etcd.pause()
    pause(3)
    etcd.resume()
    load.go_on()
    load.check(*(node.address for node in nodes))
    check_failures(load)
    assert master.live_nodes() == [1, 2]


def test_a_node_that_was_cut_off_while_etcd_forgot_what_happened(new_node, new_master, new_client, new_proxy, etcd):
    proxies = [new_proxy(etcd.port), new_proxy(etcd.port)]
    behind = [{"etcd.endpoints": [proxy.uri]} for proxy in proxies]
    nodes = [new_node(1), new_node(2, settings=behind[0])]
    master = new_master(settings=behind[1])
    clients = [new_client(node) for node in nodes]
    gone, name = data.create(clients[0]), data.create(clients[0])
    clients[0].insert(name, data.rows(range(10)))
    clients[0].flush(name)
    assert data.count(clients[1], name) == 10
    for proxy in proxies:
        proxy.refuse(True)
    clients[0].delete(name, ids=[3])
    clients[0].insert(name, data.rows(range(10, 20)))
    clients[0].flush(name)
    clients[0].drop_collection(gone)
    new = data.create(clients[0])
    nodes.append(new_node(3))
    etcd.ctl("compact", str(etcd.revision()))
    with pytest.raises(Exception, match="metadata store unavailable"):
        data.count(clients[1], name)
    for proxy in proxies:
        proxy.refuse(False)
    until("the node to reach etcd again", lambda: answers(data.count, clients[1], name))
    assert data.keys(clients[1], name) == [key for key in range(20) if key != 3]
    assert clients[1].has_collection(new) and not clients[1].has_collection(gone)
    clients[1].insert(name, data.rows([20]))
    clients[1].flush(name)
    assert data.count(clients[0], name) == 20
    # Who joined meanwhile is met.
    until("the Master to meet the third node", lambda: master.live_nodes() == [1, 2, 3])
    # And what is configured is followed.
    changed = run_binary("config", "set", "--master", master.address, "auto_flush=true", "flush_interval=0")
    assert changed.returncode == 0, changed.stderr

    def followed():
        before = data.count(clients[1], name)
        clients[1].insert(name, data.rows([1000 + before]))
        return data.count(clients[1], name) == before + 1

    until("the node to follow the configuration", followed)


QUOTA = "--quota-backend-bytes=6000000"


@pytest.mark.parametrize("etcd", [[QUOTA]], indirect=True, ids=["of 6 MB"])
def test_etcd_is_full(new_node, new_master, new_client, etcd):
    nodes = [new_node(number, settings={"gc.interval": "100ms"}) for number in (1, 2)]
    master = new_master()
    clients = [new_client(node) for node in nodes]
    name = data.create(clients[0])
    clients[0].insert(name, data.rows(range(10)))
    clients[0].flush(name)
    clients[1].insert(name, data.rows(range(10, 20)))
    clients[1].delete(name, ids=[3])
    fill(etcd)
    for call in (clients[1].flush, clients[0].drop_collection):
        with pytest.raises(Exception, match="out of space.*quota.*compact.*defrag.*disarm") as raised:
            call(name)
        assert "no answer" not in str(raised.value)
    with pytest.raises(Exception, match="out of space"):
        data.create(clients[0])
    # Nothing of it is to be seen, and what there is is served, on every node.
    for client in clients:
        assert data.keys(client, name) == list(range(10))
        assert [hit["id"] for hit in client.search(name, [data.vector(7)], limit=1)[0]] == [7]
    assert data.count(new_client(master), name) == 10
    empty(etcd)
    clients[1].flush(name)
    for client in clients:
        assert data.keys(client, name) == [key for key in range(20) if key != 3]
    data.create(clients[0])


def fill(etcd) -> None:
    """Writes until etcd takes no more."""
    value = "x" * 100_000
    for number in range(1000):
        try:
            etcd.ctl("put", f"/ballast/{number}", value)
        except AssertionError as error:
            assert "database space exceeded" in str(error)
            return
    raise AssertionError("etcd does not fill up")


def empty(etcd) -> None:
    """What its documentation says is to be done."""
    etcd.ctl("del", "/ballast/", "--prefix")
    etcd.ctl("compact", str(etcd.revision()))
    etcd.ctl("defrag")
    etcd.ctl("alarm", "disarm")


def test_etcd_is_restored_from_an_old_backup(new_node, new_client, new_raw, etcd, storage):
    settings = {"gc.interval": "100ms", "gc.retention": "0s"}
    nodes = [new_node(number, settings=settings) for number in (1, 2)]
    clients = [new_client(node) for node in nodes]
    name, dropped = data.create(clients[0]), data.create(clients[0])
    for each in (name, dropped):
        clients[0].insert(each, data.rows(range(10)))
        clients[0].flush(each)
    backup = etcd.back_up()
    # Whoever reads the past keeps what is dropped now from being removed; of that the backup knows nothing.
    assert data.count(clients[0], f"{name}@{etcd.revision()}") == 10
    clients[0].insert(name, data.rows(range(10, 20)))
    clients[0].flush(name)
    clients[1].drop_collection(dropped)
    raws = [new_raw(node.address) for node in nodes]
    for key, raw in enumerate(raws):
        raw.insert(name, [100 + key], [data.vector(key)])
        assert raw.count(name) == 20
    etcd.restore(backup)
    for node, raw in zip(nodes, raws):
        until("the node to reach etcd again", lambda raw=raw: wentback(raw, name))
        with pytest.raises(StatusError, match="gone back from revision.*backup.*restart every node"):
            raw.flush(name)
        with pytest.raises(StatusError, match="gone back"):
            raw.insert(name, [200], [data.vector(0)])
        collected = run_binary("admin", "gc", "--address", node.http.removeprefix("http://"))
        assert collected.returncode != 0 and "gone back" in collected.stderr, collected
    for node in nodes:
        node.restart()
    # What the backup has is whole.
    for node in nodes:
        client = new_client(node)
        for each in (name, dropped):
            assert data.keys(client, each) == list(range(10))
    client.insert(name, data.rows([300]))
    client.flush(name)
    assert data.count(new_client(nodes[0]), name) == 11


def wentback(raw, name: str) -> bool:
    try:
        raw.count(name)
    except StatusError as error:
        return "gone back" in str(error)
    raise AssertionError("what etcd has forgotten is served")


def answers(call, *args) -> bool:
    try:
        call(*args)
        return True
    except Exception:
        return False
