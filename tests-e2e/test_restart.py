"""Stopping and starting: nothing that was acknowledged is lost, whichever way the server ended."""

import hashlib
import signal

import pytest
from pymilvus import DataType

from support import data
from support.server import run_binary
from support.wait import pause, until


def fill(client) -> str:
    name = data.create(client, fields=[("title", DataType.VARCHAR, {"max_length": 20})])
    client.insert(name, [data.row(key, title=f"t{key}", extra=key) for key in range(500)])
    client.flush(name)
    client.delete(name, ids=[10, 20])
    client.upsert(name, [data.row(30, title="new", extra=-1)])
    client.flush(name)
    return name


def contents(client, name: str) -> list:
    found = client.query(name, filter="id >= 0", output_fields=["*"])
    return sorted((row["id"], row["title"], row["extra"], tuple(row["vector"])) for row in found)


@pytest.mark.parametrize("end", ["kill9", "terminate"])
def test_everything_flushed_is_there_after_a_restart(new_server, new_client, end):
    server = new_server()
    client = new_client(server)
    name = fill(client)
    before = contents(client, name)
    assert len(before) == 498
    client.insert(name, [data.row(1000, title="unflushed", extra=0)])
    getattr(server, end)()
    server.start()
    again = new_client(server)
    assert contents(again, name) == before
    assert [hit["id"] for hit in again.search(name, [data.vector(77)], limit=1)[0]] == [77]
    # The same again on top of it, with what the first start wrote.
    again.insert(name, [data.row(2000, title="later", extra=0)])
    again.flush(name)
    server.restart()
    assert len(contents(new_client(server), name)) == 499


def test_collections_indexes_and_properties_survive(new_server, new_client):
    server = new_server()
    client = new_client(server)
    name = data.create(client, metric="IP", properties={"auto_flush": "true", "flush_interval": "0"})
    released = data.create(client)
    dropped = data.create(client)
    client.release_collection(released)
    client.drop_collection(dropped)
    before = client.describe_collection(name)
    server.restart()
    client = new_client(server)
    assert sorted(client.list_collections()) == sorted([name, released])
    assert client.describe_collection(name) == before
    assert client.describe_index(name, "vector")["metric_type"] == "IP"
    with pytest.raises(Exception) as raised:
        client.search(released, [data.vector(1)])
    assert raised.value.code == 101
    client.insert(name, data.rows([1]))
    assert data.keys(client, name) == [1]


def test_automatic_keys_never_repeat_over_a_restart(new_server, new_client):
    server = new_server()
    client = new_client(server)
    name = data.fresh("automatic")
    client.create_collection(name, dimension=4, auto_id=True)
    seen = set()
    for _ in range(3):
        ids = new_client(server).insert(name, [{"vector": data.vector(n)} for n in range(50)])["ids"]
        assert not seen & set(ids)
        seen |= set(ids)
        server.restart()


def test_sigterm_finishes_running_requests_and_exits_0(new_server, new_client, new_worker):
    server = new_server()
    name = data.create(new_client(server))
    writer = new_worker(server.uri)
    writer.insert(name, data.rows(range(5000)))
    writer.start("flush", name, timeout=20)
    pause(0.01)
    assert server.terminate() == 0, server.log()
    try:
        writer.result()
        acknowledged = True
    except Exception:
        acknowledged = False
    server.start()
    found = data.count(new_client(server), name)
    assert found == 5000 if acknowledged else found in (0, 5000)


def test_sigint_ends_it_in_good_order_too(new_server):
    server = new_server()
    server.process.send_signal(signal.SIGINT)
    assert server.wait_exit() == 0, server.log()


def test_sigterm_with_idle_clients_connected_ends_quickly(new_server, new_client, new_worker):
    server = new_server()
    clients = [new_worker(server.uri) for _ in range(2)]
    for client in clients:
        client.call("list_collections")
    assert server.terminate(timeout_s=10) == 0


def test_a_second_server_on_the_same_directory_is_refused(new_server):
    server = new_server()
    second = run_binary(
        "standalone", "--data-dir", server.data_dir, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", timeout_s=20
    )
    assert second.returncode != 0
    assert "in use" in second.stderr + second.stdout
    assert server.get("/readyz")[0] == 200


