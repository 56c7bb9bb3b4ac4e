"""The same server over other stores: S3 for the files, etcd for the metadata. And stores that fail: S05, S29 to S34."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
from pymilvus.grpc_gen import milvus_pb2

from support import data
from support.s3 import on_s3
from support.server import run_binary
from support.wait import until
from support.worker import WorkerError


def work(client) -> str:
    """A bit of everything; returns the collection, which then holds the keys 0 to 99 without 5."""
    name = data.create(client)
    client.insert(name, data.rows(range(100)))
    client.flush(name)
    client.delete(name, ids=[5])
    client.upsert(name, [data.row(6, tag="new")])
    client.flush(name)
    return name


def check(client, name: str) -> None:
    assert data.count(client, name) == 99
    assert client.get(name, ids=[6])[0]["tag"] == "new"
    assert [hit["id"] for hit in client.search(name, [data.vector(50)], limit=1)[0]] == [50]


def s05_data_lies_on_s3(new_server, new_client, s3):
    server = new_server(**on_s3(s3))
    name = work(new_client(server))
    check(new_client(server), name)
    assert server.data_files() == [], "data files lie on S3, not here"
    server.restart()
    check(new_client(server), name)


def s05_data_lies_in_another_directory(new_server, new_client, tmp_path):
    shared = tmp_path / "shared"
    server = new_server(settings={"storage.url": f"file://{shared}"})
    name = work(new_client(server))
    assert any(shared.rglob("*.arrow"))
    assert server.data_files() == []
    server.restart()
    check(new_client(server), name)


def s30_metadata_lies_in_etcd_readable_with_etcdctl(new_server, new_client, etcd):
    server = new_server(settings={"etcd.endpoints": [etcd.endpoint], "flush_interval": 1234})
    name = work(new_client(server))
    keys = etcd.get_all()
    # S29, S33, S34.
    assert keys["/user_list"] == ["default"]
    (record,) = keys["/default/collection_list"]
    assert record["name"] == name and record["index_type"] == "AUTOINDEX" and record["create_time"].endswith("Z")
    (config,) = [value for key, value in keys.items() if key.startswith("/default/config/")]
    assert config["flush_interval"] == 1234 and config["auto_flush"] is False
    # S30, S31.
    prefix = f"/default/{name}/data/"
    entries = {key.removeprefix(prefix): value for key, value in keys.items() if key.startswith(prefix)}
    assert {entry["type"] for entry in entries.values()} == {"raw_vector", "scalar", "delete_log"}
    for path, entry in entries.items():
        assert entry["format"] == 1 and isinstance(entry["node"], int) and entry["cluster"]
        assert server.object_path("default", name, path).stat().st_size == entry["size"]
        if entry["type"] == "scalar":
            assert entry["column"] and entries[entry["vector_file"]]["type"] == "raw_vector"
    server.restart()
    check(new_client(server), name)


def s08_a_returned_flush_is_seen_in_another_cluster(new_server, new_client, etcd, tmp_path):
    """Two clusters of one user over one etcd and one storage, each waiting for nothing but the other's flush."""
    settings = {"etcd.endpoints": [etcd.endpoint], "storage.url": f"file://{tmp_path}/shared"}
    clients = [new_client(new_server(settings={**settings, "cluster_id": cluster})) for cluster in ("one", "two")]
    name = data.create(clients[0])
    for key in range(40):
        writer, reader = clients[key % 2], clients[1 - key % 2]
        writer.insert(name, data.rows([key]))
        writer.delete(name, ids=[key - 10])
        writer.flush(name)
        assert data.keys(reader, name) == list(range(max(0, key - 9), key + 1))


def test_etcd_killed_and_started_again(new_server, new_client, new_raw, etcd):
    server = new_server(settings={"etcd.endpoints": [etcd.endpoint]})
    client, raw = new_client(server), new_raw(server.address)
    name = work(client)
    client.insert(name, data.rows([1000]))
    etcd.kill9()
    with pytest.raises(Exception, match="(?i)metadata|unknown|deadline"):
        client.flush(name, timeout=3)
    # Nobody can know whether the collection still is what it was, so nothing is taken in that could get lost.
    with pytest.raises(Exception):
        client.insert(name, data.rows([1001]), timeout=3)
    health = raw.call("CheckHealth", milvus_pb2.CheckHealthRequest())
    assert not health.isHealthy and "metadata store unavailable" in " ".join(health.reasons), health
    etcd.start()
    # What was not committed is still in the session, or its outcome is settled now; a flush says so in the end.
    until("the flush to succeed", lambda: succeeds(client.flush, name, timeout=10), timeout_s=30)
    assert data.keys(client, name, "id >= 1000") == [1000]
    assert raw.call("CheckHealth", milvus_pb2.CheckHealthRequest()).isHealthy


