"""Order, visibility, disconnects and atomic blocks: S06 to S12."""

import random
import re

import pytest
from pymilvus.grpc_gen import milvus_pb2

from support import data, load
from support.raw import StatusError
from support.requests import search_request
from support.wait import pause, until
from support.worker import WorkerError

pytestmark = pytest.mark.compat

# What a client is told whose unflushed operations are gone.
LOST = "(?i)not flushed|unflushed"


def tags(client, name: str) -> dict:
    return {row["id"]: row["tag"] for row in client.query(name, filter="id >= 0", output_fields=["tag"])}


def apply(client, name: str, operations: list[tuple]) -> None:
    """Sends operations in order: ("insert" or "upsert", key, tag), ("delete", key), ("delete where", filter)."""
    for operation, key, *tag in operations:
        if operation == "delete":
            client.delete(name, ids=[key])
        elif operation == "delete where":
            client.delete(name, filter=key)
        else:
            getattr(client, operation)(name, [data.row(key, tag=tag[0])])


@pytest.mark.parametrize(
    "operations, left",
    [
        ([("insert", 1, "a"), ("insert", 2, "b"), ("delete", 2)], {1: "a"}),
        ([("insert", 1, "a"), ("delete", 1), ("insert", 1, "b")], {1: "b"}),
        ([("delete", 1), ("insert", 1, "a")], {1: "a"}),
        ([("insert", 1, "a"), ("upsert", 1, "b"), ("upsert", 1, "c")], {1: "c"}),
        ([("upsert", 1, "a"), ("delete", 1)], {}),
        ([("upsert", 1, "a"), ("delete", 1), ("upsert", 1, "b")], {1: "b"}),
        ([("insert", 1, "a"), ("delete where", "tag == 'a'"), ("insert", 2, "a")], {2: "a"}),
        ([("insert", 7, "a"), ("insert", 8, "a"), ("delete where", "id > 7"), ("insert", 9, "b")], {7: "a", 9: "b"}),
        ([("delete where", "id >= 0"), ("insert", 3, "a")], {3: "a"}),
    ],
)
@pytest.mark.parametrize("over", ["nothing", "committed rows"])
def s06_operations_of_one_block_apply_in_order(client, collection, operations, left, over):
    before = {}
    if over == "committed rows":
        before = {5: "old"}
        client.insert(collection, [data.row(1, tag="old"), data.row(5, tag="old")])
        client.flush(collection)
        # An insert beside an existing key makes two rows; these blocks are about order, not about that.
        operations = [("delete", 1), *operations]
    apply(client, collection, operations)
    client.flush(collection)
    if any(operation[1] == "id >= 0" for operation in operations):
        before = {}
    assert tags(client, collection) == before | left


@pytest.mark.parametrize("seed", [1, 2])
def s06_random_blocks_match_a_plain_map(client, collection, seed):
    random.seed(seed)
    model = {}
    for block in range(6):
        for step in range(12):
            key, tag = random.randrange(8), f"{block}.{step}"
            kind = random.choice(["insert", "upsert", "delete", "delete where"])
            if kind == "insert" and key in model:
                kind = "upsert"
            if kind in ("insert", "upsert"):
                apply(client, collection, [(kind, key, tag)])
                model[key] = tag
            elif kind == "delete":
                apply(client, collection, [("delete", key)])
                model.pop(key, None)
            else:
                apply(client, collection, [("delete where", f"id > {key} and id < {key + 3}")])
                model = {known: text for known, text in model.items() if not key < known < key + 3}
        client.flush(collection)
        assert tags(client, collection) == model, f"seed {seed}, block {block}"


def s07_own_flush_is_seen_by_own_queries(client, collection):
    for key in range(20):
        client.insert(collection, [data.row(key)])
        client.flush(collection)
        assert data.count(client, collection) == key + 1
        found = client.search(collection, [data.vector(key)], limit=1)
        assert found[0][0]["id"] == key


