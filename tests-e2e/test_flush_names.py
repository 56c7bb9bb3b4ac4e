"""A flush whose reply got lost can be asked for and sent again: S37. And one revision from start to end: S35, S36."""

import concurrent.futures
import hashlib

import pytest
from pymilvus.grpc_gen import milvus_pb2

from support import data, load
from support.raw import StatusError
from support.wait import until

NOT_COMMITTED = "flush ID was not committed"


def hashes(server) -> dict:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in server.data_files()}


def s35_files_never_change_in_place(new_server, new_client):
    server = new_server()
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows(range(100)))
    client.flush(name)
    before = hashes(server)
    assert before
    client.delete(name, ids=[1, 2, 3])
    client.upsert(name, [data.row(4, tag="new")])
    client.flush(name)
    client.delete(name, filter="id > 50")
    client.flush(name)
    after = hashes(server)
    assert len(after) > len(before)
    changed = [path for path, digest in before.items() if path in after and after[path] != digest]
    assert changed == []


def s36_the_metadata_of_a_flush_is_one_transaction(new_server, new_client):
    """All keys a flush puts, in all collections, have one revision; a drop or a second flush has another."""
    server = new_server()
    client = new_client(server)
    names = [data.create(client) for _ in range(3)]
    for name in names:
        client.insert(name, data.rows(range(10)))
    client.flush(names[0])
    for name in names[:2]:
        client.delete(name, ids=[1])
        client.insert(name, data.rows([11]))
    client.flush(names[1])
    client.close()
    revisions = {}
    for line in server.meta_lines():
        for number, name in enumerate(names):
            if f"/{name}/data/" in line["key"]:
                revisions.setdefault(number, set()).add(line["mod_revision"])
    first, second = min(revisions[0]), max(revisions[0])
    assert revisions == {0: {first, second}, 1: {first, second}, 2: {first}}


def s36_a_query_reads_one_revision(server, client, new_worker):
    """Every block replaces all rows; whatever a query reads first, it sees all of one block's rows and no others."""
    size = 500
    name = data.create(client)
    client.insert(name, data.rows(range(size), grp=0))
    client.flush(name)
    reader = new_worker(server.uri).start(load.watch_groups, [name], size)
    writer = new_worker(server.uri)
    assert writer.call(load.swap_groups, [name], size, blocks=15) == 15
    assert reader.stop() > 0


def s37_a_named_flush_is_known_afterwards(server, collection, new_raw):
    raw, other = new_raw(server.address), new_raw(server.address)
    raw.insert(collection, [1], [data.vector(1)])
    raw.flush_named("first", collection)
    assert raw.flush_outcome("first")
    assert other.flush_outcome("first")


def s37_the_same_name_again_commits_once_and_answers_the_first_outcome(server, collection, new_raw):
    raw = new_raw(server.address)
    name = f"again {collection}"
    raw.insert(collection, [1], [data.vector(1)])
    first = raw.flush_named(name, collection)
    # The session is empty now, as it is after a lost reply.
    assert raw.flush_named(name, collection).coll_flush_ts == first.coll_flush_ts
    other = new_raw(server.address)
    assert other.flush_named(name, collection).coll_flush_ts == first.coll_flush_ts
    assert raw.count(collection) == 1


def s37_a_resent_block_under_its_name_is_not_committed_twice(server, collection, new_raw):
    """The reply was lost together with the connection; the client sends the same block and the same name again."""
    name = f"resent {collection}"
    first = new_raw(server.address)
    first.insert(collection, [1, 2], [data.vector(1), data.vector(2)])
    first.flush_named(name, collection)
    first.close()
    second = new_raw(server.address)
    second.insert(collection, [1, 2], [data.vector(1), data.vector(2)])
    second.flush_named(name, collection)
    assert second.count(collection) == 2
    # The block is spent: nothing of it is left for the next flush.
    second.flush(collection)
    assert second.count(collection) == 2


def s37_the_same_name_with_another_block_is_an_error(server, collection, new_raw):
    name = f"other block {collection}"
    raw = new_raw(server.address)
    raw.insert(collection, [1], [data.vector(1)])
    raw.flush_named(name, collection)
    raw.insert(collection, [2], [data.vector(2)])
    with pytest.raises(StatusError, match="flush ID"):
        raw.flush_named(name, collection)
    assert raw.count(collection) == 1


def s37_an_unknown_name_with_an_empty_block_is_not_committed(server, collection, new_raw):
    raw = new_raw(server.address)
    with pytest.raises(StatusError, match=NOT_COMMITTED) as raised:
        raw.flush_named(f"unknown {collection}", collection)
    assert raised.value.code == 65535


