"""kill -9 at random moments and at chosen ones: acknowledged blocks are whole, no block is there in part."""

import contextlib
import pathlib
import random
import re

import pytest

from support import data, load
from support.s3 import on_s3
from support.wait import pause

SIZE = 40


def failpoints() -> list[str]:
    """The failpoints of flush and drop, read from the sources: none is forgotten. Those of background work are another test's."""
    sources = pathlib.Path(__file__).parent.parent / "crates"
    files = [path for path in sources.glob("*/src/**/*.rs") if "test" not in path.name and "jobs" not in path.parts]
    text = "".join(path.read_text() for path in files)
    called = re.findall(r'(?:step|full_disk)\("([a-z]+(?:-[a-z]+)+)"\)', text)
    named = re.findall(r'const [A-Z_]+: &str = "((?:storage|meta)-(?:before|after)-[a-z]+)"', text)
    # The metadata file grows and is rewritten too rarely; crates/meta/tests/it/faults.rs makes it do so.
    return sorted({*called, *named} - {"meta-embedded-grow", "meta-embedded-rewrite"})


def acknowledged(report) -> list[int]:
    return [int(line) for line in report.read_text().split()]


def check_blocks(client, name: str, report, tried) -> int:
    """Every acknowledged block is there wholly, every other one wholly or not at all. Returns the next free block."""
    found = client.query(name, filter="id >= 0", output_fields=["grp"], limit=16_000)
    rows = {}
    for row in found:
        rows.setdefault(row["grp"], []).append(row["id"])
    for group, keys in rows.items():
        assert sorted(keys) == list(range(group * SIZE, (group + 1) * SIZE)), f"block {group} in part: {len(keys)} rows"
    missing = set(acknowledged(report)) - set(rows)
    assert not missing, f"acknowledged blocks are gone: {sorted(missing)}"
    started = acknowledged(tried)
    assert set(rows) <= set(started), "a block is there that nobody flushed"
    return max(started, default=-1) + 1


@pytest.fixture
def server_over(new_server, request):
    """Makes a server over `stores`: those of its own data directory ("local"), "etcd", or "etcd and S3"."""

    def make(stores: str, settings: dict | None = None):
        options = on_s3(request.getfixturevalue("s3")) if "S3" in stores else {"settings": {}, "env": {}}
        if "etcd" in stores:
            options["settings"]["etcd.endpoints"] = [request.getfixturevalue("etcd").endpoint]
        options["settings"].update(settings or {})
        return new_server(**options)

    return make


@pytest.mark.parametrize("stores, seed", [("local", 1), ("etcd and S3", 3)])
def test_random_kill9_under_load_with_readers(server_over, new_client, new_worker, tmp_path, stores, seed):
    random.seed(seed)
    server = server_over(stores)
    name = data.create(new_client(server))
    report, tried = tmp_path / "blocks", tmp_path / "blocks.tried"
    report.touch()
    tried.touch()
    readers = [new_worker(server.uri).start(load.watch_whole_blocks, name, SIZE) for _ in range(2)]
    block = 0
    for _ in range(6):
        writer = new_worker(server.uri).start(load.insert_until_it_fails, name, SIZE, str(report), block)
        pause(random.uniform(0.15, 0.6))
        server.kill9()
        writer.kill9()
        server.start()
        block = check_blocks(new_client(server), name, report, tried)
    assert acknowledged(report), "no block was ever acknowledged"
    for reader in readers:
        reader.stop()


@pytest.mark.parametrize("seed", [2])
def test_random_kill9_under_blocks_that_delete_in_two_collections(new_server, new_client, new_worker, tmp_path, seed):
    """Every block replaces all rows of two collections. Whenever the server dies, both show one and the same block."""
    random.seed(seed)
    server = new_server()
    client = new_client(server)
    names = [data.create(client), data.create(client)]
    for name in names:
        client.insert(name, data.rows(range(SIZE), grp=0))
    client.flush(names[0])
    report = tmp_path / "groups"
    report.write_text("0\n")
    readers = [new_worker(server.uri).start(load.watch_groups, names, SIZE) for _ in range(2)]
    group = 0
    for _ in range(6):
        writer = new_worker(server.uri)
        writer.start(load.swap_groups, names, SIZE, group + 1, report=str(report))
        pause(random.uniform(0.15, 0.6))
        server.kill9()
        writer.kill9()
        server.start()
        found = [new_client(server).query(name, filter="id >= 0", output_fields=["grp"]) for name in names]
        groups = {row["grp"] for rows in found for row in rows}
        assert [len(rows) for rows in found] == [SIZE, SIZE] and len(groups) == 1, groups
        group = groups.pop()
        assert group - acknowledged(report)[-1] in (0, 1), (group, acknowledged(report)[-3:])
    assert group > 3, "too few blocks were ever acknowledged"
    for reader in readers:
        assert reader.stop() > 0


FAILPOINTS = failpoints()

# Each with the stores it is passed over; those of the object store and of etcd over both of them, too.
PLACES = [(name, "etcd" if "etcd" in name else "local") for name in FAILPOINTS]
PLACES += [(name, "etcd and S3") for name in FAILPOINTS if re.match("storage-.*-(put|open)|meta-etcd-", name)]

