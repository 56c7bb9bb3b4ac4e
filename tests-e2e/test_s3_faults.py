"""An S3 server that is overloaded, loses connections, hangs or no longer knows its client, under a cluster that is in use."""

import pytest

from support import data
from support.actors import Load
from support.s3 import on_s3
from support.s3_proxy import DENIED, EXPIRED, SLOW_DOWN
from support.wait import until
from support.worker import WorkerError

# Nodes fetch what they read from S3 themselves.
UNMERGED = {"merge.enabled": False}


@pytest.fixture
def storage(s3_proxy, s3) -> dict:
    return on_s3(s3, endpoint=s3_proxy.endpoint)


@pytest.fixture
def direct(s3, storage) -> dict:
    """The same storage, around the proxy: settings for a node."""
    return {"storage.endpoint": s3["ENDPOINT"]}


@pytest.mark.parametrize("fault", ["slow down", "reset"])
def test_a_share_of_requests_that_fail_is_not_noticed(new_node, new_master, new_client, s3_proxy, fault):
    nodes = [new_node(number) for number in (1, 2, 3)]
    client = new_client(nodes[0])
    load = Load([data.create(client), data.create(client)])
    load.write(nodes[0].address, new_master().address)
    load.read(nodes[1].address, nodes[2].address)
    load.go_on()
    if fault == "slow down":
        s3_proxy.answer(SLOW_DOWN, every=3)
    else:
        s3_proxy.reset(every=3)
    load.go_on(times=3)
    assert s3_proxy.failed > 10
    s3_proxy.recover()
    load.go_on()
    load.check(*(node.address for node in nodes))
    assert load.failures() == []


def test_an_overload_that_lasts_fails_the_flush_and_keeps_the_block(new_node, new_client, new_worker, s3_proxy, direct):
    """All others go on."""
    nodes = [new_node(1, settings=UNMERGED), new_node(2, settings=UNMERGED | direct)]
    clients = [new_client(node) for node in nodes]
    name = written(clients)
    writer = new_worker(nodes[0].uri)
    writer.insert(name, data.rows(range(100, 110)))
    writer.delete(name, ids=[3])
    s3_proxy.answer(SLOW_DOWN)
    writer.start("flush", name)
    clients[1].insert(name, data.rows(range(200, 210)))
    clients[1].flush(name)
    # A node without storage answers, too: what it never read the other one reads for it.
    assert data.keys(clients[0], name) == [*range(20), *range(200, 210)]
    with pytest.raises(WorkerError, match="storage unavailable.*503.*SlowDown.*try again once the store answers") as raised:
        writer.result()
    assert name in raised.value.message, "the error names the file"
    s3_proxy.recover()
    writer.flush(name)
    assert data.count(clients[1], name) == 39


@pytest.mark.parametrize("error", [EXPIRED, DENIED], ids=["expired", "denied"])
def test_credentials_that_no_longer_do_are_told_of_at_once(new_node, new_client, s3_proxy, direct, error):
    nodes = [new_node(1, settings=UNMERGED), new_node(2, settings=UNMERGED | direct)]
    clients = [new_client(node) for node in nodes]
    name = written(clients)
    clients[0].insert(name, data.rows(range(100, 110)))
    s3_proxy.answer(error)
    with pytest.raises(Exception, match=f"storage access denied.*{error[1]}.*check credentials and permissions") as raised:
        clients[0].flush(name)
    assert name in str(raised.value), "the error names the file"
    # Nobody asks again and again what is refused: a few files, each once, and the question whether it is ready.
    assert s3_proxy.failed < 10
    assert "credentials" in nodes[0].get("/readyz")[1]
    # What it cannot read the other one reads for it.
    clients[1].insert(name, data.rows(range(200, 210)))
    clients[1].flush(name)
    for client in clients:
        assert data.keys(client, name) == [*range(20), *range(200, 210)]
    # Somebody renews them.
    s3_proxy.recover()
    clients[0].flush(name)
    for client in clients:
        assert data.count(client, name) == 40
    until("the node to be ready again", lambda: nodes[0].get("/readyz")[0] == 200)


def test_a_store_that_hangs_is_given_up(new_node, new_client, new_worker, s3_proxy, direct):
    nodes = [new_node(1, settings=UNMERGED), new_node(2, settings=UNMERGED | direct)]
    clients = [new_client(node) for node in nodes]
    name = written(clients)
    writer = new_worker(nodes[0].uri)
    writer.insert(name, data.rows(range(100, 110)))
    s3_proxy.hang()
    writer.start("flush", name)
    until("the flush to hang", lambda: s3_proxy.failed > 0)
    clients[1].insert(name, data.rows(range(200, 210)))
    clients[1].flush(name)
    # What the node would have to fetch now the other one reads for it.
    for client in clients:
        assert data.keys(client, name) == [*range(20), *range(200, 210)]
    with pytest.raises(WorkerError, match="storage unavailable.*try again once the store answers") as raised:
        writer.result(timeout_s=120)
    assert name in raised.value.message, "the error names the file"
    s3_proxy.recover()
    writer.flush(name)
    assert data.count(clients[1], name) == 40


def written(clients) -> str:
    """A collection to which each client has added ten rows."""
    name = data.create(clients[0])
    for number, client in enumerate(clients):
        client.insert(name, data.rows(range(10 * number, 10 * number + 10)))
        client.flush(name)
    for client in clients:
        assert data.keys(client, name) == list(range(20))
    return name