def s07_unflushed_is_lost_on_disconnect(server, client, collection, new_worker):
    writer = new_worker(server.uri)
    writer.insert(collection, data.rows([1]))
    writer.flush(collection)
    writer.insert(collection, data.rows([2]))
    writer.kill9()
    assert data.keys(client, collection) == [1]


def s08_a_returned_flush_is_seen_on_another_connection(server, client, collection, new_worker):
    left, right = new_worker(server.uri), new_worker(server.uri)
    for key in range(0, 40, 2):
        for offset, (writer, reader) in enumerate([(left, right), (right, left)]):
            writer.insert(collection, data.rows([key + offset]))
            writer.flush(collection)
            assert reader.query(collection, filter="id >= 0", output_fields=["count(*)"]) == [{"count(*)": key + offset + 1}]


@pytest.mark.parametrize("level", ["Strong", "Bounded", "Session", "Eventually"])
def s07_every_consistency_level_sees_what_was_flushed(client, collection, level):
    client.insert(collection, data.rows(range(5)))
    client.flush(collection)
    client.delete(collection, ids=[3])
    client.flush(collection)
    hits = client.search(collection, [data.vector(3)], limit=5, consistency_level=level)[0]
    assert sorted(hit["id"] for hit in hits) == [0, 1, 2, 4]
    found = client.query(collection, filter="id >= 0", output_fields=["id"], consistency_level=level)
    assert [row["id"] for row in found] == [0, 1, 2, 4]


def s09_before_the_flush_invisible_to_everybody_after_it_visible_to_all(server, client, collection, new_worker, new_raw):
    other, raw = new_worker(server.uri), new_raw(server.address)

    def seen():
        return [data.keys(client, collection), data.keys(other, collection), raw.count(collection)]

    client.insert(collection, data.rows(range(10)))
    assert seen() == [[], [], 0]
    assert len(client.get(collection, ids=[3])) == 0
    assert [len(hits) for hits in client.search(collection, [data.vector(3)], limit=5)] == [0]
    client.flush(collection)
    assert seen() == [list(range(10)), list(range(10)), 10]

    client.delete(collection, ids=[3])
    client.upsert(collection, [data.row(4, tag="new")])
    assert seen() == [list(range(10)), list(range(10)), 10]
    assert "tag" not in client.get(collection, ids=[4])[0]
    client.flush(collection)
    left = [key for key in range(10) if key != 3]
    assert seen() == [left, left, 9]
    assert other.get(collection, ids=[4])[0]["tag"] == "new"


def s09_a_search_over_unflushed_rows_says_why_nothing_is_there(server, collection, new_raw):
    raw = new_raw(server.address)
    quiet = raw.call("Search", search_request(collection, [data.vector(1)]))
    assert "redkite_warning" not in quiet.status.extra_info
    raw.insert(collection, [1], [data.vector(1)])
    first = raw.call("Search", search_request(collection, [data.vector(1)]))
    assert "flush" in first.status.extra_info["redkite_warning"]
    assert list(first.results.topks) == [0]
    raw.flush(collection)
    after = raw.call("Search", search_request(collection, [data.vector(1)]))
    assert list(after.results.topks) == [1]
    assert "redkite_warning" not in after.status.extra_info


def s09_the_first_read_over_unflushed_rows_is_warned_once_for_each_collection(server, client, new_raw):
    raw, other = new_raw(server.address), new_raw(server.address)
    searched, queried = data.create(client), data.create(client)
    raw.insert(searched, [1, 2], [data.vector(1), data.vector(2)])
    raw.insert(queried, [3], [data.vector(3)])
    search = search_request(searched, [data.vector(1)])
    query = milvus_pb2.QueryRequest(collection_name=queried, expr="id >= 0", output_fields=["id"])

    def warnings(reader) -> list[str]:
        answers = [reader.call("Search", search), reader.call("Query", query)]
        return [answer.status.extra_info.get("redkite_warning", "") for answer in answers]

    # Whoever has nothing unflushed is told nothing.
    assert warnings(other) == ["", ""]
    about_search, about_query = warnings(raw)
    assert about_search.startswith(f"2 rows this client inserted into {searched} are not visible yet: call flush()")
    assert about_query.startswith(f"1 row this client inserted into {queried} is not visible yet: call flush()")
    assert warnings(raw) == warnings(other) == ["", ""]
    for name, rows in ((searched, 2), (queried, 1)):
        lines = [line for line in server.log().splitlines() if "unflushed rows" in line and f'collection="{name}"' in line]
        assert len(lines) == 1 and f" rows={rows}" in lines[0] and "WARN" in lines[0], lines


