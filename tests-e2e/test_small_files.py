"""Small files are merged and space is given back, while clients write, read and delete: S35, S37, S41, and reading the past."""

import contextlib
import json
import pathlib
import random
import re
import threading
import time

import pytest
from pymilvus import MilvusException

from support import data
from support.raw import StatusError
from support.server import run_binary
from support.wait import pause, until

# Everything at once: merges of a few fragments, nothing retained, rounds in quick succession.
EAGER = {"merge.fan_in": 4, "gc.retention": "0s", "gc.interval": "100ms"}


def admin(server, *args) -> object:
    """What `redkite admin ... --json` answers."""
    run = run_binary("admin", *args, "--json", "--address", server.http.removeprefix("http://"), timeout_s=120)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def fragments(server, name: str) -> list[dict]:
    return admin(server, "fragments", "--collection", name)


def flush_revision(client, name: str) -> int:
    """Flushes and tells the revision that the rows are visible from."""
    from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

    handler = client._get_connection()
    stub = milvus_pb2_grpc.MilvusServiceStub(handler._final_channel)
    answer = stub.Flush(milvus_pb2.FlushRequest(collection_names=[name]), timeout=30)
    assert answer.status.code == 0, answer.status
    return answer.coll_flush_ts[name]


def s41_a_thousand_small_flushes_end_as_few_fragments(new_server, new_client):
    server = new_server(settings={"gc.retention": "0s", "gc.interval": "200ms"})
    client = new_client(server)
    name = data.create(client)
    for block in range(1_000):
        keys = range(block * 10, block * 10 + 10)
        client.insert(name, data.rows(keys, grp=block))
        flush_revision(client, name)
        if block % 100 == 99:
            # Exact at any time, whatever is being merged.
            assert data.count(client, name) == (block + 1) * 10
            key = random.Random(block).choice(range(block * 10 + 10))
            hits = client.search(name, [data.vector(key)], limit=1, output_fields=["grp"])[0]
            assert (hits[0]["id"], hits[0]["entity"]["grp"]) == (key, key // 10)
    assert server.metric(r"^redkite_merges_total") > 50
    until("few fragments to be left", lambda: len(fragments(server, name)) <= 40)
    admin(server, "merge", "--collection", name)
    left = fragments(server, name)
    assert len(left) == 1 and left[0]["live_rows"] == 10_000
    assert data.keys(client, name) == list(range(10_000))
    merged = sizes(server, client, name)
    # One clean load of the same rows takes hardly less.
    clean = new_server()
    other = new_client(clean)
    data.create(other, name)
    other.insert(name, [row for block in range(1_000) for row in data.rows(range(block * 10, block * 10 + 10), grp=block)])
    other.flush(name)
    loaded = sizes(clean, other, name)
    assert merged["files"] <= loaded["files"] * 1.3, (merged, loaded)
    assert merged["entries"] <= loaded["entries"] * 1.3, (merged, loaded)


def sizes(server, client, name: str) -> dict[str, int]:
    """Bytes of all data files, and of the collection's metadata, once nothing is left to remove."""
    admin(server, "gc")
    files = sum(path.stat().st_size for path in server.data_files())
    lines = server.meta_lines()
    server.start()
    own = [line for line in lines if f"/{name}/" in line["key"] or "/.tomb/" in line["key"]]
    return {"files": files, "entries": sum(len(line["key"]) + len(json.dumps(line["value"])) for line in own)}


def s35_files_are_never_changed_in_place(new_server, new_client):
    server = new_server(settings={"gc.enabled": False, "merge.fan_in": 2})
    client = new_client(server)
    name = data.create(client)
    seen = {}
    for block in range(12):
        client.insert(name, data.rows(range(block * 5, block * 5 + 5)))
        client.delete(name, ids=[block * 5 - 1])
        client.flush(name)
        for path in server.data_files():
            if path.suffix != ".tmp":
                content = path.read_bytes()
                assert seen.setdefault(path, content) == content, path
    admin(server, "merge")
    assert all(path.read_bytes() == content for path, content in seen.items())
    assert len(fragments(server, name)) == 1


def s41_a_delete_that_commits_during_merges_is_never_lost(new_server, new_client, new_worker):
    server = new_server(settings=EAGER | {"merge.fan_in": 2})
    client = new_client(server)
    name = data.create(client)
    stop = threading.Event()

    def merge_always() -> None:
        while not stop.is_set():
            admin(server, "merge", "--collection", name)

    merging = threading.Thread(target=merge_always)
    merging.start()
    try:
        deleter = new_worker(server.uri)
        left = set()
        for block in range(60):
            keys = range(block * 20, block * 20 + 20)
            client.insert(name, data.rows(keys))
            client.flush(name)
            left |= set(keys)
            gone = random.Random(block).sample(sorted(left), 7)
            deleter.delete(name, ids=gone)
            deleter.flush(name)
            left -= set(gone)
            assert data.count(client, name) == len(left), f"block {block}"
    finally:
        stop.set()
        merging.join()
    assert data.keys(client, name) == sorted(left)
    assert server.metric(r"^redkite_merges_total") > 5


def s41_kill9_during_merges_and_collections_loses_nothing(new_server, new_client):
    server = new_server(settings=EAGER | {"merge.fan_in": 2, "gc.sweep_interval": "300ms"})
    name = data.create(new_client(server))
    rng = random.Random(41)
    expected = set()
    for round in range(8):
        client = new_client(server)
        for block in range(12):
            keys = range((round * 12 + block) * 10, (round * 12 + block) * 10 + 10)
            client.insert(name, data.rows(keys))
            gone = rng.sample(sorted(expected), min(5, len(expected)))
            if gone:
                client.delete(name, ids=gone)
            client.flush(name)
            expected = (expected | set(keys)) - set(gone)
        pause(rng.uniform(0, 0.3))
        server.restart()
        assert data.keys(new_client(server), name) == sorted(expected), f"round {round}"
    admin(server, "merge")
    admin(server, "gc")
    assert data.keys(new_client(server), name) == sorted(expected)
    check_store(server)


def check_store(server) -> None:
    """The store holds exactly the files that the metadata names."""
    keys = [key for key in server.meta() if "/data/" in key]
    named = {key.removeprefix("/") for key in keys}
    stored = {path.as_posix().split("/objects/", 1)[1] for path in server.data_files()}
    assert stored == named
    server.start()


def job_failpoints() -> list[str]:
    """The failpoints of background work, read from the sources: none is forgotten."""
    sources = pathlib.Path(__file__).parent.parent / "crates" / "jobs" / "src"
    text = "".join(path.read_text() for path in sources.glob("**/*.rs"))
    return sorted(set(re.findall(r'step\("([a-z-]+)"\)', text)))


@pytest.mark.parametrize("action", ["return(abort)", "return"])
@pytest.mark.parametrize("failpoint", job_failpoints())
def s41_background_work_that_runs_into_a_failpoint(new_server, new_client, failpoint, action):
    """Whatever step of merging or collecting fails or is the last one of the process: the rows are as they were, and the next
    try ends with nothing left over."""
    quiet = {"merge.enabled": False, "gc.enabled": False, "gc.retention": "0s"}
    server = new_server(settings=quiet)
    client = new_client(server)
    name, dropped = data.create(client), data.create(client)
    for collection in (name, dropped):
        for block in range(3):
            client.insert(collection, data.rows(range(block * 10, block * 10 + 10)))
            client.delete(collection, ids=[block * 10])
            client.flush(collection)
    client.drop_collection(dropped)
    left = [key for key in range(30) if key % 10]
    # Something that was never committed, as an upload that died leaves it.
    abandoned = server.data_files()[0].parent.parent / "0000000000000000002-00000000000000aa" / "s100.arrow"
    abandoned.parent.mkdir()
    abandoned.write_bytes(b"abandoned")
    server.restart(env={"FAILPOINTS": f"{failpoint}=1*{action}"})
    address = server.http.removeprefix("http://")
    failed = 0
    for command in ("merge", "gc"):
        run = run_binary("admin", command, "--address", address)
        failed += run.returncode != 0
        if action == "return(abort)" and run.returncode != 0:
            server.wait_exit()
            break
        assert server.alive(), server.log()[-2000:]
    assert failed == 1, failpoint
    server.restart(env={})
    assert data.keys(new_client(server), name) == left
    admin(server, "merge")
    admin(server, "gc")
    assert data.keys(new_client(server), name) == left
    assert len(fragments(server, name)) == 1
    assert not abandoned.exists()
    check_store(server)


def s37_outcomes_of_named_flushes_outlive_what_they_wrote(new_server, new_client, new_raw):
    """The fragments a flush wrote are merged and removed; what is known of the flush stays."""
    server = new_server(settings={"merge.enabled": False, "gc.enabled": False, "gc.retention": "0s"})
    name = data.create(new_client(server))
    raw = new_raw(server.address)
    revisions = {}
    for key in range(5):
        raw.insert(name, [key], [data.vector(key)])
        revisions[key] = raw.flush_named(f"block {key}", name).coll_flush_ts[name]
    with pytest.raises(StatusError, match="flush ID was not committed"):
        raw.flush_outcome("never sent")
    written = set(server.data_files())
    admin(server, "merge", "--collection", name)
    admin(server, "gc")
    assert len(fragments(server, name)) == 1
    assert not written & set(server.data_files()), "files of the flushes are still there"
    for _ in range(2):
        for key, revision in revisions.items():
            assert raw.flush_outcome(f"block {key}")
            # Sent again it is not committed twice and answers as the first time.
            assert raw.flush_named(f"block {key}", name).coll_flush_ts[name] == revision
        with pytest.raises(StatusError, match="flush ID was not committed"):
            raw.flush_outcome("never sent")
        assert raw.count(name) == 5
        server.restart()
        raw = new_raw(server.address)


def test_a_dropped_collection_gives_its_space_back_and_its_name_is_free(new_server, new_client):
    server = new_server(settings={"gc.retention": "0s", "gc.enabled": False})
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows(range(100)))
    client.flush(name)
    for generation in range(3):
        client.drop_collection(name)
        data.create(client, name)
        assert data.count(client, name) == 0
        client.insert(name, data.rows([generation]))
        client.flush(name)
    assert data.keys(client, name) == [2]
    admin(server, "gc")
    assert data.keys(client, name) == [2]
    check_store(server)
    # A fragment of three columns is all that is left.
    assert len(server.data_files()) == 3