# What runs in the background would meet the failpoints, too.
QUIET = {"merge.enabled": False, "gc.enabled": False}

# Passes of one failpoint that are tried one after another; what is swept needs fewer.
PASSES_MAX = 200
# So many passes in a row without effect, and the operation is past its last one. One alone may be a step whose failure is
# made up for.
QUIET_PASSES = 3


def armed(failpoint: str, passes: int, action: str) -> dict:
    """The environment in which the failpoint strikes once, at its pass number `passes` (counted from 0)."""
    return {"FAILPOINTS": f"{failpoint}={passes}*off->1*{action}" if passes else f"{failpoint}=1*{action}"}


def starts(server, env: dict) -> bool:
    """Starts it with the failpoint armed; it may strike before the server is ready."""
    server.env = env
    try:
        server.start()
        return True
    except AssertionError:
        if server.alive():
            server.kill9()
        return False


def sweep(server, failpoint: str, action: str, operations) -> int:
    """Starts the server with the failpoint armed at every pass in turn and calls `operations(where)`, a context manager
    that yields calls to make on the armed server and afterwards, with nothing armed, checks what is there. A call that fails
    is made again if the failpoint does not kill: it strikes once. Returns how many passes had an effect."""
    unarmed = dict(server.env)
    struck = quiet = 0
    for passes in range(PASSES_MAX):
        where = f"{failpoint}, pass {passes}"
        if server.alive():
            server.terminate()
        if not starts(server, unarmed | armed(failpoint, passes, action)):
            server.restart(env=unarmed)
            struck += 1
            continue
        with operations(where) as calls:
            failures = []
            for call in calls:
                try:
                    call()
                except Exception as error:
                    failures.append(error)
                    if action == "return(abort)":
                        # Connections may end a moment before the process has.
                        server.wait_exit()
                        break
                    assert server.alive(), f"{where}: died of an error:\n{server.log()[-3000:]}"
                    call()
            calls.completed = action == "return" or not failures
            server.restart(env=unarmed)
        struck += bool(failures)
        quiet = 0 if failures else quiet + 1
        if quiet == QUIET_PASSES:
            return struck
    raise AssertionError(f"{failpoint} still strikes after {PASSES_MAX} passes")


class Calls(list):
    """Calls to make on an armed server, and whether all of them succeeded in the end."""

    completed = False


@pytest.mark.parametrize("action", ["return(abort)", "return"])
@pytest.mark.parametrize("failpoint, stores", PLACES)
def test_a_flush_that_runs_into_a_failpoint(server_over, new_client, failpoint, stores, action):
    """At every pass of every failpoint: a block that inserts and deletes. Afterwards it is there wholly or not at all, and
    wholly if it was acknowledged; what was there before is there still. Where a step fails, the block is still in the session
    and the client flushes it by trying again."""
    server = server_over(stores, QUIET)
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows(range(SIZE), grp=0))
    client.flush(name)
    shown = [0]

    @contextlib.contextmanager
    def block(where: str):
        last, client = shown[0], new_client(server)
        rows = data.rows(range((last + 1) * SIZE, (last + 2) * SIZE), grp=last + 1)
        calls = Calls([
            lambda: client.insert(name, rows, timeout=5),
            lambda: client.delete(name, filter=f"grp == {last}", timeout=5),
            lambda: client.flush(name, timeout=5),
        ])
        yield calls
        after = new_client(server)
        found = after.query(name, filter="id >= 0", output_fields=["grp"])
        groups = {row["grp"] for row in found}
        where = f"{where}: {len(found)} rows of {groups}"
        # A count sees rows of the same key that a query shows as one.
        assert len(found) == data.count(after, name) == SIZE and groups in ({last}, {last + 1}), where
        assert groups == {last + 1} or not calls.completed, where
        shown[0] = groups.pop()

    effects = sweep(server, failpoint, action, block)
    # A failure may be made up for.
    assert effects or action == "return", f"{failpoint} was never passed"


@pytest.mark.parametrize("action", ["return(abort)", "return"])
@pytest.mark.parametrize("failpoint, stores", [place for place in PLACES if place[0].startswith("meta-") and "S3" not in place[1]])
def test_a_drop_that_runs_into_a_failpoint(server_over, new_client, failpoint, stores, action):
    """A collection is there with its rows or not at all; a name that was dropped can be used again."""
    server = server_over(stores, QUIET)
    name = data.fresh()

    def fill() -> None:
        client = new_client(server)
        if not client.has_collection(name):
            data.create(client, name)
            client.insert(name, data.rows(range(10)))
            client.flush(name)

    @contextlib.contextmanager
    def drop(where: str):
        client = new_client(server)
        calls = Calls([lambda: client.drop_collection(name, timeout=5)])
        yield calls
        after = new_client(server)
        if after.has_collection(name):
            assert not calls.completed, where
            assert data.keys(after, name) == list(range(10)), where
        fill()

    fill()
    sweep(server, failpoint, action, drop)
