"""pymilvus's quickstart as its documentation has it, with the synchronous and the asynchronous client."""

import asyncio

import numpy
import pytest
from pymilvus import AsyncMilvusClient, DataType, MilvusClient
from pymilvus.grpc_gen import milvus_pb2

from support import data
from support.raw import StatusError

pytestmark = pytest.mark.compat

DIM = 8
TEXTS = [
    "Artificial intelligence was founded as an academic discipline in 1956.",
    "Alan Turing was the first person to conduct substantial research in AI.",
    "Born in Maida Vale, London, Turing was raised in southern England.",
]


def rows(vectors) -> list[dict]:
    return [{"id": n, "vector": vectors[n], "text": text, "subject": "history"} for n, text in enumerate(TEXTS)]


def vectors(count: int = 3) -> list[list[float]]:
    return numpy.random.default_rng(1).uniform(-1, 1, (count, DIM)).astype(numpy.float32).tolist()


def test_quickstart(new_server):
    """With auto_flush and interval 0 the program runs exactly as the documentation has it."""
    server = new_server(settings={"auto_flush": True, "flush_interval": 0})
    client = MilvusClient(server.uri)
    if client.has_collection(collection_name="demo_collection"):
        client.drop_collection(collection_name="demo_collection")
    client.create_collection(collection_name="demo_collection", dimension=DIM)

    embeddings = vectors()
    inserted = client.insert(collection_name="demo_collection", data=rows(embeddings))
    assert inserted["insert_count"] == 3 and list(inserted["ids"]) == [0, 1, 2]

    found = client.search(
        collection_name="demo_collection", data=[embeddings[1]], limit=2, output_fields=["text", "subject"]
    )
    assert len(found) == 1 and len(found[0]) == 2
    assert found[0][0]["id"] == 1
    assert found[0][0]["distance"] == pytest.approx(1.0, abs=1e-5)
    assert found[0][0]["entity"] == {"text": TEXTS[1], "subject": "history"}
    assert found[0][0]["distance"] >= found[0][1]["distance"]

    queried = client.query(
        collection_name="demo_collection", filter="subject == 'history'", output_fields=["text", "subject"]
    )
    assert sorted(row["id"] for row in queried) == [0, 1, 2]
    assert {row["text"] for row in queried} == set(TEXTS)

    got = client.get(collection_name="demo_collection", ids=[0, 2])
    assert sorted(row["id"] for row in got) == [0, 2]
    assert got[0]["vector"] == pytest.approx(embeddings[got[0]["id"]])

    assert client.delete(collection_name="demo_collection", ids=[0, 2])["delete_count"] == 2
    client.delete(collection_name="demo_collection", filter="subject == 'biology'")
    assert data.keys(client, "demo_collection") == [1]
    client.drop_collection(collection_name="demo_collection")
    assert not client.has_collection("demo_collection")
    client.close()


def test_quickstart_with_flush(server, client):
    """With the default configuration the program needs one line more."""
    name = data.fresh("quickstart")
    client.create_collection(name, dimension=DIM)
    embeddings = vectors()
    client.insert(name, rows(embeddings))
    assert len(client.search(name, [embeddings[0]], limit=2)[0]) == 0
    client.flush(name)
    hits = client.search(name, [embeddings[0]], limit=2, output_fields=["text"])[0]
    assert hits[0]["entity"]["text"] == TEXTS[0]
    assert client.get_collection_stats(name)["row_count"] == 3


def test_quickstart_async(new_server):
    server = new_server(settings={"auto_flush": True, "flush_interval": 0})

    async def program():
        client = AsyncMilvusClient(server.uri)
        await client.create_collection("demo", dimension=DIM)
        embeddings = vectors()
        inserted = await client.insert("demo", rows(embeddings))
        assert inserted["insert_count"] == 3
        found, queried = await asyncio.gather(
            client.search("demo", [embeddings[2]], limit=1, output_fields=["text"]),
            client.query("demo", filter="id < 2", output_fields=["id"]),
        )
        assert found[0][0]["id"] == 2 and found[0][0]["entity"]["text"] == TEXTS[2]
        assert sorted(row["id"] for row in queried) == [0, 1]
        await client.upsert("demo", [{"id": 2, "vector": embeddings[0], "text": "new"}])
        assert (await client.get("demo", ids=[2]))[0]["text"] == "new"
        await client.delete("demo", ids=[1])
        assert len(await client.query("demo", filter="id >= 0")) == 2
        await client.drop_collection("demo")
        assert "demo" not in await client.list_collections()
        await client.close()

    asyncio.run(program())


def test_text_keys_and_automatic_keys(client):
    name = data.fresh("text_keys")
    client.create_collection(name, dimension=DIM, id_type="string", max_length=64)
    client.insert(name, [{"id": f"k{n}", "vector": vector} for n, vector in enumerate(vectors())])
    client.flush(name)
    assert [row["id"] for row in client.get(name, ids=["k1"])] == ["k1"]
    client.delete(name, ids=["k0", "missing"])
    client.flush(name)
    assert data.keys(client, name, "id like 'k%'") == ["k1", "k2"]

    name = data.fresh("automatic")
    client.create_collection(name, dimension=DIM, auto_id=True)
    ids = client.insert(name, [{"vector": vector} for vector in vectors()])["ids"]
    client.flush(name)
    assert len(set(ids)) == 3
    assert data.keys(client, name) == sorted(ids)


