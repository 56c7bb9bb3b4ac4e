"""Bad input: each a clear Milvus error code, never a dead server."""

import json
import os
import resource
import socket

import grpc
import pytest
from pymilvus import DataType
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from support import data
from support.raw import StatusError, insert_request
from support.requests import search_request
from support.wait import until


@pytest.fixture
def raw(server, new_raw):
    return new_raw(server.address)


@pytest.fixture(autouse=True)
def the_server_lives(request):
    """Whatever a test sends, the server answers afterwards."""
    yield
    if "server" in request.fixturenames:
        running = request.getfixturevalue("server")
        assert running.alive(), running.log()[-4000:]
        assert running.get("/healthz")[0] == 200


def fails(code: int, fragment: str, call, *args, **kwargs):
    """The call ends with this Milvus code and a message that contains the fragment, case aside."""
    with pytest.raises(Exception) as raised:
        call(*args, **kwargs)
    error = raised.value
    assert getattr(error, "code", None) == code, f"{error!r}"
    assert fragment.lower() in str(error.message).lower(), f"{error!r}"
    return error


def query_request(collection: str, expression: str = "id >= 0", output=("id",), **params):
    pairs = [common_pb2.KeyValuePair(key=key, value=str(value)) for key, value in params.items()]
    return milvus_pb2.QueryRequest(
        collection_name=collection, expr=expression, output_fields=output, query_params=pairs, guarantee_timestamp=1
    )


def schema_bytes(name: str, *fields, dynamic=False) -> bytes:
    return schema_pb2.CollectionSchema(name=name, fields=fields, enable_dynamic_field=dynamic).SerializeToString()


def field(name: str, kind, *, key=False, auto_id=False, **params):
    pairs = [common_pb2.KeyValuePair(key=option, value=str(value)) for option, value in params.items()]
    return schema_pb2.FieldSchema(name=name, data_type=kind, is_primary_key=key, autoID=auto_id, type_params=pairs)


KEY = field("id", schema_pb2.DataType.Int64, key=True)
VECTOR = field("vector", schema_pb2.DataType.FloatVector, dim=4)


def create_raw(raw, name: str, *fields):
    request = milvus_pb2.CreateCollectionRequest(collection_name=name, schema=schema_bytes(name, *fields))
    return raw.call("CreateCollection", request)


# ---- names and what does not exist


def test_unknown_collections_answer_100(raw, server):
    name = data.fresh("missing")
    for method, request in [
        ("DescribeCollection", milvus_pb2.DescribeCollectionRequest(collection_name=name)),
        ("Search", search_request(name, [data.vector(1)])),
        ("Query", query_request(name)),
        ("Insert", insert_request(name, [1], [data.vector(1)])),
        ("Delete", milvus_pb2.DeleteRequest(collection_name=name, expr="id == 1")),
        ("Flush", milvus_pb2.FlushRequest(collection_names=[name])),
        ("LoadCollection", milvus_pb2.LoadCollectionRequest(collection_name=name)),
        ("ReleaseCollection", milvus_pb2.ReleaseCollectionRequest(collection_name=name)),
        ("CreateIndex", milvus_pb2.CreateIndexRequest(collection_name=name, field_name="vector")),
        ("GetCollectionStatistics", milvus_pb2.GetCollectionStatisticsRequest(collection_name=name)),
    ]:
        error = fails(100, "collection not found", raw.call, method, request)
        assert name in error.message, method
        assert error.error_code == common_pb2.ErrorCode.CollectionNotExists, method
    assert not raw.call("HasCollection", milvus_pb2.HasCollectionRequest(collection_name=name)).value
    # Dropping what is not there is no error.
    raw.call("DropCollection", milvus_pb2.DropCollectionRequest(collection_name=name))


def test_user_errors_say_that_they_are_input_errors(raw, collection):
    error = fails(1100, "", raw.call, "Query", query_request(collection, "id =="))
    assert error.status.extra_info["is_input_error"] == "true"
    assert not error.status.retriable
    assert error.error_code != 0


@pytest.mark.parametrize(
    "name",
    ["", "9films", "a-b", "a/b", "a.b", "..", "../../etc/passwd", "a\0b", "films films", "ü", "x" * 256, "x" * 300, "/", "$meta"],
)
def test_bad_collection_names_are_refused(raw, server, name):
    fails(1100, "collection name", create_raw, raw, name, KEY, VECTOR)
    stray = [path for path in server.data_dir.parent.rglob("*passwd*")]
    assert stray == []


