"""kill -9 at random moments and at chosen ones: acknowledged blocks are whole, no block is there in part."""

import pathlib
import random
import re

import pytest

from support import data, load
from support.wait import pause

SIZE = 40


def failpoints() -> list[str]:
    """The failpoints a flush on local stores can meet, read from the sources: none is forgotten."""
    sources = pathlib.Path(__file__).parent.parent / "crates"
    text = "".join(path.read_text() for path in sources.glob("*/src/**/*.rs") if "test" not in path.name)
    names = set(re.findall(r'"((?:storage|meta|table|ingest)-(?:[a-z]+-)*(?:before|after)-[a-z-]+)"', text))
    return sorted(name for name in names if "etcd" not in name)


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


@pytest.mark.parametrize("seed", [1])
def test_random_kill9_under_load_with_readers(new_server, new_client, new_worker, tmp_path, seed):
    random.seed(seed)
    server = new_server()
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


FAILPOINTS = failpoints()

# Passes of one failpoint that are tried one after another; a flush of one collection needs fewer.
PASSES_MAX = 60


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


def attempt(server, new_client, operation) -> bool:
    """Whether the operation was acknowledged."""
    try:
        operation(new_client(server))
        return True
    except Exception:
        return False


@pytest.mark.parametrize("action", ["return(abort)", "return"])
@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_a_flush_that_runs_into_a_failpoint(new_server, new_client, failpoint, action):
    """At every pass of every failpoint: a block that inserts and deletes. Afterwards it is there wholly or not at all, and
    wholly if it was acknowledged; what was there before is there still."""
    server = new_server()
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows(range(SIZE), grp=0))
    client.flush(name)
    server.terminate()
    last = 0
    for passes in range(PASSES_MAX):
        if not starts(server, armed(failpoint, passes, action)):
            server.restart(env={})
            continue
        block = last + 1

        def operation(client):
            client.insert(name, data.rows(range(block * SIZE, (block + 1) * SIZE), grp=block), timeout=5)
            client.delete(name, filter=f"grp == {last}", timeout=5)
            client.flush(name, timeout=5)

        acknowledged = attempt(server, new_client, operation)
        if action == "return":
            assert server.alive(), f"{failpoint}, pass {passes}: the server died of an error:\n{server.log()[-3000:]}"
        struck = not acknowledged or not server.alive()
        server.restart(env={})
        found = new_client(server).query(name, filter="id >= 0", output_fields=["grp"])
        groups = {row["grp"] for row in found}
        where = f"{failpoint}, pass {passes}: {len(found)} rows of {groups}"
        assert len(found) == SIZE and groups in ({last}, {block}), where
        assert groups == {block} or not acknowledged, where
        last = groups.pop()
        server.terminate()
        if not struck:
            return
    raise AssertionError(f"{failpoint} still strikes after {PASSES_MAX} passes")


@pytest.mark.parametrize("failpoint", [name for name in FAILPOINTS if name.startswith("meta-embedded")])
def test_a_drop_that_runs_into_a_failpoint(new_server, new_client, failpoint):
    """A collection is there with its rows or not at all; a name that was dropped can be used again."""
    server = new_server()
    name = data.fresh()
    server.terminate()
    for passes in range(PASSES_MAX):
        server.restart(env={})
        client = new_client(server)
        if not client.has_collection(name):
            data.create(client, name)
            client.insert(name, data.rows(range(10)))
            client.flush(name)
        server.terminate()
        if not starts(server, armed(failpoint, passes, "return(abort)")):
            continue
        acknowledged = attempt(server, new_client, lambda client: client.drop_collection(name, timeout=5))
        struck = not server.alive()
        server.restart(env={})
        client = new_client(server)
        if client.has_collection(name):
            assert not acknowledged
            assert data.keys(client, name) == list(range(10))
        server.terminate()
        if not struck:
            return
    raise AssertionError(f"{failpoint} still strikes after {PASSES_MAX} passes")