def s37_asking_settles(server, collection, new_raw):
    name = f"settled {collection}"
    asker, writer = new_raw(server.address), new_raw(server.address)
    writer.insert(collection, [1], [data.vector(1)])
    with pytest.raises(StatusError, match=NOT_COMMITTED) as raised:
        asker.flush_outcome(name)
    assert raised.value.code == 65535
    # The answer was final: the flush that comes later cannot commit any more.
    with pytest.raises(StatusError, match=NOT_COMMITTED):
        writer.flush_named(name, collection)
    assert asker.count(collection) == 0
    with pytest.raises(StatusError, match=NOT_COMMITTED):
        asker.flush_outcome(name)


def s37_flush_all_takes_a_name_too(server, collection, new_raw):
    name = f"all {collection}"
    raw = new_raw(server.address)
    raw.insert(collection, [1], [data.vector(1)])
    metadata = {"redkite-flush-id": name}
    first = raw.call("FlushAll", milvus_pb2.FlushAllRequest(), metadata)
    again = raw.call("FlushAll", milvus_pb2.FlushAllRequest(), metadata)
    assert first.flush_all_ts == again.flush_all_ts
    assert raw.flush_outcome(name)
    assert raw.count(collection) == 1


def s37_two_clients_using_one_name_at_the_same_time(server, collection, new_raw):
    """One of them commits; the other, whose block is another one, is refused; asking says committed."""
    for attempt in range(5):
        name = f"shared {collection} {attempt}"
        clients = [new_raw(server.address) for _ in range(2)]
        for offset, raw in enumerate(clients):
            key = attempt * 2 + offset
            raw.insert(collection, [key], [data.vector(key)])
        with concurrent.futures.ThreadPoolExecutor() as pool:
            outcomes = [pool.submit(raw.flush_named, name, collection) for raw in clients]
        errors = [outcome.exception() for outcome in outcomes]
        assert sum(error is None for error in errors) == 1, errors
        assert clients[0].flush_outcome(name)
        assert clients[0].count(collection) == attempt + 1


def s37_resent_while_the_first_still_runs(new_server, new_client, new_raw, flush_failpoint):
    """The first flush is held up; resent on another connection with an empty block it must not answer success too early,
    and both answers agree in the end."""
    server = new_server()
    server.restart(env={"FAILPOINTS": f"{flush_failpoint}=1*sleep(1500)"})
    name = data.create(new_client(server))
    first, second = new_raw(server.address), new_raw(server.address)
    first.insert(name, [1], [data.vector(1)])
    request = milvus_pb2.FlushRequest(collection_names=[name])
    metadata = {"redkite-flush-id": "slow"}
    slow = first.send("Flush", request, metadata)
    resent = second.send("Flush", request, metadata)
    statuses = [slow.result().status, resent.result().status]
    committed = until("an outcome", lambda: outcome(second, "slow") is not None) and outcome(second, "slow")
    assert all((status.code == 0) == committed for status in statuses), statuses
    assert second.count(name) == (1 if committed else 0)


def outcome(raw, name: str) -> bool | None:
    try:
        return raw.flush_outcome(name)
    except StatusError as error:
        if NOT_COMMITTED in error.message:
            return False
        return None


@pytest.mark.parametrize("name, good", [("x" * 128, True), ("x" * 129, False), ("with space/and ~", True)])
def s37_names_have_a_limit(server, collection, new_raw, name, good):
    raw = new_raw(server.address)
    raw.insert(collection, [1], [data.vector(1)])
    name = collection + name if len(name) < 100 else name
    if good:
        raw.flush_named(name, collection)
        assert raw.count(collection) == 1
    else:
        for call in (lambda: raw.flush_named(name, collection), lambda: raw.flush_outcome(name)):
            with pytest.raises(StatusError, match="128") as raised:
                call()
            assert raised.value.code == 1100
        raw.flush(collection)
        assert raw.count(collection) == 1


def s37_an_empty_name_is_no_name(server, collection, new_raw):
    """Two clients that send one have nothing in common."""
    for number, raw in enumerate([new_raw(server.address), new_raw(server.address)], start=1):
        raw.insert(collection, [number], [data.vector(number)])
        raw.flush(collection, metadata={"redkite-flush-id-bin": b""})
        assert raw.count(collection) == number


def s37_outcomes_survive_kill9(new_server, new_client, new_raw):
    server = new_server()
    name = data.create(new_client(server))
    raw = new_raw(server.address)
    raw.insert(name, [1], [data.vector(1)])
    raw.flush_named("kept", name)
    with pytest.raises(StatusError, match=NOT_COMMITTED):
        raw.flush_outcome("never sent")
    server.restart()
    after = new_raw(server.address)
    assert after.flush_outcome("kept")
    with pytest.raises(StatusError, match=NOT_COMMITTED):
        after.flush_outcome("never sent")