@pytest.mark.parametrize("name", ["f" * 255, "_", "A_1"])
def test_good_collection_names_are_taken(raw, name):
    create_raw(raw, name, KEY, VECTOR)
    raw.insert(name, [1], [data.vector(1)])
    raw.flush(name)
    assert raw.count(name) == 1
    raw.call("DropCollection", milvus_pb2.DropCollectionRequest(collection_name=name))


@pytest.mark.parametrize("name", ["", "1a", "a b", "a/b", "a.b", "x" * 256, "in", "like", "null", "a\0"])
def test_bad_field_names_are_refused(raw, name):
    fails(1701, "field name", create_raw, raw, data.fresh(), KEY, VECTOR, field(name, schema_pb2.DataType.Int64))


@pytest.mark.parametrize(
    "fields",
    [
        [VECTOR],
        [KEY],
        [KEY, KEY, VECTOR],
        [KEY, VECTOR, VECTOR],
        [field("id", schema_pb2.DataType.Float, key=True), VECTOR],
        [KEY, field("vector", schema_pb2.DataType.FloatVector)],
        [KEY, field("vector", schema_pb2.DataType.FloatVector, dim=1)],
        [KEY, field("vector", schema_pb2.DataType.FloatVector, dim=32769)],
        [KEY, field("vector", schema_pb2.DataType.FloatVector, dim="wide")],
        [KEY, field("vector", schema_pb2.DataType.BinaryVector, dim=12)],
        [KEY, VECTOR, field("text", schema_pb2.DataType.VarChar)],
        [KEY, VECTOR, field("text", schema_pb2.DataType.VarChar, max_length=0)],
        [KEY, VECTOR, field("text", schema_pb2.DataType.VarChar, max_length=65536)],
        [KEY, VECTOR, field("what", 77)],
        [KEY] + [field(f"v{n}", schema_pb2.DataType.FloatVector, dim=2) for n in range(11)],
        [KEY, VECTOR] + [field(f"f{n}", schema_pb2.DataType.Int64) for n in range(300)],
    ],
    ids=["no key", "no vector", "two keys", "same name", "float key", "no dim", "dim 1", "dim too large", "dim no number",
         "binary dim", "no max_length", "max_length 0", "max_length too large", "unknown type", "11 vectors", "302 fields"],
)
def test_bad_schemas_are_refused(raw, fields):
    name = data.fresh()
    with pytest.raises(StatusError) as raised:
        create_raw(raw, name, *fields)
    assert raised.value.code in (1100, 1701), raised.value
    assert not raw.call("HasCollection", milvus_pb2.HasCollectionRequest(collection_name=name)).value


def test_more_than_16_shards_are_refused(raw):
    def create(name: str, shards: int):
        request = milvus_pb2.CreateCollectionRequest(
            collection_name=name, schema=schema_bytes(name, KEY, VECTOR), shards_num=shards
        )
        raw.call("CreateCollection", request)
        return raw.call("DescribeCollection", milvus_pb2.DescribeCollectionRequest(collection_name=name)).shards_num

    name = data.fresh()
    fails(1100, "maximum shards's number should be limited to 16", create, name, 17)
    assert not raw.call("HasCollection", milvus_pb2.HasCollectionRequest(collection_name=name)).value
    assert create(name, 16) == 16
    assert create(data.fresh(), 0) == 1


def test_creating_what_exists_with_another_schema_is_refused(raw, client):
    name = data.create(client)
    with pytest.raises(StatusError, match="(?i)exist|duplicate"):
        create_raw(raw, name, KEY, field("vector", schema_pb2.DataType.FloatVector, dim=8))


# ---- writes


def test_wrong_dimension(client, raw, collection):
    error = fails(1100, "dim", raw.insert, collection, [1], [[1.0, 2.0, 3.0]])
    assert "3" in error.message and "4" in error.message
    fails(65535, "vector dimension mismatch, expected vector size(byte) 16, actual 12", raw.call, "Search",
          search_request(collection, [[1.0, 2.0, 3.0]]))
    client.flush(collection)
    assert data.count(client, collection) == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_vectors_that_are_no_numbers(raw, collection, bad):
    fails(1100, "", raw.insert, collection, [1], [[0.0, bad, 0.0, 0.0]])
    fails(1100, "", raw.call, "Search", search_request(collection, [[0.0, bad, 0.0, 0.0]]))
    raw.flush(collection)
    assert raw.count(collection) == 0


