"""The Rust client (`crates/api/examples/client`): S24 by asking the Master, S10, S12 and S37 without the user's help."""

import os
import re
import subprocess

import pytest

from support import data
from support.server import clean_env, guarded
from support.wait import until

# Short, so that a node that does not answer is missed soon; no test depends on how soon.
QUICK = {"master_heart_beat_interval": 50}
BLOCKS = 150
ROWS = 10


@pytest.fixture
def run(tmp_path):
    """Starts the example: `run("127.0.0.1:19530", "blocks", 7)`; what it prints stands in the process's `said`."""
    program = os.environ.get("REDKITE_TEST_RUST_CLIENT")
    assert program, "REDKITE_TEST_RUST_CLIENT is not set; run `cargo xtask test --only e2e`"
    made = []

    def start(*args) -> subprocess.Popen:
        path = tmp_path / f"client{len(made)}"
        with open(path, "wb") as out:
            process = subprocess.Popen(
                guarded([program, *map(str, args)]), env=clean_env(), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        process.said = path.read_text
        made.append(process)
        return process

    yield start
    for process in made:
        process.kill()
        process.wait()


def committed(process) -> list[tuple[int, str]]:
    """Blocks it says are committed, and on which node."""
    return [(int(block), node) for block, node in re.findall(r"block (\d+) is committed on (\S+)\n", process.said())]


def check_blocks(client, name: str, process) -> None:
    """Every block is there once and whole, as it says."""
    assert process.wait(120) == 0, process.said()
    assert [block for block, _ in committed(process)] == list(range(BLOCKS))
    # Of each block but the last the first row was deleted by the flush of the next one.
    keys = [key for key in range(BLOCKS * ROWS) if key % ROWS or key == (BLOCKS - 1) * ROWS]
    assert data.keys(client, name) == keys
    assert data.count(client, name) == len(keys)
    assert process.said().endswith(f"{len(keys)} rows\n")


def s24_the_rust_client_asks_the_master_and_goes_to_the_node(new_node, new_master, new_client, run):
    node, master = new_node(1), new_master()
    process = run(master.address, "blocks", BLOCKS)
    check_blocks(new_client(node), "blocks", process)
    assert {address for _, address in committed(process)} == {node.address}


@pytest.mark.parametrize("end", ["killed", "frozen"])
def s10_s12_s37_the_rust_client_goes_on_elsewhere_and_is_told_what_is_lost(new_node, new_master, new_client, run, end):
    nodes = {node.address: node for node in (new_node(number, settings=QUICK) for number in (1, 2))}
    # The first one named is no Master: the next one is asked.
    masters = f"127.0.0.1:1,{new_master().address}"
    process = run(masters, "blocks", BLOCKS)
    until("some blocks to be committed", lambda: len(committed(process)) > 10)
    on = nodes[committed(process)[0][1]]
    (other,) = (node for node in nodes.values() if node is not on)
    if end == "killed":
        on.kill9()
    else:
        on.pause()
    until("it to go on elsewhere", lambda: committed(process)[-1][1] == other.address, timeout_s=60)
    if end == "frozen":
        # What it had been sent is over.
        on.resume()
    check_blocks(new_client(other), "blocks", process)


def test_the_rust_client_says_what_is_wrong(new_node, new_master, run):
    assert "usage" in finished(run("one"))
    node = new_node(1)
    assert "collection name" in finished(run(new_master().address, "no/name", 1)).lower()
    assert node.alive()


def finished(process) -> str:
    assert process.wait(60) == 1, process.said()
    return process.said()
