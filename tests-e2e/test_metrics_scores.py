"""Scores against a float64 reference: exact to float32 rounding, in Milvus's conventions."""

import ml_dtypes
import numpy
import pytest
from pymilvus import DataType, MilvusClient

from support import data

ROWS, QUERIES, LIMIT = 400, 5, 25


def reference(metric: str, queries: numpy.ndarray, base: numpy.ndarray) -> numpy.ndarray:
    """Scores [queries x rows] in float64."""
    queries, base = queries.astype(numpy.float64), base.astype(numpy.float64)
    if metric == "L2":
        return ((queries[:, None, :] - base[None, :, :]) ** 2).sum(axis=2)
    products = queries @ base.T
    if metric == "IP":
        return products
    norms = numpy.linalg.norm(queries, axis=1)[:, None] * numpy.linalg.norm(base, axis=1)[None, :]
    return numpy.divide(products, norms, out=numpy.zeros_like(products), where=norms > 0)


def binary_reference(metric: str, queries: numpy.ndarray, base: numpy.ndarray) -> numpy.ndarray:
    """Scores [queries x rows] of bits [n x dim]."""
    queries, base = queries[:, None, :].astype(bool), base[None, :, :].astype(bool)
    if metric == "HAMMING":
        return (queries ^ base).sum(axis=2).astype(numpy.float64)
    union = (queries | base).sum(axis=2)
    common = (queries & base).sum(axis=2)
    return numpy.where(union > 0, 1 - common / numpy.maximum(union, 1), 0.0)


def make(client, kind, dim: int, metric: str, vectors) -> str:
    name = data.fresh("metric")
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", kind, dim=dim)
    client.create_collection(name, schema=schema)
    data.add_index(client, name, "vector", metric)
    # Two files, so that merging results is part of it.
    rows = [{"id": n, "vector": vector} for n, vector in enumerate(vectors)]
    client.insert(name, rows[: ROWS // 3])
    client.flush(name)
    client.insert(name, rows[ROWS // 3 :])
    client.flush(name)
    return name


def check(client, name: str, queries, scores: numpy.ndarray, larger_is_better: bool, tolerance: float) -> None:
    found = client.search(name, list(queries), limit=LIMIT)
    for hits, expected in zip(found, scores, strict=True):
        assert len(hits) == LIMIT
        got = numpy.array([hit["distance"] for hit in hits])
        best = numpy.sort(expected)[::-1] if larger_is_better else numpy.sort(expected)
        numpy.testing.assert_allclose(got, best[:LIMIT], rtol=tolerance, atol=tolerance)
        of_hits = numpy.array([expected[hit["id"]] for hit in hits])
        numpy.testing.assert_allclose(got, of_hits, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize("dim", [2, 7, 128, 769])
def test_float_scores(client, metric, dim):
    random = numpy.random.default_rng(dim)
    base = random.standard_normal((ROWS, dim)).astype(numpy.float32)
    queries = random.standard_normal((QUERIES, dim)).astype(numpy.float32)
    base[3] = 0
    base[4] = queries[0]
    name = make(client, DataType.FLOAT_VECTOR, dim, metric, base.tolist())
    # Errors of a sum grow with its length; the scale is that of the values.
    tolerance = 2e-6 * max(1.0, numpy.sqrt(dim))
    check(client, name, queries.tolist(), reference(metric, queries, base), metric != "L2", tolerance)


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize(
    "kind, dtype",
    [
        (DataType.FLOAT16_VECTOR, numpy.float16),
        (DataType.BFLOAT16_VECTOR, ml_dtypes.bfloat16),
        (DataType.INT8_VECTOR, numpy.int8),
    ],
)
def test_short_number_scores(client, metric, kind, dtype):
    random = numpy.random.default_rng(5)
    dim = 50
    if dtype is numpy.int8:
        base = random.integers(-128, 128, (ROWS, dim)).astype(dtype)
        queries = random.integers(-128, 128, (QUERIES, dim)).astype(dtype)
    else:
        base = random.standard_normal((ROWS, dim)).astype(dtype)
        queries = random.standard_normal((QUERIES, dim)).astype(dtype)
    name = make(client, kind, dim, metric, list(base))
    check(client, name, queries, reference(metric, queries, base), metric != "L2", 2e-5)


@pytest.mark.parametrize("metric", ["HAMMING", "JACCARD"])
@pytest.mark.parametrize("dim", [8, 136])
def test_binary_scores(client, metric, dim):
    random = numpy.random.default_rng(dim)
    base = random.integers(0, 2, (ROWS, dim)).astype(numpy.uint8)
    queries = random.integers(0, 2, (QUERIES, dim)).astype(numpy.uint8)
    base[0] = 0
    queries[0] = 0

    def packed(bits):
        return [row.tobytes() for row in numpy.packbits(bits, axis=1, bitorder="little")]

    name = make(client, DataType.BINARY_VECTOR, dim, metric, packed(base))
    check(client, name, packed(queries), binary_reference(metric, queries, base), False, 1e-6)


@pytest.mark.parametrize(
    "metric, radius, inner",
    [("L2", 6.0, 2.0), ("IP", 0.5, 2.0), ("COSINE", 0.2, 0.8)],
)
def test_range_search(client, metric, radius, inner):
    random = numpy.random.default_rng(3)
    base = random.standard_normal((ROWS, 4)).astype(numpy.float32)
    query = random.standard_normal((1, 4)).astype(numpy.float32)
    name = make(client, DataType.FLOAT_VECTOR, 4, metric, base.tolist())
    scores = reference(metric, query, base)[0]
    inside = (inner <= scores) & (scores < radius) if metric == "L2" else (radius < scores) & (scores <= inner)
    found = client.search(
        name, query.tolist(), limit=ROWS, search_params={"params": {"radius": radius, "range_filter": inner}}
    )
    assert {hit["id"] for hit in found[0]} == set(numpy.flatnonzero(inside).tolist())


def test_real_embeddings_against_brute_force(client):
    """The WordNet rows that ship with the repository; the nearest by cosine, as numpy finds them."""
    import pathlib

    import pyarrow.parquet

    folder = pathlib.Path(__file__).parent.parent / "data"
    base = pyarrow.parquet.read_table(folder / "wordnet-5k.parquet")
    queries = pyarrow.parquet.read_table(folder / "wordnet-queries.parquet")
    vectors = numpy.stack(base.column("embedding").to_numpy()).astype(numpy.float32)
    wanted = numpy.stack(queries.column("embedding").to_numpy()).astype(numpy.float32)
    name = data.create(client, dim=vectors.shape[1], metric="COSINE", fields=[("pos", DataType.VARCHAR, {"max_length": 20})])
    positions = base.column("pos").to_pylist()
    for start in range(0, len(vectors), 2500):
        chunk = range(start, min(start + 2500, len(vectors)))
        client.insert(name, [{"id": n, "vector": vectors[n], "pos": positions[n]} for n in chunk])
    client.flush(name)
    scores = reference("COSINE", wanted, vectors)
    for filter, keep in (("", numpy.ones(len(vectors), bool)), ("pos == 'verb'", numpy.array([p == "verb" for p in positions]))):
        found = client.search(name, wanted.tolist(), limit=10, filter=filter, output_fields=["pos"])
        for hits, row in zip(found, numpy.where(keep, scores, -2.0), strict=True):
            best = numpy.sort(row)[::-1][:10]
            numpy.testing.assert_allclose([hit["distance"] for hit in hits], best, atol=1e-5)
            assert all(keep[hit["id"]] for hit in hits)