def test_rows_of_different_length(raw, collection):
    request = insert_request(collection, [1, 2, 3], [data.vector(1)])
    fails(1100, "", raw.call, "Insert", request)
    request = insert_request(collection, [1], [data.vector(1)])
    request.num_rows = 7
    fails(1100, "", raw.call, "Insert", request)
    raw.flush(collection)
    assert raw.count(collection) == 0


def test_missing_and_unknown_fields(raw, client):
    name = data.create(client, dynamic=False, fields=[("text", DataType.VARCHAR, {"max_length": 10})])
    request = insert_request(name, [1], [data.vector(1)])
    fails(1100, "text", raw.call, "Insert", request)
    for unknown in ("text", "other"):
        extra = request.fields_data.add(type=schema_pb2.DataType.VarChar, field_name=unknown)
        extra.scalars.string_data.data.append("x")
    fails(1100, "other", raw.call, "Insert", request)


def test_wrong_type_and_duplicate_field(raw, client):
    name = data.create(client, dynamic=False, fields=[("text", DataType.VARCHAR, {"max_length": 10})])
    request = insert_request(name, [1], [data.vector(1)])
    wrong = request.fields_data.add(type=schema_pb2.DataType.Int64, field_name="text")
    wrong.scalars.long_data.data.append(1)
    fails(1100, "text", raw.call, "Insert", request)
    twice = insert_request(name, [1], [data.vector(1)])
    for _ in range(2):
        extra = twice.fields_data.add(type=schema_pb2.DataType.VarChar, field_name="text")
        extra.scalars.string_data.data.append("x")
    fails(1100, "text", raw.call, "Insert", twice)


def test_varchar_too_long(client):
    name = data.create(client, fields=[("text", DataType.VARCHAR, {"max_length": 10})])
    client.insert(name, [data.row(1, text="x" * 10)])
    fails(1100, "length of varchar field text exceeds max length", client.insert, name,
          [data.row(2, text="ok"), data.row(3, text="x" * 11)])
    fails(1100, "exceeds max length", client.insert, name, [data.row(4, text="ü" * 6)])
    client.flush(name)
    assert data.keys(client, name) == [1]


@pytest.mark.parametrize("bad", [b"\xff\xfe", b"\xc3", b"ok\xed\xa0\x80"])
def test_text_that_is_no_utf8(raw, client, bad):
    """Python's own protobuf refuses to send it, so the bytes are put together by hand."""
    name = data.create(client, dynamic=False, fields=[("text", DataType.VARCHAR, {"max_length": 10})])
    request = insert_request(name, [1], [data.vector(1)])
    text = request.fields_data.add(type=schema_pb2.DataType.VarChar, field_name="text")
    text.scalars.string_data.data.append("x" * len(bad))
    message = request.SerializeToString().replace(b"x" * len(bad), bad)
    call = raw.channel.unary_unary(
        "/milvus.proto.milvus.MilvusService/Insert", lambda message: message, milvus_pb2.MutationResult.FromString
    )
    with pytest.raises(grpc.RpcError) as raised:
        call(message, timeout=10)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "utf-8" in raised.value.details().lower(), raised.value.details()
    raw.flush(name)
    assert raw.count(name) == 0


def test_json_that_is_none_and_too_long(raw, client):
    name = data.create(client, dynamic=False, fields=[("doc", DataType.JSON, {})])
    for bad in (b"{", b"\xff\xfe", b"", json.dumps({"a": "x" * 70_000}).encode()):
        request = insert_request(name, [1], [data.vector(1)])
        document = request.fields_data.add(type=schema_pb2.DataType.JSON, field_name="doc")
        document.scalars.json_data.data.append(bad)
        fails(1100, "doc", raw.call, "Insert", request)


def test_numbers_out_of_the_range_of_their_field(raw, client):
    name = data.create(client, dynamic=False, fields=[("tiny", DataType.INT8, {})])
    for bad in (128, -129, 2**31 - 1):
        request = insert_request(name, [1], [data.vector(1)])
        tiny = request.fields_data.add(type=schema_pb2.DataType.Int8, field_name="tiny")
        tiny.scalars.int_data.data.append(bad)
        fails(1100, "tiny", raw.call, "Insert", request)


