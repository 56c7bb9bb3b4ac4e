"""Collections and rows for tests."""

import itertools
import os
import zlib

import numpy
from pymilvus import DataType, MilvusClient

_numbers = itertools.count()

DIM = 4


def fresh(prefix: str = "c") -> str:
    """A collection name nobody used."""
    return f"{prefix}_{os.getpid()}_{next(_numbers)}"


def vector(seed: int, dim: int = DIM) -> list[float]:
    """A vector that is the same for the same seed."""
    return numpy.random.default_rng(seed).standard_normal(dim).astype(numpy.float32).tolist()


def row(key, dim: int = DIM, **fields) -> dict:
    """A row of a collection made by `create`; its vector is `vector(key)` where the key is a number."""
    seed = key if isinstance(key, int) else zlib.crc32(key.encode())
    return {"id": key, "vector": vector(seed, dim), **fields}


def rows(keys, dim: int = DIM, **fields) -> list[dict]:
    return [row(key, dim, **fields) for key in keys]


def create(client: MilvusClient, name: str | None = None, *, key=DataType.INT64, dim: int = DIM, metric="L2",
           auto_id=False, dynamic=True, fields=(), properties=None) -> str:
    """A collection with a key `id`, a float vector `vector` and further fields `(name, type, options)`; returns its name.

    Works on a `Worker`, too. Does not wait for the index as pymilvus's short form does (half a second).
    """
    name = name or fresh()
    schema = MilvusClient.create_schema(auto_id=auto_id, enable_dynamic_field=dynamic)
    schema.add_field("id", key, is_primary=True, **({"max_length": 100} if key == DataType.VARCHAR else {}))
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    for field, kind, options in fields:
        schema.add_field(field, kind, **options)
    client.create_collection(name, schema=schema, **({"properties": properties} if properties else {}))
    add_index(client, name, "vector", metric)
    return name


def add_index(client: MilvusClient, name: str, field: str, metric: str, index_type: str = "AUTOINDEX") -> None:
    """An index, without waiting until it is built."""
    params = MilvusClient.prepare_index_params()
    params.add_index(field, index_type=index_type, metric_type=metric)
    client.create_index(name, params, sync=False)


def count(client, name: str, filter: str = "") -> int:
    """Rows that match, as a query sees them."""
    return client.query(name, filter=filter, output_fields=["count(*)"])[0]["count(*)"]


def keys(client, name: str, filter: str = "id >= 0") -> list:
    """Keys of the rows that match, sorted."""
    return sorted(found["id"] for found in client.query(name, filter=filter, output_fields=["id"]))
