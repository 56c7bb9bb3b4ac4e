"""Every field type, as a client writes it and reads it back."""

import json
import math

import ml_dtypes
import numpy
import pytest
from pymilvus import DataType, MilvusClient

from support import data

pytestmark = pytest.mark.compat

BIG = 2**53 + 1


def make(client, fields, *, key=("id", DataType.INT64, {}), auto_id=False, dynamic=False, vector=True) -> str:
    """A collection with these fields `(name, type, options)` and an index on every vector field."""
    name = data.fresh("types")
    schema = MilvusClient.create_schema(auto_id=auto_id, enable_dynamic_field=dynamic)
    schema.add_field(key[0], key[1], is_primary=True, **key[2])
    if vector:
        fields = [("vector", DataType.FLOAT_VECTOR, {"dim": 2}), *fields]
    params = MilvusClient.prepare_index_params()
    for field, kind, options in fields:
        schema.add_field(field, kind, **options)
        if "dim" in options:
            metric = "HAMMING" if kind == DataType.BINARY_VECTOR else "L2"
            params.add_index(field, index_type="AUTOINDEX", metric_type=metric)
    client.create_collection(name, schema=schema)
    client.create_index(name, params, sync=False)
    return name


def round_trip(client, name: str, rows: list[dict]) -> list[dict]:
    """Inserts, flushes and reads all fields back, in key order."""
    client.insert(name, rows)
    client.flush(name)
    found = client.query(name, filter="id >= 0", output_fields=["*"])
    return sorted(found, key=lambda row: row["id"])


SCALARS = [
    ("flag", DataType.BOOL, {}, [True, False, True]),
    ("tiny", DataType.INT8, {}, [-128, 0, 127]),
    ("small", DataType.INT16, {}, [-32768, 0, 32767]),
    ("medium", DataType.INT32, {}, [-(2**31), 0, 2**31 - 1]),
    ("large", DataType.INT64, {}, [-(2**63), BIG, 2**63 - 1]),
    ("single", DataType.FLOAT, {}, [-1.5, 0.0, 3.4028234663852886e38]),
    ("double", DataType.DOUBLE, {}, [-1.1, 0.0, 1.7976931348623157e308]),
    ("text", DataType.VARCHAR, {"max_length": 40}, ["", "Grüße, 世界 🌍", "x" * 40]),
]


def test_scalars(client):
    name = make(client, [(field, kind, options) for field, kind, options, _ in SCALARS])
    rows = [
        {"id": n, "vector": [n, 0.5], **{field: values[n] for field, _, _, values in SCALARS}} for n in range(3)
    ]
    assert round_trip(client, name, rows) == rows
    # The same through a search, for the rows it hits.
    hits = client.search(name, [[1.0, 0.5]], limit=3, anns_field="vector", output_fields=["*"])[0]
    for hit in hits:
        expected = {key: value for key, value in rows[hit["id"]].items()}
        assert {**hit["entity"], "id": hit["id"]} == expected


def test_null_and_default_values(client):
    fields = [(field, kind, {**options, "nullable": True}) for field, kind, options, _ in SCALARS]
    fields += [
        ("rating", DataType.INT32, {"default_value": 7}),
        ("word", DataType.VARCHAR, {"max_length": 10, "default_value": "none", "nullable": True}),
        ("tags", DataType.ARRAY, {"element_type": DataType.INT64, "max_capacity": 4, "nullable": True}),
        ("doc", DataType.JSON, {"nullable": True}),
    ]
    name = make(client, fields)
    full = {field: values[0] for field, _, _, values in SCALARS}
    rows = [
        {"id": 0, "vector": [0, 0], **full, "rating": 1, "word": "one", "tags": [1, 2], "doc": {"a": 1}},
        {"id": 1, "vector": [0, 1], **dict.fromkeys(full), "word": None, "tags": None, "doc": None},
        {"id": 2, "vector": [0, 2]},
    ]
    nothing = {**dict.fromkeys(full), "rating": 7, "tags": None, "doc": None, "word": "none"}
    expected = [rows[0], {"id": 1, "vector": [0, 1], **nothing}, {"id": 2, "vector": [0, 2], **nothing}]
    found = round_trip(client, name, rows)
    assert found == expected
    assert data.keys(client, name, "flag is null") == [1, 2]
    assert data.keys(client, name, "text is not null") == [0]
    # NULL is neither equal nor unequal to anything.
    assert data.keys(client, name, "tiny != 5") == [0]