def test_the_same_key_twice_in_one_upsert(raw, collection):
    inserted = insert_request(collection, [1, 1], [data.vector(1), data.vector(2)])
    request = milvus_pb2.UpsertRequest(collection_name=collection, fields_data=inserted.fields_data, num_rows=2)
    fails(1100, "duplicate", raw.call, "Upsert", request)


def test_an_insert_by_an_old_schema_answers_109(raw, client, collection):
    """A collection is dropped and made again with another schema. pymilvus has the old one in its cache; at this code it
    reads the schema anew and tries again."""
    describe = milvus_pb2.DescribeCollectionRequest(collection_name=collection)
    client.insert(collection, data.rows([1]))
    old = raw.call("DescribeCollection", describe).update_timestamp

    def is_newer() -> bool:
        raw.call("DropCollection", milvus_pb2.DropCollectionRequest(collection_name=collection))
        create_raw(raw, collection, KEY, VECTOR, field("text", schema_pb2.DataType.VarChar, max_length=10))
        return raw.call("DescribeCollection", describe).update_timestamp > old

    until("the timestamp to rise", is_newer)
    request = insert_request(collection, [2], [data.vector(2)])
    text = request.fields_data.add(type=schema_pb2.DataType.VarChar, field_name="text")
    text.scalars.string_data.data.append("two")
    for timestamp in (1, old):
        request.schema_timestamp = timestamp
        upsert = milvus_pb2.UpsertRequest(
            collection_name=collection, fields_data=request.fields_data, num_rows=1, schema_timestamp=timestamp
        )
        for method, message in (("Insert", request), ("Upsert", upsert)):
            error = fails(109, f"collection schema mismatch[collection={collection}]", raw.call, method, message)
            assert error.error_code == common_pb2.ErrorCode.SchemaMismatch
    request.schema_timestamp = raw.call("DescribeCollection", describe).update_timestamp
    raw.call("Insert", request)
    raw.flush(collection)
    assert raw.count(collection) == 1, "what was refused is not in the block"
    # Its first insert is gone with the first collection.
    with pytest.raises(Exception, match=collection):
        client.flush(collection)
    client.insert(collection, data.rows([3], text="three"))
    client.flush(collection)
    assert data.keys(client, collection, "text == 'three'") == [3]


# ---- searches and queries


def test_limits_of_search(raw, collection):
    for limit in (0, -1, 16385, "many"):
        fails(1100, "topk", raw.call, "Search", search_request(collection, [data.vector(1)], limit=limit))
    fails(1100, "offset+topk", raw.call, "Search", search_request(collection, [data.vector(1)], limit=10, offset=16380))
    fails(1100, "offset", raw.call, "Search", search_request(collection, [data.vector(1)], limit=10, offset=-1))
    fails(1100, "nq", raw.call, "Search", search_request(collection, [data.vector(1)] * 16385))
    fails(1100, "", raw.call, "Search", search_request(collection, [data.vector(1)], nq=3))
    fails(1100, "nq", raw.call, "Search", search_request(collection, []))
    raw.call("Search", search_request(collection, [data.vector(1)], limit=16384))


def test_search_parameters(raw, collection):
    fails(1100, "metric type not match", raw.call, "Search",
          search_request(collection, [data.vector(1)], metric_type="IP"))
    fails(1100, "nowhere", raw.call, "Search", search_request(collection, [data.vector(1)], anns_field="nowhere"))
    request = search_request(collection, [data.vector(1)])
    request.placeholder_group = b"\xff\xff\xff"
    fails(1100, "", raw.call, "Search", request)
    request = search_request(collection, [b"\0" * 16], kind=100)
    with pytest.raises(StatusError):
        raw.call("Search", request)


def test_limits_of_query(raw, collection):
    fails(1100, "empty expression should be used with limit", raw.call, "Query", query_request(collection, ""))
    fails(1100, "(offset+limit) should be in range [1, 16384]", raw.call, "Query",
          query_request(collection, limit=10, offset=16380))
    # -1 is Milvus's "no limit".
    for limit in (0, -2, "many", 16385):
        fails(1100, "limit", raw.call, "Query", query_request(collection, limit=limit))


def test_answers_too_large_are_refused(raw, client):
    """A hundred vectors, each asked for three hundred times."""
    name = data.create(client, dim=2048)
    vectors = [data.vector(key, 2048) for key in range(100)]
    raw.insert(name, range(100), vectors)
    raw.flush(name)
    error = fails(1100, "exceed", raw.call, "Search", search_request(name, vectors * 3, limit=100, output=["vector"]))
    assert str(100 * 1024 * 1024) in error.message and "fewer" in error.message
    # What does not exceed it is answered.
    raw.call("Search", search_request(name, vectors, limit=100))
    raw.call("Query", query_request(name, output=["vector"]))