def test_both_on_other_stores(new_server, new_client, s3, etcd):
    options = on_s3(s3)
    options["settings"]["etcd.endpoints"] = [etcd.endpoint]
    server = new_server(**options)
    name = work(new_client(server))
    server.kill9()
    # Nothing lies here: a server on an empty directory finds everything.
    elsewhere = new_server(**options)
    check(new_client(elsewhere), name)


def test_a_storage_outage_fails_the_flush_and_keeps_the_block(new_server, new_client, new_proxy, s3):
    proxy = new_proxy(int(s3["ENDPOINT"].rsplit(":", 1)[1]))
    options = on_s3(s3, endpoint=f"http://127.0.0.1:{proxy.port}")
    server = new_server(**options)
    client = new_client(server)
    name = work(client)
    check(client, name)
    proxy.refuse(True)
    client.insert(name, data.rows([1000]))
    with pytest.raises(Exception):
        client.flush(name, timeout=5)
    # Queries go on, from what the node has.
    assert data.count(client, name) == 99
    proxy.refuse(False)
    until("the flush to succeed", lambda: succeeds(client.flush, name, timeout=20), timeout_s=60)
    assert data.keys(client, name, "id == 1000") == [1000]


INTERNAL_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

# What the object store does to every request, by the proxy's method and its argument; None makes all well again.
STORAGE_FAULTS = [("answer_instead", INTERNAL_ERROR), ("truncate_answers", 20), ("truncate_requests", 2000)]


@pytest.mark.parametrize("fault, argument", STORAGE_FAULTS, ids=["answers 500", "truncates answers", "truncates requests"])
def test_a_faulty_storage_fails_the_flush_and_keeps_the_block(new_server, new_client, new_proxy, s3, fault, argument):
    proxy = new_proxy(int(s3["ENDPOINT"].rsplit(":", 1)[1]))
    server = new_server(**on_s3(s3, endpoint=f"http://127.0.0.1:{proxy.port}"))
    client = new_client(server)
    name = work(client)
    check(client, name)
    getattr(proxy, fault)(argument)
    client.insert(name, data.rows(range(1000, 1100)))
    with pytest.raises(Exception, match="(?i)storage") as raised:
        client.flush(name, timeout=60)
    assert name in str(raised.value), "the error names the file"
    check(client, name)
    getattr(proxy, fault)(None)
    client.flush(name, timeout=30)
    assert data.count(client, name, "id >= 1000") == 100


def test_a_storage_that_stops_answering_holds_up_the_flush_alone(new_server, new_client, new_worker, new_proxy, s3):
    proxy = new_proxy(int(s3["ENDPOINT"].rsplit(":", 1)[1]))
    server = new_server(**on_s3(s3, endpoint=f"http://127.0.0.1:{proxy.port}"))
    client, writer = new_client(server), new_worker(server.uri)
    name = work(client)
    check(client, name)
    proxy.hold_answers(True)
    writer.insert(name, data.rows(range(1000, 1100)))
    writer.start("flush", name, timeout=60)
    for _ in range(5):
        check(client, name)
    proxy.hold_answers(False)
    writer.result()
    assert data.count(client, name, "id >= 1000") == 100


def test_a_storage_that_never_answers_fails_the_flush_and_keeps_the_block(new_server, new_client, new_worker, new_proxy, s3):
    """Nobody waits for ever: the server gives up after the 20 seconds a request may take."""
    proxy = new_proxy(int(s3["ENDPOINT"].rsplit(":", 1)[1]))
    server = new_server(**on_s3(s3, endpoint=f"http://127.0.0.1:{proxy.port}"))
    client, writer = new_client(server), new_worker(server.uri)
    name = work(client)
    check(client, name)
    writer.insert(name, data.rows(range(1000, 1100)))
    writer.delete(name, ids=[7])
    proxy.hold_answers(True)
    writer.start("flush", name)
    with pytest.raises(WorkerError, match="storage unavailable.*try again once the store answers") as raised:
        writer.result(timeout_s=120)
    assert name in raised.value.message, "the error names the file"
    # Queries go on, from what the node has.
    check(client, name)
    proxy.hold_answers(False)
    writer.flush(name)
    assert data.count(client, name, "id >= 1000") == 100
    assert data.count(client, name) == 99 + 100 - 1