@pytest.mark.parametrize("end", ["kill9", "close"])
def s10_a_disconnect_throws_inserts_and_deletes_away(server, client, collection, new_worker, end):
    client.insert(collection, data.rows([1, 2, 3]))
    client.flush(collection)
    writer = new_worker(server.uri)
    writer.insert(collection, data.rows([4]))
    writer.delete(collection, ids=[1])
    writer.upsert(collection, [data.row(2, tag="new")])
    getattr(writer, end)()
    # Somebody else's flush takes only his own block.
    client.insert(collection, data.rows([5]))
    client.flush(collection)
    assert data.keys(client, collection) == [1, 2, 3, 5]
    assert "tag" not in client.get(collection, ids=[2])[0]


def s10_the_loss_is_logged_and_counted(new_server, new_client, new_raw):
    server = new_server()
    client = new_client(server)
    first, second = sorted([data.create(client), data.create(client)])
    raw, flushed = new_raw(server.address), new_raw(server.address)
    raw.insert(second, [1, 2], [data.vector(1), data.vector(2)])
    raw.insert(first, [3], [data.vector(3)])
    raw.delete(first, "id == 7")
    raw.delete(first, "id == 8")
    flushed.insert(first, [4], [data.vector(4)])
    flushed.flush(first)
    assert server.metric("^redkite_sessions_lost_total") == 0
    assert server.metric("^redkite_sessions$") == 2
    flushed.close()
    raw.close()
    until("both sessions to end", lambda: server.metric("^redkite_sessions$") == 0)
    # What was flushed is no loss.
    assert server.metric("^redkite_sessions_lost_total") == 1
    (line,) = [line for line in server.log().splitlines() if "with unflushed operations; they are dropped" in line]
    lost = f'collections="{first}, {second}" rows=3 deletes=2 '
    for part in ("WARN", "the connection ended", "peer=127.0.0.1:", lost, f"identifier={raw.identifier} "):
        assert part in line, line


def s10_two_clients_of_one_process_share_a_connection_but_no_session(client, server, collection, new_client):
    first, second = new_client(server), new_client(server)
    first.insert(collection, data.rows([1]))
    second.insert(collection, data.rows([2]))
    first.close()
    second.flush(collection)
    assert data.keys(client, collection) == [2]


def s10_a_silent_reconnect_fails_once_and_says_what_was_lost(server, client, collection, new_raw):
    first = new_raw(server.address)
    first.insert(collection, [1], [data.vector(1)])
    first.close()
    again = new_raw(server.address, identifier=first.identifier)
    # Reads never fail for it.
    assert again.count(collection) == 0
    with pytest.raises(StatusError, match=LOST):
        again.flush(collection)
    again.insert(collection, [2], [data.vector(2)])
    again.flush(collection)
    assert data.keys(client, collection) == [2]


def s10_after_a_silent_reconnect_a_write_fails_once_too(server, client, collection, new_raw):
    first = new_raw(server.address)
    first.insert(collection, [1], [data.vector(1)])
    first.close()
    again = new_raw(server.address, identifier=first.identifier)
    with pytest.raises(StatusError, match=LOST):
        again.insert(collection, [2], [data.vector(2)])
    again.insert(collection, [3], [data.vector(3)])
    again.flush(collection)
    assert data.keys(client, collection) == [3]


