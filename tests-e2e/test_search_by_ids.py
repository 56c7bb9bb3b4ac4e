"""Searches for the vectors of rows that are there."""

import numpy
import pytest
from pymilvus import DataType

from support import data


def test_the_nearest_of_rows_that_are_there(client):
    name = data.create(client, key=DataType.VARCHAR)
    client.insert(name, [data.row(f"k{n}") for n in range(60)])
    client.flush(name)
    rows = {row["id"]: row["vector"] for row in client.query(name, filter="id >= ''", output_fields=["vector"])}
    wanted = ["k42", "k7", "k42"]
    by_ids = client.search(name, ids=wanted, limit=5)
    by_vectors = client.search(name, [rows[key] for key in wanted], limit=5)
    assert [[(hit["id"], hit["distance"]) for hit in hits] for hits in by_ids] == [
        [(hit["id"], hit["distance"]) for hit in hits] for hits in by_vectors
    ]
    assert [hits[0]["id"] for hits in by_ids] == wanted
    assert "k42" not in [hit["id"] for hit in client.search(name, ids=["k42"], limit=5, filter="id != 'k42'")[0]]


@pytest.mark.parametrize(
    "kind, dtype",
    [(DataType.FLOAT16_VECTOR, numpy.float16), (DataType.INT8_VECTOR, numpy.int8), (DataType.BINARY_VECTOR, None)],
)
def test_every_kind_of_vector(client, kind, dtype):
    metric, dim = ("HAMMING", 32) if dtype is None else ("L2", 4)
    name = data.create(client, fields=[("other", kind, {"dim": dim})])
    data.add_index(client, name, "other", metric)
    random = numpy.random.default_rng(4)
    values = random.integers(0, 100, (30, 4)).astype(numpy.uint8 if dtype is None else dtype)
    client.insert(name, [data.row(n, other=value.tobytes() if dtype is None else value) for n, value in enumerate(values)])
    client.flush(name)
    found = client.search(name, ids=[3, 29], anns_field="other", limit=1)
    assert [(hits[0]["id"], hits[0]["distance"]) for hits in found] == [(3, 0), (29, 0)]


def test_ids_without_a_vector_are_named(client):
    name = data.create(client, fields=[("maybe", DataType.FLOAT_VECTOR, {"dim": 2, "nullable": True})])
    data.add_index(client, name, "maybe", "L2")
    client.insert(name, [data.row(1, maybe=None), data.row(2, maybe=[1, 2]), data.row(3, maybe=[1, 3]), data.row(4)])
    client.delete(name, ids=[4])
    client.flush(name)
    assert [hit["id"] for hit in client.search(name, ids=[3], anns_field="maybe", limit=3)[0]] == [3, 2]
    for ids in ([2, 77], [4], [1]):
        with pytest.raises(Exception, match=f"id {ids[-1]}\\b") as raised:
            client.search(name, ids=ids, anns_field="maybe", limit=3)
        assert raised.value.code == 1100
    with pytest.raises(Exception) as raised:
        client.search(name, ids=["text"], anns_field="maybe", limit=3)
    assert raised.value.code == 1100
