"""What stands in the metadata store and on the storage, for other programs to read: S29 to S34."""

import datetime

import pyarrow
import pytest
from pymilvus import DataType

from support import data
from support.clients import own_client
from support.server import Server

CLUSTER_SETTINGS = {"auto_flush": False, "flush_interval": 1234, "flush_limitition": "8M"}


@pytest.fixture(scope="module")
def written():
    """A server with two collections, stopped; its metadata, and where its files are."""
    server = Server(settings=CLUSTER_SETTINGS)
    client = own_client(server)
    first = data.create(
        client,
        fields=[("title", DataType.VARCHAR, {"max_length": 50}), ("year", DataType.INT16, {"nullable": True})],
    )
    second = data.create(client)
    films = [data.row(key, title=f"film {key}", year=None if key == 5 else 1990 + key, extra=key) for key in range(100)]
    client.insert(first, films)
    client.flush(first)
    client.delete(first, ids=[7, 8])
    client.flush(first)
    client.close()
    yield {"server": server, "meta": server.meta(), "first": first, "second": second, "films": films}
    server.close()


def user_of(meta: dict) -> str:
    assert len(meta["/user_list"]) == 1
    return meta["/user_list"][0]


def files_of(written, kind: str | None = None) -> dict:
    """Path to entry of the first collection's files."""
    prefix = f"/{user_of(written['meta'])}/{written['first']}/data/"
    found = {key.removeprefix(prefix): value for key, value in written["meta"].items() if key.startswith(prefix)}
    return {path: entry for path, entry in found.items() if kind in (None, entry["type"])}


def open_file(written, path: str) -> pyarrow.Table:
    file = written["server"].object_path(user_of(written["meta"]), written["first"], path)
    with pyarrow.memory_map(str(file)) as source:
        return pyarrow.ipc.open_file(source).read_all()


def s29_user_list_is_an_array_of_names(written):
    users = written["meta"]["/user_list"]
    assert isinstance(users, list) and all(isinstance(user, str) for user in users)


def s30_every_data_file_has_a_key_with_type_size_and_node(written):
    files = files_of(written)
    assert {entry["type"] for entry in files.values()} == {"raw_vector", "scalar", "delete_log"}
    user = user_of(written["meta"])
    for path, entry in files.items():
        assert entry["format"] == 1
        assert isinstance(entry["node"], int)
        assert isinstance(entry["cluster"], str) and entry["cluster"]
        object_path = written["server"].object_path(user, written["first"], path)
        assert object_path.stat().st_size == entry["size"], path


def s30_raw_vector_files_open_with_pyarrow(written):
    files = files_of(written, "raw_vector")
    assert len(files) == 1
    table = open_file(written, next(iter(files)))
    assert table.num_rows == 100
    stored = {tuple(round(number, 5) for number in vector) for vector in table.column(0).to_pylist()}
    assert stored == {tuple(round(number, 5) for number in film["vector"]) for film in written["films"]}


def s31_scalar_files_name_their_column_and_their_vector_file(written):
    files = files_of(written, "scalar")
    vector_files = files_of(written, "raw_vector")
    assert {"id", "title", "year"} <= {entry["column"] for entry in files.values()}
    for path, entry in files.items():
        assert entry["vector_file"] in vector_files, path


def s31_scalar_files_open_with_pyarrow_row_aligned(written):
    columns = {entry["column"]: open_file(written, path).column(0).to_pylist() for path, entry in files_of(written, "scalar").items()}
    rows = sorted(zip(columns["id"], columns["title"], columns["year"], strict=True))
    expected = [(film["id"], film["title"], film["year"]) for film in written["films"]]
    assert rows == sorted(expected)
    vector_path = next(iter(files_of(written, "raw_vector")))
    vectors = open_file(written, vector_path).column(0).to_pylist()
    by_key = {film["id"]: film["vector"] for film in written["films"]}
    for key, vector in zip(columns["id"], vectors, strict=True):
        assert vector == pytest.approx(by_key[key]), key


def s33_collection_list_is_newest_first(written):
    records = written["meta"][f"/{user_of(written['meta'])}/collection_list"]
    assert [record["name"] for record in records] == [written["second"], written["first"]]
    for record in records:
        created = datetime.datetime.fromisoformat(record["create_time"])
        age = datetime.datetime.now(datetime.timezone.utc) - created
        assert datetime.timedelta(0) <= age < datetime.timedelta(hours=1)
        assert isinstance(record["index_type"], str) and record["index_type"]


def s33_dropped_collections_leave_the_list(new_server, new_client):
    server = new_server()
    client = new_client(server)
    names = [data.create(client) for _ in range(3)]
    client.drop_collection(names[1])
    meta = server.meta()
    listed = [record["name"] for record in meta[f"/{user_of(meta)}/collection_list"]]
    assert listed == [names[2], names[0]]


def s34_the_cluster_configuration_is_one_json_object(written):
    meta = written["meta"]
    keys = [key for key in meta if key.startswith(f"/{user_of(meta)}/config/")]
    assert len(keys) == 1
    config = meta[keys[0]]
    assert config["auto_flush"] is False
    assert config["flush_interval"] == 1234
    assert config["flush_limitition"] == "8M"
    assert config["num_nodes"] == 1 and config["num_replicas"] == 0 and config["sync_level"] == 0