def test_the_past_can_be_read_by_revision_and_by_time(server, new_client):
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows(range(10), tag="old"))
    first = flush_revision(client, name)
    pause(1.1)
    between = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    pause(1.1)
    client.delete(name, ids=[0, 1, 2])
    client.upsert(name, data.rows([5], tag="new"))
    second = flush_revision(client, name)
    assert second > first
    for past in (f"{name}@{first}", f"{name}@{between}"):
        assert data.keys(client, past) == list(range(10))
        assert data.count(client, past) == 10
        assert client.get(past, [5], output_fields=["tag"])[0]["tag"] == "old"
        hits = client.search(past, [data.vector(0)], limit=1, output_fields=["tag"])[0]
        assert (hits[0]["id"], hits[0]["entity"]["tag"]) == (0, "old")
        assert client.get_collection_stats(past)["row_count"] == 10
        assert client.describe_collection(past)["collection_name"] == past
        assert client.has_collection(past)
    assert data.keys(client, f"{name}@{second}") == data.keys(client, name) == list(range(3, 10))
    # After a merge, too, and after the collection is gone.
    admin(server, "merge", "--collection", name)
    assert data.keys(client, f"{name}@{first}") == list(range(10))
    client.drop_collection(name)
    assert data.keys(client, f"{name}@{first}") == list(range(10))
    assert not client.has_collection(name)