def test_unknown_output_fields(client):
    name = data.create(client, dynamic=False)
    fails(1100, "field nowhere not exist", client.query, name, filter="id == 1", output_fields=["nowhere"])
    fails(1100, "field nowhere not exist", client.search, name, [data.vector(1)], output_fields=["nowhere"])


@pytest.mark.parametrize(
    "longest, too_long, words",
    [
        ("id == 1" + " " * (2**20 - 7), "id == 1" + " " * 2**20 + "and id < 2", "more than 1048576 bytes outside lists"),
        (f"id in [{'1,' * 1_999_999}1]", f"id in [{'1,' * 2_000_000}1]", "more than 2000000 list elements"),
        ("id == 1" + " or id == 1" * 16_383, "id == 1" + " or id == 1" * 30_000, "more than 65536 operators and operands"),
        ("(" * 200 + "id == 1" + ")" * 200, "(" * 10_000 + "id == 1" + ")" * 10_000, "nesting depth exceeds 256"),
        ("not (" * 100 + "id == 1" + ")" * 100, "not " * 10_000 + "(id == 1)", "nesting depth exceeds 256"),
        ("- " * 200 + "1 == id", "-" * 10_000 + "1 == id", "nesting depth exceeds 256"),
    ],
    ids=["text", "list", "operators", "parentheses", "not", "minus"],
)
def test_deep_and_long_filters(raw, collection, longest, too_long, words):
    raw.insert(collection, [1, 2], [data.vector(1), data.vector(2)])
    raw.flush(collection)
    error = fails(1100, words, raw.call, "Query", query_request(collection, too_long))
    assert len(error.message) < 1000, "the filter is not repeated in full"
    assert list(raw.call("Query", query_request(collection, longest)).fields_data[0].scalars.long_data.data) == [1]


def test_filters_too_long_are_refused_by_whatever_takes_a_filter(raw, collection):
    too_long = "id == 1" + " " * 2**20 + "and id < 2"
    delete = milvus_pb2.DeleteRequest(collection_name=collection, expr=too_long)
    fails(1100, "more than 1048576 bytes outside lists", raw.call, "Delete", delete)
    search = search_request(collection, [data.vector(1)], expression=too_long)
    fails(1100, "more than 1048576 bytes outside lists", raw.call, "Search", search)


def test_released_collections_answer_101(client, collection):
    client.release_collection(collection)
    fails(101, "collection not loaded", client.search, collection, [data.vector(1)])
    fails(101, "collection not loaded", client.query, collection, filter="id >= 0")
    client.load_collection(collection)
    assert data.count(client, collection) == 0


def test_indexes(client, raw, collection):
    fails(1100, "field", data.add_index, client, collection, "nowhere", "L2")
    fails(1100, "metric", data.add_index, client, collection, "vector", "HAMMING")
    fails(1100, "index", data.add_index, client, collection, "vector", "L2", "NONSENSE")
    with pytest.raises(Exception, match="(?i)at most one distinct index is allowed per field"):
        data.add_index(client, collection, "vector", "IP")
    request = milvus_pb2.DescribeIndexRequest(collection_name=collection, index_name="nowhere")
    fails(700, "index not found", raw.call, "DescribeIndex", request)


def test_loading_without_an_index_answers_700(client, raw, collection):
    client.release_collection(collection)
    client.drop_index(collection, "vector")
    load = milvus_pb2.LoadCollectionRequest(collection_name=collection)
    error = fails(700, "there is no vector index on field: [vector], please create index firstly", raw.call,
                  "LoadCollection", load)
    assert error.error_code == common_pb2.ErrorCode.IndexNotExist
    assert str(client.get_load_state(collection)["state"]) == "NotLoad"
    data.add_index(client, collection, "vector", "L2")
    client.load_collection(collection)
    assert str(client.get_load_state(collection)["state"]) == "Loaded"


def test_databases(raw, client):
    with pytest.raises(Exception) as raised:
        client.use_database("nowhere")
    assert raised.value.code == 800
    fails(800, "database not found", raw.call, "ShowCollections", milvus_pb2.ShowCollectionsRequest(db_name="nowhere"))


