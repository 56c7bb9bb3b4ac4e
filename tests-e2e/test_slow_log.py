"""The log of slow searches and queries."""

import json

import pytest

from support import data

# Every file that is opened takes so long.
SLOW = {"FAILPOINTS": "storage-before-open=delay(100)"}


@pytest.fixture
def slow_lines(new_server, new_client):
    """Fills a server, makes it slow, asks it, and returns what its log says of that, for a `log_slow`."""

    def lines(log_slow: str) -> list[dict]:
        server = new_server(settings={"log_slow": log_slow}, args=["--log-format", "json"])
        client = new_client(server)
        name = data.create(client, "films")
        client.insert(name, data.rows(range(10), tag=1))
        client.flush(name)
        server.restart(env=SLOW)
        client = new_client(server)
        client.query(name, filter="tag == 1 or id == 3")
        client.search(name, [data.vector(1)], limit=1, filter="tag == 1")
        with pytest.raises(Exception, match="collection not found"):
            client.query("nowhere", filter="id == 1")
        server.terminate()
        logged = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
        return [line for line in logged if line["message"] == "a slow query"]

    return lines


def test_a_slow_query_is_logged_with_what_was_asked(slow_lines):
    found = slow_lines("50ms")
    assert found[0]["rpc"] == "query" and found[0]["collection"] == "films" and found[0]["level"] == "WARN"
    assert found[0]["filter"] == "tag == 1 or id == 3" and found[0]["took_ms"] >= 100
    assert all(line["collection"] == "films" for line in found)


@pytest.mark.parametrize("log_slow", ["0s", "1h"])
def test_what_is_not_slow_is_not_logged(slow_lines, log_slow):
    assert slow_lines(log_slow) == []