def test_a_renamed_collection_keeps_its_rows_and_its_past_keeps_its_name(server, new_client):
    client = new_client(server)
    name = data.create(client)
    other, new = data.create(client), f"{name}_renamed"
    client.insert(name, data.rows(range(5)))
    before = flush_revision(client, name)
    # Not flushed yet: it goes where the collection goes.
    client.insert(name, data.rows([7]))
    client.rename_collection(name, new)
    assert not client.has_collection(name) and client.has_collection(new)
    assert client.describe_collection(new)["collection_name"] == new
    after = flush_revision(client, new)
    client.insert(new, data.rows([8]))
    client.flush(new)
    assert data.keys(client, new) == [0, 1, 2, 3, 4, 7, 8]
    assert data.keys(client, f"{name}@{before}") == list(range(5))
    assert data.keys(client, f"{new}@{after}") == [0, 1, 2, 3, 4, 7]
    for missing in (f"{new}@{before}", f"{name}@{after}", name):
        with pytest.raises(MilvusException, match="not found"):
            data.keys(client, missing)
    with pytest.raises(MilvusException, match="duplicated new collection name"):
        client.rename_collection(new, other)
    with pytest.raises(MilvusException, match="not found") as raised:
        client.rename_collection(name, f"{name}_x")
    assert raised.value.code == 100
    with pytest.raises(MilvusException, match="should be different"):
        client.rename_collection(new, new)
    with pytest.raises(MilvusException, match="[Ii]nvalid collection name"):
        client.rename_collection(new, "a/b")
    # The name is free, and a restart changes nothing.
    data.create(client, name)
    assert data.count(client, name) == 0
    server.restart()
    client = new_client(server)
    assert (data.count(client, name), data.count(client, new)) == (0, 7)
    client.drop_collection(name)
    client.rename_collection(new, name)
    assert data.keys(client, name) == [0, 1, 2, 3, 4, 7, 8]


