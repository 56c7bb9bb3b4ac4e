"""Deletes are rare and correct all the same: S13, S40."""

import random

import pytest
from pymilvus import DataType

from support import data


def s13_deletes_are_right_at_scale(server, new_client):
    """10,000 rows in several files, deleted by key and by filter in many blocks, against a plain set."""
    client = new_client(server)
    name = data.create(client, fields=[("bucket", DataType.INT64, {})], dynamic=False)
    total = 10_000
    vectors = [data.vector(seed) for seed in range(50)]
    left = set()
    for start in range(0, total, 2500):
        keys = range(start, start + 2500)
        client.insert(name, [{"id": key, "vector": vectors[key % 50], "bucket": key % 97} for key in keys])
        client.flush(name)
        left |= set(keys)
    random.seed(13)
    for block in range(12):
        if block % 3 == 2:
            bucket = random.randrange(97)
            client.delete(name, filter=f"bucket == {bucket}")
            left -= {key for key in left if key % 97 == bucket}
        else:
            gone = random.sample(sorted(left), 300)
            client.delete(name, ids=gone)
            left -= set(gone)
        client.flush(name)
        assert data.count(client, name) == len(left), f"block {block}"
    assert set(data.keys(client, name)) == left
    hits = client.search(name, [vectors[0]], limit=200, filter="bucket < 50")
    assert {hit["id"] for hit in hits[0]} <= {key for key in left if key % 97 < 50}
    assert data.count(client, name, "bucket < 50") == sum(key % 97 < 50 for key in left)


def s13_many_deletes_of_one_key_and_one_by_one(client, collection):
    client.insert(collection, data.rows(range(200)))
    client.flush(collection)
    for key in range(0, 200, 2):
        client.delete(collection, ids=[key])
        client.delete(collection, ids=[key])
    client.flush(collection)
    assert data.keys(client, collection) == list(range(1, 200, 2))


def s40_deleting_what_does_not_exist_succeeds(client, collection):
    client.delete(collection, ids=[1, 2, 3])
    client.delete(collection, filter="id > 100")
    client.flush(collection)
    client.insert(collection, data.rows([5]))
    client.flush(collection)
    client.delete(collection, ids=[4])
    client.flush(collection)
    assert data.keys(client, collection) == [5]


def s40_two_clients_deleting_the_same_row_both_succeed(server, client, collection, new_worker):
    client.insert(collection, data.rows(range(100)))
    client.flush(collection)
    workers = [new_worker(server.uri) for _ in range(2)]
    for attempt in range(5):
        gone = [attempt * 10 + offset for offset in range(10)]
        for worker in workers:
            worker.delete(collection, ids=gone)
        for worker in workers:
            worker.start("flush", collection)
        for worker in workers:
            worker.result()
        assert data.count(client, collection) == 100 - (attempt + 1) * 10


def s40_a_delete_takes_what_was_committed_before_it_and_nothing_after(server, client, collection, new_client):
    deleter = new_client(server)
    client.insert(collection, data.rows([1], tag="before"))
    client.flush(collection)
    deleter.delete(collection, filter="id >= 0")
    # Committed after the delete was sent but before the delete commits: it is there when the delete takes effect.
    client.insert(collection, data.rows([2], tag="between"))
    client.flush(collection)
    deleter.flush(collection)
    assert data.keys(client, collection) == []
    client.insert(collection, data.rows([1, 2], tag="after"))
    client.flush(collection)
    assert data.keys(client, collection) == [1, 2]


def s40_a_row_inserted_again_after_its_delete_stays(client, collection):
    for round in range(5):
        client.delete(collection, ids=[1])
        client.insert(collection, [data.row(1, round=round)])
        client.flush(collection)
        assert [row["round"] for row in client.query(collection, filter="id == 1", output_fields=["round"])] == [round]


def s40_deletes_race_upserts_of_the_same_keys(server, client, collection, new_worker):
    """Concurrent upserts of one key from several clients and deletes in between: at most one row of a key is ever seen."""
    client.insert(collection, data.rows(range(5), grp=0))
    client.flush(collection)
    workers = [new_worker(server.uri).start(upsert_and_delete, collection, seed) for seed in range(3)]
    for _ in range(20):
        keys = [row["id"] for row in client.query(collection, filter="id >= 0", output_fields=["grp"])]
        assert len(keys) == len(set(keys)), keys
    for worker in workers:
        worker.stop()
    keys = data.keys(client, collection)
    assert len(keys) == len(set(keys)), keys


def upsert_and_delete(context, name: str, seed: int) -> None:
    """Runs in a worker."""
    choose = random.Random(seed)
    while not context.stopping():
        key = choose.randrange(5)
        if choose.random() < 0.7:
            context.client.upsert(name, [data.row(key, grp=seed)])
        else:
            context.client.delete(name, ids=[key])
        context.client.flush(name)


def s40_delete_counts_and_refuses_the_empty_filter(client, collection):
    client.insert(collection, data.rows(range(3)))
    client.flush(collection)
    assert client.delete(collection, ids=[0, 1])["delete_count"] == 2
    for everything in ["", "true"]:
        with pytest.raises(Exception):
            client.delete(collection, filter=everything)
    client.flush(collection)
    assert data.keys(client, collection) == [2]