def test_the_one_partition_answers_for_its_collection(server, new_client):
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows(range(5)))
    client.flush(name)
    client.delete(name, ids=[1])
    client.flush(name)
    assert client.list_partitions(name) == ["_default"]
    assert client.has_partition(name, "_default") and not client.has_partition(name, "other")
    assert client.get_partition_stats(name, "_default") == {"row_count": 4}
    client.release_partitions(name, ["_default"])
    fails(101, "not loaded", client.search, name, [data.vector(1)])
    client.load_partitions(name, ["_default"])
    assert client.search(name, [data.vector(2)], limit=1)[0][0]["id"] == 2
    fails(200, "partition not found[partition=other]", client.get_partition_stats, name, "other")
    fails(200, "partition not found[partition=other]", client.load_partitions, name, ["_default", "other"])
    fails(200, "partition not found[partition=other]", client.release_partitions, name, ["other"])
    for call, *args in [
        (client.list_partitions,),
        (client.has_partition, "_default"),
        (client.get_partition_stats, "_default"),
        (client.load_partitions, ["_default"]),
        (client.release_partitions, ["_default"]),
    ]:
        fails(100, "collection not found", call, "nowhere", *args)


def test_partitions_as_their_requests_ask(raw, client):
    name = data.create(client)
    by_id = milvus_pb2.ShowPartitionsRequest(collectionID=client.describe_collection(name)["collection_id"])
    shown = raw.call("ShowPartitions", by_id)
    assert list(shown.partition_names) == ["_default"] and list(shown.inMemory_percentages) == [100]
    assert len(shown.partitionIDs) == len(shown.created_utc_timestamps) == len(shown.created_timestamps) == 1
    named = milvus_pb2.ShowPartitionsRequest(collection_name=name, partition_names=["other"])
    fails(200, "partition not found", raw.call, "ShowPartitions", named)
    fails(1100, "no partition", raw.call, "LoadPartitions", milvus_pb2.LoadPartitionsRequest(collection_name=name))
    client.release_collection(name)
    assert list(raw.call("ShowPartitions", by_id).inMemory_percentages) == [0]
    in_memory = milvus_pb2.ShowPartitionsRequest(collection_name=name, type="InMemory")
    fails(101, "not loaded", raw.call, "ShowPartitions", in_memory)
    for method, kind in [("CreatePartition", "CreatePartitionRequest"), ("DropPartition", "DropPartitionRequest")]:
        with pytest.raises(grpc.RpcError) as raised:
            raw.call(method, getattr(milvus_pb2, kind)(collection_name=name, partition_name="p"))
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "properties, message",
    [
        ({"auto_flsh": "true"}, "did you mean auto_flush?"),
        ({"flush-interval": "0"}, "did you mean flush_interval?"),
        ({"auto_flush": "maybe"}, "it should be true or false"),
        ({"flush_interval": "soon"}, "it should be a number of milliseconds"),
    ],
)
def test_collection_properties_that_would_do_nothing(client, properties, message):
    ((key, value),) = properties.items()
    name = data.fresh()
    for error in (
        fails(1100, message, data.create, client, name, properties=properties),
        fails(1100, message, client.alter_collection_properties, data.create(client, name), properties),
    ):
        assert key in error.message and value in error.message
    assert key not in str(client.describe_collection(name))


# ---- below Milvus's own errors


def test_unimplemented_calls_name_themselves(raw):
    with pytest.raises(grpc.RpcError) as raised:
        raw.call("CreateAlias", milvus_pb2.CreateAliasRequest(collection_name="a", alias="b"))
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "CreateAlias" in raised.value.details()
    for path in ("/milvus.proto.milvus.MilvusService/Nonsense", "/nowhere.Service/Method"):
        call = raw.channel.unary_unary(path, lambda message: message, lambda message: message)
        with pytest.raises(grpc.RpcError) as raised:
            call(b"", timeout=10)
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED, path
        assert path.rsplit("/")[-1] in raised.value.details() or "nowhere" in raised.value.details()