def s10_a_reconnect_before_the_server_noticed_the_disconnect(server, client, collection, new_raw):
    first = new_raw(server.address)
    first.insert(collection, [1], [data.vector(1)])
    # The old connection is half open: the client gave it up, the server does not know yet.
    again = new_raw(server.address, identifier=first.identifier)
    with pytest.raises(StatusError, match=LOST):
        again.flush(collection)
    first.close()
    again.insert(collection, [2], [data.vector(2)])
    again.flush(collection)
    assert data.keys(client, collection) == [2]


def s10_an_identifier_that_died_empty_comes_back_silently(server, client, collection, new_raw):
    first = new_raw(server.address)
    first.insert(collection, [1], [data.vector(1)])
    first.flush(collection)
    first.close()
    again = new_raw(server.address, identifier=first.identifier)
    again.insert(collection, [2], [data.vector(2)])
    again.flush(collection)
    assert data.keys(client, collection) == [1, 2]


def s10_an_unmodified_client_over_a_cut_connection(server, client, collection, new_worker, new_proxy):
    proxy = new_proxy(server.port)
    writer = new_worker(proxy.uri)
    writer.insert(collection, data.rows([1]))
    proxy.cut()
    # pymilvus reconnects by itself, between two calls, when its library has noticed the cut.
    pause(1.0)
    with pytest.raises(WorkerError, match=LOST):
        writer.flush(collection)
    writer.insert(collection, data.rows([2]))
    writer.flush(collection)
    assert data.keys(client, collection) == [2]


@pytest.mark.parametrize("cut_before", range(1, 5))
def s10_a_cut_never_ends_in_an_acknowledged_half_block(server, client, collection, new_worker, new_proxy, cut_before):
    """A block of several calls, the connection cut before one of them: one call fails and says why, and what is
    acknowledged from there on is a block of its own."""
    client.insert(collection, data.rows([9]))
    client.flush(collection)
    proxy = new_proxy(server.port)
    writer = new_worker(proxy.uri)
    calls = [
        ("insert", data.rows([1, 2])),
        ("insert", data.rows([3])),
        ("delete", [9]),
        ("upsert", [data.row(2, tag="new")]),
        ("flush", None),
    ]
    acknowledged, failed = [], []
    for number, (method, argument) in enumerate(calls):
        if number == cut_before:
            proxy.cut()
            until("the server to notice", lambda: f'collections="{collection}"' in server.log())
            pause(0.3)
        try:
            writer.call(method, collection, *([] if argument is None else [argument]))
            acknowledged.append(number)
        except WorkerError as error:
            failed.append(error.message)
    assert len(failed) == 1 and re.search(LOST, failed[0]), failed
    # If the flush was told, its block is gone as a whole; else it had only what came after the call that was told.
    after = [number for number in acknowledged if number > cut_before]
    expected = {9} if 4 not in after else {9} - ({9} if 2 in after else set()) | ({2} if 3 in after else set())
    assert set(data.keys(client, collection)) == expected


def s10_a_client_that_counts_finds_a_loss_the_server_cannot_know_of(new_server, new_raw, new_client):
    """A server restarted between insert and flush and a client that connected anew, as pymilvus does after UNAVAILABLE:
    without `redkite-block-ops` nobody knows, with it the flush fails."""
    server = new_server()
    name = data.create(new_client(server))
    for counts in (True, False):
        first = new_raw(server.address)
        first.insert(name, [1], [data.vector(1)])
        server.restart()
        again = new_raw(server.address)
        again.insert(name, [2], [data.vector(2)])
        if counts:
            with pytest.raises(StatusError, match="(?i)2 operations.*holds 1"):
                again.flush(name, metadata={"redkite-block-ops": "2"})
            assert again.count(name) == 0
        else:
            again.flush(name)
            assert again.count(name) == 1