def test_a_flipped_bit_is_noticed_and_named(new_server, new_client):
    """In every file a collection has, at several places: a read of everything notices it, and all is well without it."""
    server = new_server()
    client = new_client(server)
    name = data.create(client, dim=64, fields=[("title", DataType.VARCHAR, {"max_length": 20, "nullable": True})])
    client.insert(name, [data.row(key, 64, title=f"t{key}", extra=key) for key in range(200)])
    client.flush(name)
    client.delete(name, ids=[3, 5])
    client.flush(name)
    server.terminate()
    victims = server.data_files()
    assert len(victims) >= 4, victims
    for victim in victims:
        sound = victim.read_bytes()
        for place in (0, len(sound) // 3, len(sound) // 2, len(sound) - 1):
            content = bytearray(sound)
            content[place] ^= 0x10
            victim.write_bytes(content)
            server.start()
            with pytest.raises(Exception, match=victim.name):
                read_everything(new_client(server), name)
            assert server.alive()
            server.terminate()
        victim.write_bytes(sound)
    server.start()
    assert read_everything(new_client(server), name) == 198


def read_everything(client, name: str) -> int:
    """Reads every byte of a collection made with 64 dimensions, by a search, a lookup by key and a query; returns the number
    of rows."""
    client.search(name, [data.vector(1, 64)], limit=10, timeout=10)
    client.get(name, ids=[7], timeout=10)
    return len(client.query(name, filter="id >= 0 and title != ''", output_fields=["*"], timeout=10))


def test_a_missing_file_is_an_error_and_no_empty_answer(new_server, new_client):
    server = new_server()
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows(range(10)))
    client.flush(name)
    server.terminate()
    for path in server.data_files():
        path.unlink()
    server.start()
    with pytest.raises(Exception):
        new_client(server).search(name, [data.vector(1)], limit=10, timeout=10)
    assert server.alive()


def test_a_load_of_a_collection_with_a_missing_file_fails_and_names_it(new_server, new_client):
    server = new_server()
    client = new_client(server)
    released, searchable = data.create(client), data.create(client)
    for name in (released, searchable):
        client.insert(name, data.rows(range(10)))
        client.flush(name)
    client.release_collection(released)
    server.terminate()
    victims = server.data_files()
    assert len(victims) >= 4, victims
    for victim in victims:
        aside = victim.rename(victim.with_suffix(".aside"))
        server.start()
        client = new_client(server)
        (damaged,) = [name for name in (released, searchable) if f"/{name}/" in victim.as_posix()]
        with pytest.raises(Exception, match=victim.name) as raised:
            client.load_collection(damaged, timeout=10)
        assert damaged in str(raised.value) and "missing" in str(raised.value), raised.value
        # What was released stays so.
        assert str(client.get_load_state(released)["state"]) == "NotLoad"
        with pytest.raises(Exception, match="not loaded"):
            client.search(released, [data.vector(1)], timeout=10)
        server.terminate()
        aside.rename(victim)
    server.start()
    client = new_client(server)
    for name in (released, searchable):
        client.load_collection(name)
        assert str(client.get_load_state(name)["state"]) == "Loaded"
        assert [hit["id"] for hit in client.search(name, [data.vector(7)], limit=1)[0]] == [7]


def test_nothing_is_written_by_reading(new_server, new_client):
    server = new_server()
    client = new_client(server)
    name = fill(client)

    def state() -> dict:
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in server.data_files()}

    before = state()
    contents(client, name)
    client.search(name, [data.vector(1)], limit=100)
    server.restart()
    contents(new_client(server), name)
    assert state() == before


def test_it_restarts_with_many_collections(new_server, new_client):
    server = new_server()
    client = new_client(server)
    names = [data.create(client) for _ in range(60)]
    for name in names[::10]:
        client.insert(name, data.rows([1]))
    client.flush_all()
    server.restart()
    client = new_client(server)
    assert sorted(client.list_collections()) == sorted(names)
    until("the data", lambda: all(data.count(client, name) == 1 for name in names[::10]))