def test_arrays(client):
    elements = [
        (DataType.BOOL, {}, [True, False]),
        (DataType.INT8, {}, [-128, 127]),
        (DataType.INT16, {}, [-1, 300]),
        (DataType.INT32, {}, [2**31 - 1]),
        (DataType.INT64, {}, [BIG, -(2**63)]),
        (DataType.FLOAT, {}, [0.5, -2.25]),
        (DataType.DOUBLE, {}, [1.1, 1e300]),
        (DataType.VARCHAR, {"max_length": 20}, ["a", "", "ü"]),
    ]
    fields = [
        (f"a{n}", DataType.ARRAY, {"element_type": kind, "max_capacity": 8, **options})
        for n, (kind, options, _) in enumerate(elements)
    ]
    name = make(client, fields)
    rows = [
        {"id": 0, "vector": [0, 0], **{f"a{n}": values for n, (_, _, values) in enumerate(elements)}},
        {"id": 1, "vector": [0, 1], **{f"a{n}": [] for n in range(len(elements))}},
    ]
    found = round_trip(client, name, rows)
    assert [{key: list(value) if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") and not isinstance(value, str)
             else value for key, value in row.items()} for row in found] == rows
    with pytest.raises(Exception, match="(?i)capacity|exceeds"):
        client.insert(name, [{**rows[0], "id": 3, "a0": [True] * 9}])


DOCUMENTS = [
    {"a": 1, "b": [1, 2.5, "x", None, True], "c": {"d": {"e": "deep"}}},
    {},
    {"text": "Grüße \"quoted\" \\ \n 世界", "big": BIG, "float": 1e-10, "empty": "", "none": None},
]


def test_json(client):
    name = make(client, [("doc", DataType.JSON, {})])
    rows = [{"id": n, "vector": [n, 0], "doc": document} for n, document in enumerate(DOCUMENTS)]
    found = round_trip(client, name, rows)
    stored = [json.loads(row["doc"]) if isinstance(row["doc"], str) else row["doc"] for row in found]
    assert stored == DOCUMENTS
    assert data.keys(client, name, 'doc["c"]["d"]["e"] == "deep"') == [0]
    assert data.keys(client, name, f'doc["big"] == {BIG}') == [2]
    assert data.keys(client, name, 'doc["b"][0] == 1') == [0]


def test_dynamic_field(client):
    name = make(client, [], dynamic=True)
    rows = [
        {"id": 0, "vector": [0, 0], "color": "red", "size": 3},
        {"id": 1, "vector": [0, 1], "nested": {"list": [1, 2]}, "nothing": None},
        {"id": 2, "vector": [0, 2]},
    ]
    assert round_trip(client, name, rows) == rows
    assert data.keys(client, name, "size >= 3") == [0]
    assert data.keys(client, name, 'color == "red"') == [0]
    assert data.keys(client, name, 'nested["list"][1] == 2') == [1]
    picked = client.query(name, filter="id == 0", output_fields=["color"])
    assert [dict(row) for row in picked] == [{"id": 0, "color": "red"}]
    hit = client.search(name, [[0, 0]], limit=1, anns_field="vector", output_fields=["color", "size"])[0][0]
    assert hit["entity"] == {"color": "red", "size": 3}


def test_automatic_keys(client):
    for key, options in ((DataType.INT64, {}), (DataType.VARCHAR, {"max_length": 40})):
        name = make(client, [], key=("id", key, options), auto_id=True)
        ids = list(client.insert(name, [{"vector": [n, 0]} for n in range(100)])["ids"])
        more = list(client.insert(name, [{"vector": [n, 0]} for n in range(100, 200)])["ids"])
        client.flush(name)
        assert len(set(ids + more)) == 200
        assert all(isinstance(one, int if key == DataType.INT64 else str) for one in ids)
        got = client.get(name, ids=[ids[42]], output_fields=["vector"])
        assert got[0]["vector"] == [42, 0]


def vector_bytes(value) -> bytes:
    """A vector as a client handed it out, as bytes."""
    if isinstance(value, (list, tuple)) and len(value) == 1 and isinstance(value[0], bytes):
        return value[0]
    return value if isinstance(value, bytes) else numpy.asarray(value).tobytes()


VECTORS = [
    ("f16", DataType.FLOAT16_VECTOR, 4, numpy.float16),
    ("bf16", DataType.BFLOAT16_VECTOR, 4, ml_dtypes.bfloat16),
    ("i8", DataType.INT8_VECTOR, 4, numpy.int8),
    ("bits", DataType.BINARY_VECTOR, 16, None),
]