def test_truncated_and_random_protobuf(raw, collection):
    whole = insert_request(collection, [1, 2, 3], [data.vector(n) for n in range(3)]).SerializeToString()
    messages = [whole[:-1], whole[: len(whole) // 2], b"\xff" * 100, os.urandom(1000), b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe"]
    for method in ("Insert", "Search", "Query", "CreateCollection", "Flush", "Delete", "Connect"):
        call = raw.channel.unary_unary(
            f"/milvus.proto.milvus.MilvusService/{method}", lambda message: message, lambda message: message
        )
        for message in messages:
            try:
                call(message, timeout=10)
            except grpc.RpcError as error:
                # INTERNAL and UNAVAILABLE would be retried by pymilvus for ever.
                assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED), (method, error)
    raw.flush(collection)
    assert raw.count(collection) == 0


def test_random_schema_and_placeholder_bytes(raw, collection):
    for size in (1, 10, 1000):
        noise = os.urandom(size)
        with pytest.raises(StatusError):
            raw.call("CreateCollection", milvus_pb2.CreateCollectionRequest(collection_name=data.fresh(), schema=noise))
        request = search_request(collection, [data.vector(1)])
        request.placeholder_group = noise
        with pytest.raises(StatusError):
            raw.call("Search", request)


def test_a_message_of_300_megabytes(raw, collection):
    call = raw.channel.unary_unary(
        "/milvus.proto.milvus.MilvusService/Insert", lambda message: message, lambda message: message
    )
    with pytest.raises(grpc.RpcError) as raised:
        call(bytes(300 * 1024 * 1024), timeout=60)
    assert raised.value.code() in (
        grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE
    ), raised.value
    assert raw.count(collection) == 0


def test_the_limit_of_messages_is_that_of_the_configuration(new_server, new_client, new_raw):
    server = new_server(settings={"server.message_limit": "1M"})
    name = data.create(new_client(server), dim=256)
    raw = new_raw(server.address)
    vectors = [data.vector(key, 256) for key in range(1030)]
    with pytest.raises(grpc.RpcError) as raised:
        raw.insert(name, range(1030), vectors)
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "the limit is: 1048576 bytes (server.message_limit)" in raised.value.details()
    # What was refused is not in the block, and what is below the limit passes, on the same connection.
    raw.insert(name, range(1000), vectors[:1000])
    raw.insert(name, range(1000, 1030), vectors[1000:])
    raw.flush(name)
    assert raw.count(name) == 1030
    # Answers have the same limit.
    for limit, fits in ((1000, True), (1030, False)):
        for method, request in (
            ("Search", search_request(name, [vectors[0]], limit=limit, output=["vector"])),
            ("Query", query_request(name, output=["vector"], limit=limit)),
        ):
            if fits:
                raw.call(method, request)
                continue
            with pytest.raises(grpc.RpcError) as raised:
                raw.call(method, request)
            assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, method
            assert "the limit is: 1048576 bytes (server.message_limit); ask for fewer" in raised.value.details(), method
    assert server.alive()


def test_bytes_that_are_no_request_at_all(server):
    for noise in (os.urandom(5000), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(2000), b"GET / HTTP/1.1\r\n", b"\x16\x03\x01" * 50):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
            try:
                stream.sendall(noise)
                stream.shutdown(socket.SHUT_WR)
                while stream.recv(65536):
                    pass
            except TimeoutError:
                raise AssertionError(f"the server keeps a connection that sent {noise[:20]!r} and ended") from None
            except OSError:
                # It may hang up on such a client at any moment.
                pass


def test_ten_thousand_idle_connections(server, client, collection):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted + 1000) if hard != resource.RLIM_INFINITY else wanted + 1000, hard))
    idle = []
    try:
        for _ in range(wanted):
            idle.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        client.insert(collection, data.rows([1]))
        client.flush(collection)
        assert data.count(client, collection) == 1
    finally:
        for stream in idle:
            stream.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert data.count(client, collection) == 1


@pytest.mark.parametrize("carried", [10_000, 100_000, 1_000_000])
def test_a_client_that_vanishes_in_the_middle_of_an_insert(server, client, collection, new_raw, new_proxy, carried):
    """The connection is cut after a part of the request."""
    proxy = new_proxy(server.port)
    raw = new_raw(f"127.0.0.1:{proxy.port}", identifier=0)
    raw.insert(collection, [0], [data.vector(0)])
    proxy.truncate_requests(carried)
    broken = new_raw(f"127.0.0.1:{proxy.port}", identifier=0)
    with pytest.raises(grpc.RpcError):
        broken.insert(collection, range(100_000), [data.vector(0)] * 100_000)
    client.insert(collection, data.rows([1]))
    client.flush(collection)
    assert data.keys(client, collection) == [1]
