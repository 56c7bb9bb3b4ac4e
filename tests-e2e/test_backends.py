"""The same server over other stores: S3 for the files, etcd for the metadata. And stores that fail: S05, S29 to S34."""

import os
import subprocess
import uuid

import pytest

from support import data
from support.etcd import Etcd
from support.wait import until


@pytest.fixture(scope="module")
def s3():
    """Settings and environment for the S3 server of this test run, under a prefix of its own."""
    names = ("ENDPOINT", "BUCKET", "ACCESS_KEY", "SECRET_KEY")
    values = {name: os.environ.get(f"REDKITE_TEST_S3_{name}") for name in names}
    assert all(values.values()), "REDKITE_TEST_S3_* is not set; run `cargo xtask test --only e2e`"
    return values


def on_s3(s3: dict, endpoint: str | None = None) -> dict:
    """Options for `new_server`."""
    return {
        "settings": {
            "storage.url": f"s3://{s3['BUCKET']}/{uuid.uuid4().hex}",
            "storage.endpoint": endpoint or s3["ENDPOINT"],
        },
        "env": {
            "AWS_ACCESS_KEY_ID": s3["ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": s3["SECRET_KEY"],
            "AWS_REGION": "us-east-1",
        },
    }


@pytest.fixture
def etcd():
    running = Etcd()
    yield running
    running.close()


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
    assert any(path.is_file() for path in shared.rglob("*"))
    assert server.data_files() == []
    server.restart()
    check(new_client(server), name)


def s30_metadata_lies_in_etcd_readable_with_etcdctl(new_server, new_client, etcd):
    server = new_server(settings={"etcd.endpoints": [etcd.endpoint]})
    name = work(new_client(server))
    keys = etcd.get_all()
    user = keys["/user_list"][0]
    entries = {key: value for key, value in keys.items() if key.startswith(f"/{user}/{name}/data/")}
    assert {entry["type"] for entry in entries.values()} == {"raw_vector", "scalar", "delete_log"}
    assert [record["name"] for record in keys[f"/{user}/collection_list"]] == [name]
    assert any(key.startswith(f"/{user}/config/") for key in keys)
    server.restart()
    check(new_client(server), name)


def test_etcd_killed_and_started_again(new_server, new_client, etcd):
    server = new_server(settings={"etcd.endpoints": [etcd.endpoint]})
    client = new_client(server)
    name = work(client)
    etcd.kill9()
    client.insert(name, data.rows([1000]))
    with pytest.raises(Exception):
        client.flush(name, timeout=3)
    etcd.start()
    # What was not committed is still in the session, or its outcome is settled now; a flush says so in the end.
    until("the flush to succeed", lambda: succeeds(client.flush, name, timeout=10), timeout_s=30)
    assert data.keys(client, name, "id == 1000") == [1000]


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk_fails_the_flush_and_keeps_the_block(new_server, new_client, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], check=True)
    try:
        server = new_server(settings={"storage.url": f"file://{disk}/data"})
        client = new_client(server)
        name = work(client)
        ballast = disk / "ballast"
        with open(ballast, "wb") as file:
            try:
                while file.write(b"\0" * 65536):
                    file.flush()
            except OSError:
                pass
        client.insert(name, data.rows(range(1000, 2000)))
        with pytest.raises(Exception, match="(?i)space|full|storage"):
            client.flush(name, timeout=10)
        check(client, name)
        ballast.unlink()
        client.flush(name)
        assert data.count(client, name) == 1099
        server.kill9()
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def succeeds(call, *args, **kwargs) -> bool:
    try:
        call(*args, **kwargs)
        return True
    except Exception:
        return False
