"""A data directory with something of everything, and what has to be found in it.

Run as a program it makes the directory of a new format with the binary under test:
`python -m support.golden golden/format-N`, once, when the format is released; it is never changed after that."""

import shutil
import sys
from pathlib import Path

import numpy as np
from pymilvus import DataType, MilvusClient

NAME = "everything"
ROWS = 300
DELETED = {5, 17, 250}
UPSERTED = 42


def vector(key: int) -> list[float]:
    return [float(np.cos(key * (place + 1))) for place in range(8)]


def row(key: int) -> dict:
    return {
        "id": key,
        "flag": key % 2 == 0,
        "tiny": key % 100,
        "small": key * 3,
        "whole": key * 1000,
        "single": key / 4,
        "double": key / 8,
        "text": f"text {key}",
        "json": {"k": key, "deep": {"list": [key, "x"]}},
        "tags": [f"t{key % 3}", "all"],
        "maybe": None if key % 5 == 0 else key,
        "vector": vector(key),
        "half": np.array(vector(key), dtype=np.float16),
        "bits": bytes([key % 256, 255 - key % 256]),
        "extra": f"dynamic {key}",
    }


def schema():
    fields = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    fields.add_field("id", DataType.INT64, is_primary=True)
    fields.add_field("flag", DataType.BOOL)
    fields.add_field("tiny", DataType.INT8)
    fields.add_field("small", DataType.INT16)
    fields.add_field("whole", DataType.INT32)
    fields.add_field("single", DataType.FLOAT)
    fields.add_field("double", DataType.DOUBLE)
    fields.add_field("text", DataType.VARCHAR, max_length=64)
    fields.add_field("json", DataType.JSON)
    fields.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=8, max_length=16)
    fields.add_field("maybe", DataType.INT64, nullable=True)
    fields.add_field("vector", DataType.FLOAT_VECTOR, dim=8)
    fields.add_field("half", DataType.FLOAT16_VECTOR, dim=8)
    fields.add_field("bits", DataType.BINARY_VECTOR, dim=16)
    return fields


def fill(client: MilvusClient) -> None:
    """Three fragments, delete logs, an upsert, indexes, and a collection that was dropped and made again."""
    indexes = client.prepare_index_params()
    indexes.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 16})
    indexes.add_index("half", index_type="AUTOINDEX", metric_type="COSINE")
    indexes.add_index("bits", index_type="BIN_FLAT", metric_type="HAMMING")
    client.create_collection(NAME, schema=schema(), index_params=indexes)
    for start in range(0, ROWS, 100):
        client.insert(NAME, [row(key) for key in range(start, start + 100)])
        client.flush(NAME)
    client.delete(NAME, ids=sorted(DELETED))
    client.flush(NAME)
    client.upsert(NAME, [row(UPSERTED) | {"text": "replaced"}])
    client.flush(NAME)
    for round_ in range(2):
        client.create_collection("again", dimension=4)
        client.insert("again", [{"id": round_, "vector": [1.0, 0.0, 0.0, float(round_)]}])
        client.flush("again")
        if round_ == 0:
            client.drop_collection("again")


def check(client: MilvusClient) -> None:
    """Everything is there, and nothing else."""
    assert sorted(client.list_collections()) == ["again", NAME]
    assert client.query(NAME, filter="", output_fields=["count(*)"])[0]["count(*)"] == ROWS - len(DELETED)
    found = {hit["id"]: hit for hit in client.query(NAME, filter="id >= 0", output_fields=["*"])}
    assert set(found) == set(range(ROWS)) - DELETED
    for key, stored in found.items():
        expected = row(key) | ({"text": "replaced"} if key == UPSERTED else {})
        for name in ("flag", "tiny", "small", "whole", "single", "double", "text", "tags", "maybe", "extra"):
            assert stored[name] == expected[name], (key, name)
        assert stored["json"] == expected["json"]
        assert np.allclose(stored["vector"], expected["vector"])
    hits = client.search(NAME, [vector(33)], anns_field="vector", limit=1, output_fields=["text"])[0]
    assert (hits[0]["id"], hits[0]["entity"]["text"]) == (33, "text 33")
    assert hits[0]["distance"] < 1e-6
    assert [hit["id"] for hit in client.query("again", filter="id >= 0")] == [1]
    index = client.describe_index(NAME, "vector")
    assert (index["index_type"], index["metric_type"]) == ("HNSW", "L2")


def main() -> None:
    from support.clients import own_client
    from support.server import Server

    target = Path(sys.argv[1])
    server = Server()
    try:
        fill(own_client(server))
        server.terminate()
        shutil.copytree(server.data_dir, target, ignore=shutil.ignore_patterns("*.lock"))
    finally:
        server.close()


if __name__ == "__main__":
    main()