def s10_a_server_restarted_between_insert_and_flush(new_server, new_raw, new_client):
    server = new_server()
    name = data.create(new_client(server))
    first = new_raw(server.address)
    first.insert(name, [1], [data.vector(1)])
    first.close()
    server.restart()
    again = new_raw(server.address, identifier=first.identifier)
    with pytest.raises(StatusError, match=LOST):
        again.flush(name)
    again.insert(name, [2], [data.vector(2)])
    again.flush(name)
    assert data.keys(new_client(server), name) == [2]
    # A client that connects anew gets a new identifier. It can know only by counting: redkite-block-ops.
    fresh = new_raw(server.address)
    with pytest.raises(StatusError, match="(?i)operations"):
        fresh.flush(name, metadata={"redkite-block-ops": "1"})


def s10_a_restart_with_interval_0_and_a_collection_flushed_by_hand(new_server, new_raw, new_client):
    server = new_server(settings={"auto_flush": True, "flush_interval": 0})
    name = data.create(new_client(server), properties={"auto_flush": "false"})
    first = new_raw(server.address)
    first.insert(name, [1], [data.vector(1)])
    server.restart()
    again = new_raw(server.address, identifier=first.identifier)
    with pytest.raises(StatusError, match=LOST):
        again.flush(name)
    again.flush(name)
    assert again.count(name) == 0


def s10_block_ops_that_agree_and_that_do_not(server, client, collection, new_raw):
    raw = new_raw(server.address)
    raw.insert(collection, [1], [data.vector(1)])
    raw.delete(collection, "id == 7")
    raw.flush(collection, metadata={"redkite-block-ops": "2"})
    assert data.keys(client, collection) == [1]
    raw.insert(collection, [2], [data.vector(2)])
    with pytest.raises(StatusError):
        raw.flush(collection, metadata={"redkite-block-ops": "2"})
    with pytest.raises(StatusError):
        raw.flush(collection, metadata={"redkite-block-ops": "many"})
    assert data.keys(client, collection) == [1]


def s11_creating_and_dropping_need_no_flush(server, client, new_worker):
    other = new_worker(server.uri)
    name = data.create(client)
    assert other.has_collection(name)
    assert name in other.list_collections()
    client.insert(name, data.rows([1]))
    client.drop_collection(name)
    assert not other.has_collection(name)
    # A collection of the same name is another one: what was written for the first never gets into it. The client has
    # dropped that itself, so there is nothing to tell it.
    data.create(client, name)
    client.insert(name, data.rows([2]))
    client.flush(name)
    assert data.keys(other, name) == [2]


def test_a_collection_that_others_drop_takes_its_unflushed_rows_with_it_and_says_so(server, client, new_worker):
    other = new_worker(server.uri)
    name, kept = data.create(client), data.create(client)
    client.insert(name, data.rows([1]))
    client.insert(kept, data.rows([1]))
    other.drop_collection(name)
    data.create(client, name)
    with pytest.raises(Exception, match=name):
        client.flush(name)
    # What was written for others is still there to be flushed.
    client.flush(kept)
    assert data.keys(other, kept) == [1]
    assert data.keys(other, name) == []


def s12_one_flush_takes_the_whole_block(client, new_worker, server):
    first, second = data.create(client), data.create(client)
    client.insert(first, data.rows([1, 2]))
    client.insert(second, data.rows([1, 2]))
    client.flush(first)
    assert data.keys(client, first) == data.keys(client, second) == [1, 2]
    client.delete(first, ids=[1])
    client.insert(second, data.rows([3]))
    client.flush(second)
    assert data.keys(client, first) == [2]
    assert data.keys(client, second) == [1, 2, 3]
    client.insert(first, data.rows([4]))
    client.delete(second, ids=[1, 2])
    client.flush_all()
    assert data.keys(client, first) == [2, 4]
    assert data.keys(client, second) == [3]