def test_sigterm_during_a_flush_lets_its_client_hear_of_it(new_server, new_client, new_worker, new_proxy, s3):
    """pymilvus's flush asks for the flush's state before it returns, when the server is ending already."""
    proxy = new_proxy(int(s3["ENDPOINT"].rsplit(":", 1)[1]))
    server = new_server(**on_s3(s3, endpoint=f"http://127.0.0.1:{proxy.port}"))
    name = data.create(new_client(server))
    writer, other = new_worker(server.uri), new_worker(server.uri)
    writer.insert(name, data.rows(range(100)))
    other.call("list_collections")
    proxy.hold_answers(True)
    requests = proxy.requests
    writer.start("flush", name, timeout=20)
    until("the flush to reach the storage", lambda: proxy.requests > requests)
    server.process.send_signal(signal.SIGTERM)
    until("the server to be ending", lambda: "shutting down" in server.get("/readyz")[1])
    with pytest.raises(Exception, match="(?i)shutting down|unavailable|connect"):
        other.call("insert", name, data.rows([1000]), timeout=1)
    proxy.hold_answers(False)
    writer.result()
    assert server.wait_exit() == 0, server.log()
    server.start()
    assert data.count(new_client(server), name) == 100


def test_a_storage_that_is_not_there_yet_is_waited_for(new_server, new_client, new_proxy, s3):
    proxy = new_proxy(int(s3["ENDPOINT"].rsplit(":", 1)[1]))
    proxy.refuse(True)
    server = new_server(**on_s3(s3, endpoint=f"http://127.0.0.1:{proxy.port}"), start=False)
    server.launch()
    until("the server to ask the storage", lambda: proxy.refused > 0)
    assert server.alive()
    with pytest.raises(OSError):
        server.get("/healthz")
    proxy.refuse(False)
    server.wait_ready()
    check(new_client(server), work(new_client(server)))


def test_metadata_is_not_served_over_another_storage(new_server, new_client, s3, tmp_path):
    """The identity of the store is in the store and in the metadata; another store, or an empty one, is refused by name."""
    first = on_s3(s3)
    server = new_server(**first)
    name = work(new_client(server))
    identity = server.meta()["/default/.store"]
    assert identity["format"] == 1 and len(identity["id"]) == 32
    other = new_server(**on_s3(s3))
    other.terminate()
    elsewhere = [other.settings, {"storage.url": f"file://{tmp_path}/empty"}]
    for settings in elsewhere:
        args = [arg for key, value in settings.items() for arg in ("--set", f"{key}={value}")]
        result = run_binary(
            "standalone", "--data-dir", server.data_dir, "--listen", "127.0.0.1:0", "--http", "", *args, env=server.env
        )
        assert result.returncode == 1
        assert settings["storage.url"] in result.stderr and "set storage.url to that store again" in result.stderr
    server.start()
    check(new_client(server), name)


@pytest.fixture
def small_disk(tmp_path):
    """Options for a server whose files lie on a file system of 12 MB, which only the server's own mount namespace has; so it
    takes no rights to make it. And a function: the path of that file system as others reach it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    mount = ["sh", "-ec", 'mount -t tmpfs -o size=12m tmpfs "$0"; exec "$@"', str(disk)]
    options = {"settings": {"storage.url": f"file://{disk}/data"}, "wrapper": [*namespace, *mount]}
    return options, lambda server: Path(f"/proc/{server.pid}/root{disk}")


def fill(path: Path) -> None:
    """Writes until the disk is full."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(65536)):
            pass


def test_a_full_disk_fails_the_flush_and_keeps_the_block(new_server, new_client, small_disk):
    options, disk_of = small_disk
    server = new_server(**options)
    client = new_client(server)
    name = work(client)
    ballast = disk_of(server) / "ballast"
    fill(ballast)
    client.insert(name, data.rows(range(1000, 2000)))
    with pytest.raises(Exception, match="(?i)space|full"):
        client.flush(name, timeout=10)
    check(client, name)
    ballast.unlink()
    client.flush(name)
    assert data.count(client, name) == 1099


def test_a_full_disk_under_the_metadata_fails_the_flush_and_keeps_the_block(new_server, new_client, small_disk):
    """The files have room, the transaction has none."""
    options, disk_of = small_disk
    data_dir = options["settings"].pop("storage.url").removeprefix("file://")
    server = new_server(**options, data_dir=data_dir)
    client = new_client(server)
    name = work(client)
    ballast = disk_of(server) / "ballast"
    blocks = 0
    fill(ballast)
    # Room for some blocks' files and transactions, until one of them finds none.
    with open(ballast, "r+b") as file:
        file.truncate(ballast.stat().st_size - 256 * 1024)
    with pytest.raises(Exception, match="(?i)space|full"):
        while blocks < 1000:
            client.insert(name, [data.row(1000 + blocks, text="x" * 30_000)])
            client.flush(name, timeout=10)
            blocks += 1
    check_keys = list(range(1000, 1000 + blocks))
    assert data.keys(client, name, "id >= 1000") == check_keys
    ballast.unlink()
    client.flush(name)
    assert data.keys(client, name, "id >= 1000") == [*check_keys, 1000 + blocks]


def succeeds(call, *args, **kwargs) -> bool:
    try:
        call(*args, **kwargs)
        return True
    except Exception:
        return False
