"""`redkite demo`: what a newcomer sees first."""

import contextlib
import re
import signal
import subprocess

import pytest
from pymilvus import MilvusClient

from support import data
from support.ports import free_ports
from support.server import binary, clean_env, guarded, run_binary
from support.wait import until

START_TIMEOUT_S = 120


def addresses() -> list[str]:
    listen, http = free_ports(2)
    return ["--listen", f"127.0.0.1:{listen}", "--http", f"127.0.0.1:{http}"]


@pytest.fixture
def running(tmp_path):
    """A demonstration that has printed everything and serves: its process, its address and what it printed."""
    options, log = addresses(), tmp_path / "log"
    with open(log, "wb") as output:
        command = guarded([binary(), "demo", *options])
        process = subprocess.Popen(command, env=clean_env(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    with contextlib.ExitStack() as ending:
        ending.callback(process.wait, 30)
        ending.callback(process.kill)
        until("the lines of Python", lambda: process.poll() is not None or "print(" in log.read_text(), START_TIMEOUT_S)
        yield process, options[1], log.read_text()


def test_the_demo_shows_searches_and_ends(tmp_path):
    env = {"TMPDIR": str(tmp_path)}
    shown = run_binary("demo", "--exit", *addresses(), cwd=tmp_path, env=env, timeout_s=START_TIMEOUT_S)
    assert shown.returncode == 0, shown.stderr
    assert "5,000" in shown.stdout, shown.stdout
    # Hits with scores, a filter, timings.
    for pattern in (r"^ +[01]\.\d{3}  \S", r"^ +where ", r"\d ms$"):
        assert re.search(pattern, shown.stdout, re.MULTILINE), shown.stdout
    assert list(tmp_path.iterdir()) == [], "the demonstration leaves nothing behind"


def test_the_demo_keeps_serving_until_ctrl_c(running):
    process, address, _ = running
    client = MilvusClient(f"http://{address}")
    (name,) = client.list_collections()
    assert client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"] == 5000
    client.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def test_what_is_written_to_the_demo_is_visible_without_a_flush(running):
    _, address, _ = running
    client = MilvusClient(f"http://{address}")
    name = data.create(client)
    client.insert(name, data.rows([1, 2]))
    assert data.keys(client, name) == [1, 2]
    client.delete(name, ids=[1])
    assert [hit["id"] for hit in client.search(name, [data.vector(1)], limit=5)[0]] == [2]
    client.close()


def test_the_lines_the_demo_prints_are_python_that_runs(running, capsys):
    _, address, printed = running
    assert address in printed
    lines = printed.splitlines()
    first = next(n for n, line in enumerate(lines) if "from pymilvus import" in line)
    indent = len(lines[first]) - len(lines[first].lstrip())
    program = "\n".join(line[indent:] for line in lines[first:])
    exec(compile(program, "demo", "exec"), {})
    hits = capsys.readouterr().out.splitlines()
    assert len(hits) == 5 and re.match(r"[01]\.\d+ ", hits[0]), hits