def s12_readers_never_see_half_a_block(server, client, new_worker):
    size = 50
    names = [data.create(client), data.create(client)]
    for name in names:
        client.insert(name, data.rows(range(size), grp=0))
    client.flush(names[0])
    readers = [new_worker(server.uri).start(load.watch_groups, names, size) for _ in range(2)]
    writer = new_worker(server.uri)
    last = writer.call(load.swap_groups, names, size, blocks=25)
    assert last == 25
    for reader in readers:
        assert reader.stop() > 0
    assert {row["grp"] for row in client.query(names[1], filter="id >= 0", output_fields=["grp"])} == {25}


def s12_a_flush_that_fails_publishes_nothing_and_keeps_the_block(new_server, new_client, flush_failpoint):
    """It fails at its last file: the files before it are stored and nobody sees any of them."""
    server = new_server()
    server.restart(env={"FAILPOINTS": f"{flush_failpoint}=10*off->1*return"})
    client = new_client(server)
    first, second = data.create(client), data.create(client)
    client.insert(first, data.rows([1, 2]))
    client.insert(second, data.rows([1, 2]))
    client.flush(first)
    client.insert(first, data.rows([3]))
    client.delete(first, ids=[1])
    client.insert(second, data.rows([3]))
    client.delete(second, ids=[2])
    with pytest.raises(Exception, match="failpoint"):
        for _ in range(10):
            client.flush(first)
    assert server.data_files(), "some files were stored"
    assert data.keys(client, first) == data.keys(client, second) == [1, 2]
    client.flush(second)
    assert data.keys(client, first) == [2, 3]
    assert data.keys(client, second) == [1, 3]


def s12_an_automatic_flush_takes_the_whole_block(new_server, new_client):
    server = new_server(settings={"auto_flush": True, "flush_interval": 100})
    client, reader = new_client(server), new_client(server)
    first, second = data.create(client), data.create(client)
    for key in range(8):
        client.insert(first, data.rows([key]))
        client.insert(second, data.rows([key]))
        client.delete(first, ids=[key - 1])

        def published() -> bool:
            in_first, in_second = data.keys(reader, first), data.keys(reader, second)
            # Read in this order, the second collection may be newer, but never older.
            assert not in_first or in_first[-1] <= in_second[-1], (in_first, in_second)
            assert len(in_first) <= 1, "an insert without the delete of its block"
            return in_first == [key] and in_second[-1] == key

        until("the block to appear", published)


def s12_an_automatic_flush_that_fails_leaves_nothing_of_its_block(new_server, new_client, flush_failpoint):
    server = new_server(settings={"auto_flush": True, "flush_interval": 100})
    server.restart(env={"FAILPOINTS": f"{flush_failpoint}=3*off->1*return"})
    client = new_client(server)
    first, second = data.create(client), data.create(client)
    client.insert(first, data.rows([1]))
    client.insert(second, data.rows([1]))
    until("the failure to be counted", lambda: server.metric("auto_flush.*fail") >= 1)
    client.insert(second, data.rows([2]))
    until("the next block to appear", lambda: data.keys(client, second) == [2])
    assert data.keys(client, first) == []


def s12_a_client_that_dies_during_its_flush_leaves_a_whole_block_or_none(server, client, collection, new_worker):
    size = 2000
    for attempt in range(4):
        writer = new_worker(server.uri)
        writer.insert(collection, data.rows(range(attempt * size, (attempt + 1) * size)))
        writer.start("flush", collection)
        pause(0.004 * attempt)
        writer.kill9()
        # A flush that has frozen its block completes although nobody hears the answer; one that came too late is nothing.
        found = data.count(client, collection)
        assert found % size == 0 and found <= (attempt + 1) * size, found


def s12_a_block_over_200_collections_is_one_atom(server, new_client):
    client, reader = new_client(server), new_client(server)
    names = [data.create(client) for _ in range(200)]
    for name in names:
        client.insert(name, data.rows(range(3)))
    client.flush(names[0])
    for name in names:
        client.delete(name, ids=[0])
        client.insert(name, data.rows([7]))
    assert all(data.count(reader, name) == 3 for name in names[:5])
    client.flush(names[0])
    for name in names:
        assert data.keys(reader, name) == [1, 2, 7]
