"""Data that becomes visible by itself: S15 to S18."""

import pytest

from support import data
from support.wait import pause, until

NEVER_MS = 2_000_000_000


def big_rows(keys, dim: int) -> list[dict]:
    """Rows of about `4 * dim` bytes each."""
    return [{"id": key, "vector": data.vector(key, dim)} for key in keys]


def s15_by_default_nothing_is_visible_without_a_flush(new_server, new_client):
    server = new_server(settings={"flush_interval": 1, "flush_limitition": "1K"})
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows(range(1000)))
    pause(0.3)
    assert data.count(client, name) == 0
    client.flush(name)
    assert data.count(client, name) == 1000


def s15_auto_flush_can_be_set_for_one_collection(server, client):
    manual = data.create(client)
    automatic = data.create(client, properties={"auto_flush": "true", "flush_interval": "0"})
    client.insert(automatic, data.rows([1]))
    client.insert(manual, data.rows([1]))
    assert data.keys(client, automatic) == [1]
    assert data.keys(client, manual) == []


def s15_auto_flush_can_be_turned_on_and_off_for_a_collection_that_exists(client, collection):
    client.insert(collection, data.rows([1]))
    assert data.keys(client, collection) == []
    client.flush(collection)
    client.alter_collection_properties(collection, {"auto_flush": "true", "flush_interval": "0"})
    client.insert(collection, data.rows([2]))
    client.delete(collection, ids=[1])
    assert data.keys(client, collection) == [2]
    client.drop_collection_properties(collection, ["auto_flush", "flush_interval"])
    client.insert(collection, data.rows([3]))
    assert data.keys(client, collection) == [2]
    client.flush(collection)
    assert data.keys(client, collection) == [2, 3]


def s16_data_becomes_visible_when_the_interval_has_passed(new_server, new_client):
    server = new_server(settings={"auto_flush": True, "flush_interval": 200})
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows([1, 2]))
    until("the rows to appear", lambda: data.keys(client, name) == [1, 2])
    client.delete(name, ids=[1])
    until("the row to go", lambda: data.keys(client, name) == [2])


def s16_not_before_the_interval_has_passed(new_server, new_client):
    server = new_server(settings={"auto_flush": True, "flush_interval": NEVER_MS})
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows([1]))
    pause(0.3)
    assert data.count(client, name) == 0
    # The client may still flush by itself.
    client.flush(name)
    assert data.count(client, name) == 1


def s16_with_interval_0_every_write_is_committed_before_its_answer(new_server, new_client):
    server = new_server(settings={"auto_flush": True, "flush_interval": 0})
    client = new_client(server)
    name = data.create(client)
    for key in range(10):
        client.insert(name, data.rows([key]))
        assert data.count(client, name) == key + 1
    client.delete(name, ids=[3])
    client.upsert(name, [data.row(4, tag="new")])
    assert data.count(client, name) == 9
    assert client.get(name, ids=[4])[0]["tag"] == "new"
    server.restart()
    assert data.count(new_client(server), name) == 9


@pytest.mark.parametrize("key", ["flush_limitition", "flush_limitation"])
def s17_data_becomes_visible_when_the_limit_is_exceeded(new_server, new_client, key):
    server = new_server(settings={"auto_flush": True, "flush_interval": NEVER_MS, key: "64K"})
    client = new_client(server)
    name = data.create(client, dim=256)
    client.insert(name, big_rows(range(10), 256))
    pause(0.2)
    assert data.count(client, name) == 0, "10 KB are below the limit"
    client.insert(name, big_rows(range(10, 110), 256))
    until("the rows to appear", lambda: data.count(client, name) == 110)


def s17_an_automatic_flush_never_cuts_a_request(new_server, new_client, new_worker):
    server = new_server(settings={"auto_flush": True, "flush_interval": 1, "flush_limitition": "16K"})
    client = new_client(server)
    name = data.create(client, dim=64)
    writer = new_worker(server.uri)
    size = 400
    for request in range(5):
        writer.start("insert", name, big_rows(range(request * size, (request + 1) * size), 64))
        done = (request + 1) * size

        def seen() -> bool:
            found = data.count(client, name)
            assert found % size == 0, f"{found} rows: a part of a request of {size}"
            return found == done

        until("the whole request to appear", seen)
        writer.result()


def s18_an_automatic_flush_that_fails_loses_the_data_logs_it_and_counts_it(new_server, new_client, flush_failpoint):
    server = new_server(settings={"auto_flush": True, "flush_interval": 50})
    server.restart(env={"FAILPOINTS": f"{flush_failpoint}=1*return"})
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows([1, 2]))
    failures = "^redkite_auto_flush_failures_total$"
    until("the failure to be counted", lambda: server.metric(failures) == 1)
    (line,) = [line for line in server.log().splitlines() if "an automatic flush failed; its operations are lost" in line]
    for part in ("ERROR", f"failpoint {flush_failpoint}", 'why="flush_interval"', " ops=1 ", " rows=2"):
        assert part in line, line
    # The client is told nothing. The failpoint strikes once: what comes next is stored, what was lost stays lost.
    client.insert(name, data.rows([3]))
    until("the third row to appear", lambda: data.keys(client, name) == [3])
    client.flush(name)
    assert data.keys(client, name) == [3]
    assert server.metric(failures) == 1


def s18_with_interval_0_the_write_itself_fails(new_server, new_client, flush_failpoint):
    server = new_server(settings={"auto_flush": True, "flush_interval": 0})
    server.restart(env={"FAILPOINTS": f"{flush_failpoint}=1*return"})
    client = new_client(server)
    name = data.create(client)
    with pytest.raises(Exception):
        client.insert(name, data.rows([1]), timeout=5)
    client.insert(name, data.rows([2]))
    assert data.keys(client, name) == [2]
