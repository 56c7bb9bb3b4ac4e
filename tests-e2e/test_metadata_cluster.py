"""What stands in etcd and on S3 when clusters run over them: S29 to S34, read with etcdctl and with an S3 client of another kind
than the server's."""

import datetime
import json
import zlib

import pytest
from pymilvus import DataType

from support import data
from support.clients import own_client
from support.etcd import Etcd
from support.node import Node
from support.objects import Objects
from support.s3 import on_s3
from support.server import run_binary
from support.wait import until

ROWS = 50
SETTINGS = {"merge.enabled": False, "gc.enabled": False, "gc.retention": "0s"}
CLUSTER_SETTINGS = {"flush_interval": 1234, "flush_limitition": "8M"}
# Nodes by cluster, number and user; each inserts keys of its own.
NODES = [("c1", 1, "alice"), ("c1", 2, "alice"), ("c2", 1, "alice"), ("c3", 1, "bob")]
FIELDS = [
    ("title", DataType.VARCHAR, {"max_length": 50}),
    ("year", DataType.INT16, {"nullable": True}),
    ("image", DataType.FLOAT_VECTOR, {"dim": 3}),
]
# What transactions compare by value, so bare numbers and no JSON; the architecture document names them.
BARE = (".idfloor", ".horizon")


def rows_of(number: int) -> list[dict]:
    return [
        data.row(key, title=f"film {key}", year=key % 100 if key % 7 else None, image=data.vector(key, 3), more=key)
        for key in range(number * 1000, number * 1000 + ROWS)
    ]