def vectors_of(kind, dim: int, dtype, count: int) -> list:
    random = numpy.random.default_rng(dim)
    if kind == DataType.BINARY_VECTOR:
        return [random.integers(0, 256, dim // 8, dtype=numpy.uint8).tobytes() for _ in range(count)]
    if dtype is numpy.int8:
        return list(random.integers(-128, 128, (count, dim)).astype(numpy.int8))
    return list(random.standard_normal((count, dim)).astype(dtype))


@pytest.mark.parametrize("field, kind, dim, dtype", VECTORS)
def test_vector_types(client, field, kind, dim, dtype):
    name = make(client, [(field, kind, {"dim": dim})], vector=False)
    vectors = vectors_of(kind, dim, dtype, 20)
    client.insert(name, [{"id": n, field: vector} for n, vector in enumerate(vectors)])
    client.flush(name)
    for n in (0, 7, 19):
        hits = client.search(name, [vectors[n]], limit=3, output_fields=[field])[0]
        assert hits[0]["id"] == n and hits[0]["distance"] == 0
        assert vector_bytes(hits[0]["entity"][field]) == vector_bytes(vectors[n])
    found = client.query(name, filter="id in [3, 4]", output_fields=[field])
    assert [vector_bytes(row[field]) for row in sorted(found, key=lambda row: row["id"])] == [
        vector_bytes(vectors[3]), vector_bytes(vectors[4])
    ]


def test_several_vector_fields(client):
    fields = [(field, kind, {"dim": dim}) for field, kind, dim, _ in VECTORS] + [("wide", DataType.FLOAT_VECTOR, {"dim": 8})]
    name = make(client, fields)
    columns = {field: vectors_of(kind, dim, dtype, 30) for field, kind, dim, dtype in VECTORS}
    columns["wide"] = [data.vector(n, 8) for n in range(30)]
    columns["vector"] = [[n, 1] for n in range(30)]
    client.insert(name, [{"id": n, **{field: values[n] for field, values in columns.items()}} for n in range(30)])
    client.flush(name)
    for field, values in columns.items():
        hit = client.search(name, [values[11]], anns_field=field, limit=1)[0][0]
        assert hit["distance"] == pytest.approx(0, abs=1e-6), field
    with pytest.raises(Exception, match="(?i)field|vector"):
        client.search(name, [[1, 1]], limit=1)
    client.delete(name, ids=[11])
    client.flush(name)
    for field, values in columns.items():
        assert 11 not in [hit["id"] for hit in client.search(name, [values[11]], anns_field=field, limit=30)[0]], field


def test_nullable_vectors(client):
    name = make(client, [("maybe", DataType.FLOAT_VECTOR, {"dim": 2, "nullable": True})])
    rows = [
        {"id": 0, "vector": [0, 0], "maybe": [1, 1]},
        {"id": 1, "vector": [0, 1], "maybe": None},
        {"id": 2, "vector": [0, 2], "maybe": [2, 2]},
    ]
    assert round_trip(client, name, rows) == rows
    hits = client.search(name, [[2, 2]], anns_field="maybe", limit=10)[0]
    assert [hit["id"] for hit in hits] == [2, 0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_vectors_that_are_no_numbers_are_refused(client, collection, bad):
    with pytest.raises(Exception, match="(?i)nan|inf|finite|number"):
        client.insert(collection, [{"id": 1, "vector": [0.0, bad, 0.0, 0.0]}])
    client.flush(collection)
    assert data.count(client, collection) == 0


def test_upsert_replaces_the_whole_row(client):
    name = make(client, [("text", DataType.VARCHAR, {"max_length": 10, "nullable": True})], dynamic=True)
    client.insert(name, [{"id": 1, "vector": [1, 1], "text": "old", "extra": 1}, {"id": 2, "vector": [2, 2]}])
    client.flush(name)
    assert client.upsert(name, [{"id": 1, "vector": [5, 5], "other": 2}, {"id": 3, "vector": [3, 3]}])["upsert_count"] == 2
    client.flush(name)
    found = sorted(client.query(name, filter="id >= 0", output_fields=["*"]), key=lambda row: row["id"])
    assert found[0] == {"id": 1, "vector": [5, 5], "text": None, "other": 2}
    assert [row["id"] for row in found] == [1, 2, 3]


def test_all_types_survive_a_restart(new_server, new_client):
    server = new_server()
    client = new_client(server)
    fields = [(field, kind, options) for field, kind, options, _ in SCALARS]
    name = make(client, [*fields, ("doc", DataType.JSON, {}), ("i8", DataType.INT8_VECTOR, {"dim": 4})], dynamic=True)
    rows = [
        {"id": n, "vector": [n, 0], "doc": DOCUMENTS[n], "extra": n, "i8": numpy.array([n, 1, 2, 3], dtype=numpy.int8),
         **{field: values[n] for field, _, _, values in SCALARS}}
        for n in range(3)
    ]
    before = round_trip(client, name, rows)
    server.restart()
    after = new_client(server).query(name, filter="id >= 0", output_fields=["*"])
    assert [str(row) for row in sorted(after, key=lambda row: row["id"])] == [str(row) for row in before]