def test_the_past_cannot_be_changed(server, client, collection):
    client.insert(collection, data.rows([1]))
    past = f"{collection}@{flush_revision(client, collection)}"
    for change in (
        lambda: client.insert(past, data.rows([2])),
        lambda: client.upsert(past, data.rows([1])),
        lambda: client.delete(past, ids=[1]),
        lambda: client.drop_collection(past),
        lambda: client.create_collection(past, dimension=4),
        lambda: client.flush(past),
        lambda: client.release_collection(past),
        lambda: client.load_collection(past),
        lambda: client.alter_collection_properties(past, {"a": "b"}),
        lambda: client.drop_index(past, "vector"),
        lambda: client.rename_collection(past, collection + "_other"),
    ):
        with pytest.raises(MilvusException, match="@|past|[Ii]nvalid collection name"):
            change()
    assert data.keys(client, collection) == data.keys(client, past) == [1]


def test_moments_that_cannot_be_read_are_told_with_what_can(new_server, new_client):
    server = new_server(settings={"gc.retention": "0s", "gc.enabled": False})
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows(range(5)))
    old = flush_revision(client, name)
    client.delete(name, ids=[1])
    flush_revision(client, name)
    admin(server, "merge")
    horizon = admin(server, "gc")["standing"]["horizon"]
    with pytest.raises(MilvusException, match=f"older than the retention.* {horizon}"):
        data.keys(client, f"{name}@{old}")
    with pytest.raises(MilvusException, match="older than the retention"):
        data.keys(client, f"{name}@2020-01-01T00:00:00Z")
    assert data.keys(client, f"{name}@{horizon}") == [0, 2, 3, 4]
    with pytest.raises(MilvusException, match="has not been yet"):
        data.keys(client, f"{name}@999999999")
    with pytest.raises(MilvusException, match="has not been yet"):
        data.keys(client, f"{name}@2099-01-01T00:00:00Z")
    with pytest.raises(MilvusException, match="names no past state.*@186523"):
        data.keys(client, f"{name}@yesterday")
    with pytest.raises(MilvusException, match="not found"):
        data.keys(client, f"nothing@{horizon}")