def test_schema_index_load_and_describe(client):
    name = data.fresh("schema")
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True, description="films")
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=32)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("year", DataType.INT32, nullable=True)
    params = client.prepare_index_params()
    params.add_index("embedding", index_type="HNSW", metric_type="IP", params={"M": 8, "efConstruction": 64})
    client.create_collection(name, schema=schema, index_params=params)

    described = client.describe_collection(name)
    assert described["collection_name"] == name and described["collection_id"] > 0
    assert described["description"] == "films" and described["enable_dynamic_field"]
    fields = {field["name"]: field for field in described["fields"]}
    assert list(fields) == ["key", "embedding", "year"]
    assert fields["key"]["is_primary"] and fields["key"]["params"]["max_length"] == 32
    assert fields["embedding"]["type"] == DataType.FLOAT_VECTOR and fields["embedding"]["params"]["dim"] == DIM
    assert fields["year"]["nullable"]

    assert client.list_indexes(name) == ["embedding"]
    index = client.describe_index(name, "embedding")
    assert index["index_type"] == "HNSW" and index["metric_type"] == "IP" and index["field_name"] == "embedding"
    assert str(client.get_load_state(name)["state"]) == "Loaded"

    client.release_collection(name)
    assert str(client.get_load_state(name)["state"]) == "NotLoad"
    with pytest.raises(Exception) as raised:
        client.search(name, [vectors()[0]])
    assert raised.value.code == 101
    client.load_collection(name)
    assert str(client.get_load_state(name)["state"]) == "Loaded"
    assert len(client.search(name, [vectors()[0]])[0]) == 0


def test_loading_and_refreshing_end(client, server, collection, new_raw):
    """pymilvus waits for the progress of what it asked for, be it for ever."""
    raw = new_raw(server.address)
    ask = milvus_pb2.GetLoadingProgressRequest(collection_name=collection)
    client.load_collection(collection)
    client.refresh_load(collection)
    progress = raw.call("GetLoadingProgress", ask)
    assert (progress.progress, progress.refresh_progress) == (100, 100)
    client.release_collection(collection)
    with pytest.raises(StatusError) as raised:
        raw.call("GetLoadingProgress", ask)
    assert raised.value.code == 101
    client.load_collection(collection)
    assert raw.call("GetLoadingProgress", ask).progress == 100


def test_listing_versions_and_health(server, client, new_raw):
    name = data.create(client)
    assert name in client.list_collections()
    assert "default" in client.list_databases()
    assert client.describe_database("default")["name"] == "default"
    assert client.get_server_version().lstrip("v").startswith("2.")
    assert client.get_collection_stats(name)["row_count"] == 0
    raw = new_raw(server.address)
    health = raw.call("CheckHealth", milvus_pb2.CheckHealthRequest())
    assert health.isHealthy and not health.reasons
    for known, there in ((name, True), ("no_such_collection", False)):
        assert client.has_collection(known) is there
        # What older clients and other programs ask instead.
        has = milvus_pb2.HasCollectionRequest(collection_name=known)
        assert raw.call("HasCollection", has).value is there
    client.drop_collection("no_such_collection")


def test_index_is_made_once_and_dropped(client, collection):
    data.add_index(client, collection, "vector", "L2")
    assert client.list_indexes(collection) == ["vector"]
    client.release_collection(collection)
    client.drop_index(collection, "vector")
    assert client.list_indexes(collection) == []
    data.add_index(client, collection, "vector", "COSINE")
    client.load_collection(collection)
    client.insert(collection, data.rows([1]))
    client.flush(collection)
    hit = client.search(collection, [data.vector(1)], limit=1)[0][0]
    assert hit["distance"] == pytest.approx(1.0, abs=1e-5)


def test_pages_offsets_and_limits(client, collection):
    client.insert(collection, data.rows(range(100)))
    client.flush(collection)
    everything = [hit["id"] for hit in client.search(collection, [data.vector(7)], limit=100)[0]]
    assert sorted(everything) == list(range(100))
    page = client.search(collection, [data.vector(7)], limit=10, offset=20)[0]
    assert [hit["id"] for hit in page] == everything[20:30]
    seen = []
    for offset in range(0, 100, 30):
        found = client.query(collection, filter="", limit=30, offset=offset, output_fields=["id"])
        seen += [row["id"] for row in found]
    assert sorted(seen) == list(range(100))


def test_several_queries_in_one_search(client, collection):
    client.insert(collection, data.rows(range(50)))
    client.flush(collection)
    found = client.search(collection, [data.vector(seed) for seed in (3, 30, 49)], limit=3, filter="id != 30")
    assert [hits[0]["id"] for hits in found] == [3, found[1][0]["id"], 49]
    assert all(30 not in [hit["id"] for hit in hits] for hits in found)


def test_iterators(client, collection):
    client.insert(collection, data.rows(range(250)))
    client.flush(collection)
    iterator = client.query_iterator(collection, filter="id >= 10", output_fields=["id"], batch_size=60)
    keys = []
    while page := iterator.next():
        keys += [row["id"] for row in page]
    iterator.close()
    assert keys == list(range(10, 250))