class World:
    """Two clusters of alice and one of bob over one etcd and one bucket."""

    def __init__(self, s3: dict):
        self.etcd = Etcd()
        storage = on_s3(s3)
        self.objects = Objects(s3, storage)
        self.nodes, self.clients = [], []
        for cluster, number, user in NODES:
            settings = SETTINGS | CLUSTER_SETTINGS if number == 1 else SETTINGS
            self.nodes.append(Node(number, self.etcd, storage, cluster=cluster, user=user, settings=settings))
            self.clients.append(own_client(self.nodes[-1]))
        for client in (self.clients[0], self.clients[3]):
            data.create(client, "films", fields=FIELDS)
            data.add_index(client, "films", "image", "IP", index_type="HNSW")
        for number, client in enumerate(self.clients):
            client.insert("films", rows_of(number))
            client.flush("films")
        # One delete log over the fragments of three nodes.
        self.clients[2].delete("films", filter="id % 10 == 3")
        self.clients[2].flush("films")
        data.create(self.clients[1], "gone")
        self.clients[1].insert("gone", data.rows(range(5)))
        self.clients[1].flush("gone")
        self.clients[1].drop_collection("gone")
        data.create(self.clients[1], "newest")
        # What was dropped is collected, so that only what is in use is there.
        until("the dropped collection to be collected", lambda: self.collect() == 0, timeout_s=60)

    def collect(self) -> int:
        """Collects on every node; tombstones left."""
        reports = [self.admin(node, "gc") for node in self.nodes]
        return sum(report["standing"]["tombstones"] for report in reports)

    def admin(self, node, *command):
        done = run_binary("admin", *command, "--address", f"127.0.0.1:{node.http_port}", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def files(self, user: str, collection: str, *kinds: str) -> dict[str, dict]:
        """Path below the collection's data folder to entry."""
        prefix = f"/{user}/{collection}/data/"
        found = {key.removeprefix(prefix): value for key, value in self.etcd.get_all().items() if key.startswith(prefix)}
        return {path: entry for path, entry in found.items() if not kinds or entry["type"] in kinds}

    def column(self, user: str, collection: str, path: str) -> list:
        return self.objects.table(f"{user}/{collection}/data/{path}").column(0).to_pylist()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for node in self.nodes:
            node.close()
        self.etcd.close()


@pytest.fixture(scope="module")
def world(s3):
    made = World(s3)
    yield made
    made.close()


def folder(path: str) -> str:
    return path.split("/", maxsplit=1)[0]


def check_files(world, user: str) -> None:
    """Every entry has its object and every object its entry, with the size and the checksum that the entry says."""
    sizes = {path: size for path, size in world.objects.sizes().items() if path.startswith(f"{user}/")}
    keys = world.etcd.get_all()
    entries = {key[1:]: entry for key, entry in keys.items() if key.startswith(f"/{user}/") and "/data/" in key}
    assert {path: entry["size"] for path, entry in entries.items()} == sizes
    assert entries
    for path, entry in entries.items():
        assert zlib.crc32(world.objects.read(path)) == entry["crc32"], path


def s29_user_list_is_an_array_of_the_names(world):
    assert world.etcd.get_all()["/user_list"] == ["alice", "bob"]


def test_every_key_is_readable_json(world):
    for key, value in world.etcd.get_all().items():
        if key.endswith(BARE):
            assert isinstance(value, str) and value.replace(" ", "").isdigit(), key
        else:
            assert not isinstance(value, str), f"{key} is no JSON: {value}"
        assert key == "/user_list" or key.split("/")[1] in ("alice", "bob"), key


def s30_every_file_has_a_key_with_its_type_its_size_and_who_inserted_it(world):
    for user in ("alice", "bob"):
        check_files(world, user)
    inserted = {}
    for user in ("alice", "bob"):
        files = world.files(user, "films")
        expected = {"raw_vector", "scalar"} | ({"delete_log"} if user == "alice" else set())
        assert {entry["type"] for entry in files.values()} == expected
        assert all(entry["format"] == 1 for entry in files.values())
        # Who inserted a fragment is known by the keys in it.
        for path, entry in files.items():
            if entry.get("column") != "id":
                continue
            number = world.column(user, "films", path)[0] // 1000
            alike = [other for name, other in files.items() if folder(name) == folder(path)]
            assert {(other["cluster"], other["node"], user) for other in alike} == {NODES[number]}
            inserted[number] = len(alike)
    # Two vectors, the key, two columns and the dynamic one.
    assert inserted == {number: 6 for number in range(len(NODES))}
    (log,) = world.files("alice", "films", "delete_log").values()
    assert (log["cluster"], log["node"]) == NODES[2][:2]


def s30_the_raw_vector_files_that_rows_were_deleted_of_name_the_delete_log(world):
    ((path, log),) = world.files("alice", "films", "delete_log").items()
    vectors = world.files("alice", "films", "raw_vector")
    about = {name for name, entry in vectors.items() if entry.get("delete_log") == path}
    # Of each of alice's fragments the file of the first vector.
    assert {vectors[name]["column"] for name in about} == {"vector"} and len(about) == 3
    deleted = [key for number in range(3) for key in range(number * 1000, number * 1000 + ROWS) if key % 10 == 3]
    assert sum(vectors[name]["deleted"] for name in about) == log["rows"] == len(deleted)


def s31_a_scalar_file_names_its_column_and_the_raw_vector_file_it_belongs_to(world):
    for number, (_, _, user) in enumerate(NODES):
        files = world.files(user, "films")
        ids = next(
            path for path, entry in files.items()
            if entry.get("column") == "id" and world.column(user, "films", path)[0] // 1000 == number
        )
        here = {path: entry for path, entry in files.items() if folder(path) == folder(ids)}
        columns = {entry["column"]: path for path, entry in here.items()}
        anchors = {entry["vector_file"] for entry in here.values() if entry["type"] == "scalar"}
        assert len(anchors) == 1 and files[anchors.pop()]["type"] == "raw_vector"
        expected = rows_of(number)
        keys = world.column(user, "films", columns["id"])
        assert sorted(keys) == [row["id"] for row in expected]
        # Row by row the same rows: of every file of the fragment.
        by_key = {row["id"]: row for row in expected}
        for name in ("title", "year"):
            assert world.column(user, "films", columns[name]) == [by_key[key][name] for key in keys], name
        for name in ("vector", "image"):
            for key, vector in zip(keys, world.column(user, "films", columns[name]), strict=True):
                assert vector == pytest.approx(by_key[key][name]), (name, key)


def s33_collection_list_has_name_time_and_index_newest_first(world):
    keys = world.etcd.get_all()
    listed = keys["/alice/collection_list"]
    assert [(record["name"], record["index_type"]) for record in listed] == [("newest", "AUTOINDEX"), ("films", "AUTOINDEX")]
    assert [record["name"] for record in keys["/bob/collection_list"]] == ["films"]
    times = [datetime.datetime.fromisoformat(record["create_time"]) for record in listed]
    assert times == sorted(times, reverse=True)
    assert all(time.utcoffset() == datetime.timedelta(0) for time in times)
    age = datetime.datetime.now(datetime.timezone.utc) - times[-1]
    assert datetime.timedelta(0) <= age < datetime.timedelta(hours=1)


def s34_each_cluster_has_its_configuration_with_the_keys_as_they_are_named(world):
    keys = world.etcd.get_all()
    configs = {key: value for key, value in keys.items() if "/config/" in key}
    assert set(configs) == {"/alice/config/c1", "/alice/config/c2", "/bob/config/c3"}
    for key, config in configs.items():
        assert config == {
            "format": 1, "auto_flush": False, "flush_interval": 1234, "flush_limitition": "8M",
            "num_nodes": 2 if key.endswith("c1") else 1, "num_replicas": 0, "sync_level": 0, "ip_whitelist": [],
            "master_address": "", "high_water_level": 0.6,
            "master_heart_beat_interval": 1000, "time_out_on_heart_beat": 3,
        }, key


def s30_after_merging_the_same_holds(world):
    """Last, as it changes what is there."""
    counts = [data.count(client, "films") for client in world.clients]

    def merged() -> bool:
        # Each tells that it writes nothing older.
        world.collect()
        world.admin(world.nodes[1], "merge")
        return len(world.admin(world.nodes[0], "fragments", "--collection", "films")) == 1

    until("the fragments to be merged", merged, timeout_s=60)
    until("what was replaced to be collected", lambda: world.collect() == 0, timeout_s=60)
    for user in ("alice", "bob"):
        check_files(world, user)
    vectors = world.files("alice", "films", "raw_vector")
    assert len(vectors) == 2 and {(entry["cluster"], entry["node"]) for entry in vectors.values()} == {("c1", 2)}
    # The mark of the store, and one of each user, and nothing else.
    others = {path for path in world.objects.sizes() if "/" not in path}
    assert others == {".redkite-store", ".redkite-user-alice", ".redkite-user-bob"}
    assert [data.count(client, "films") for client in world.clients] == counts