def test_what_is_read_of_the_past_outlives_the_retention(new_server, new_client):
    server = new_server(settings=EAGER)
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows(range(5)))
    old = f"{name}@{flush_revision(client, name)}"
    # Read once, it stays readable for a while, whatever is collected.
    assert data.keys(client, old) == list(range(5))
    for key in range(5):
        client.delete(name, ids=[key])
        flush_revision(client, name)
    admin(server, "merge")
    admin(server, "gc")
    assert data.keys(client, old) == list(range(5))
    assert data.keys(client, name) == []


def test_writes_committed_at_once_by_many_clients_share_fragments(new_server, new_worker, new_client):
    server = new_server(settings={"auto_flush": True, "flush_interval": 0, "merge.enabled": False})
    client = new_client(server)
    name = data.create(client)
    workers = [new_worker(server.uri) for _ in range(20)]
    writes = 10
    for write in range(writes):
        for number, worker in enumerate(workers):
            key = number * writes + write
            worker.start("insert", name, data.rows([key]))
        for worker in workers:
            worker.result()
    assert data.keys(client, name) == list(range(20 * writes))
    made = len(fragments(server, name))
    assert made <= 20 * writes / 2, f"{made} fragments of {20 * writes} writes"


def test_figures_tell_how_things_stand(new_server, new_client):
    server = new_server(settings={"gc.interval": "100ms", "merge.enabled": False})
    client = new_client(server)
    name = data.create(client)
    for block in range(5):
        client.insert(name, data.rows([block]))
        client.flush(name)
    until("five fragments to be counted", lambda: server.metric(r"^redkite_fragments$") == 5)
    assert server.metric(r"^redkite_fragments_unmerged") == 5
    before = server.metric(r"^redkite_tombstones")
    admin(server, "merge")
    until("the merge to be counted", lambda: server.metric(r"^redkite_fragments$") == 1)
    until("old files to be told as retained", lambda: server.metric(r'^redkite_bytes\{state="retained"') > 0)
    assert server.metric(r"^redkite_tombstones") == before + 5
    assert server.metric(r"^redkite_oldest_floor_revision") > 0
    standing = admin(server, "gc")["standing"]
    assert standing["oldest_floor_holder"] == "standalone/1/0"


def test_flushes_slow_down_visibly_when_merging_is_behind(new_server, new_client):
    # No merge ever succeeds.
    server = new_server(env={"FAILPOINTS": "merge-before-file=return"})
    client = new_client(server)
    name = data.create(client)
    for block in range(210):
        client.insert(name, data.rows([block]))
        flush_revision(client, name)
    until("the backlog to be noticed", lambda: "merging is behind" in server.log())
    client.insert(name, data.rows([210]))
    flush_revision(client, name)
    assert server.metric(r"^redkite_flush_slowdowns_total") > 0
    assert data.count(client, name) == 211
    # Once merging works again, so do flushes.
    server.restart(env={})
    until("the backlog to be merged", lambda: len(fragments(server, name)) < 50)
    until("that to be noticed", lambda: "full speed again" in server.log())
    client = new_client(server)
    slowed = server.metric(r"^redkite_flush_slowdowns_total")
    client.insert(name, data.rows([211]))
    flush_revision(client, name)
    assert server.metric(r"^redkite_flush_slowdowns_total") == slowed


def test_the_admin_command_says_what_is_wrong(new_server):
    server = new_server()
    address = server.http.removeprefix("http://")
    unknown = run_binary("admin", "merge", "--collection", "nothing", "--address", address)
    assert unknown.returncode == 1 and "nothing" in unknown.stderr and "not found" in unknown.stderr
    nobody = run_binary("admin", "gc", "--address", "127.0.0.1:1")
    assert nobody.returncode == 1 and "127.0.0.1:1" in nobody.stderr and "--http" in nobody.stderr
    bad = run_binary("admin", "gc", "--address", "here")
    assert bad.returncode == 1 and "--address" in bad.stderr
    people = run_binary("admin", "gc", "--address", address)
    assert people.returncode == 0 and "tombstones" in people.stdout
    with contextlib.suppress(OSError):
        status, body, _ = server.get("/admin/fragments/nothing")
        assert status == 404 and "nothing" in body
