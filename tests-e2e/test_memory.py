"""What a client may buffer: beyond the soft limit rows are uploaded early and stay invisible, beyond the hard one writes are
refused and nothing buffered is lost."""

import grpc
import pytest
from support.raw import StatusError

from support import data

DIM = 256
ROWS = 100


def batch(number: int) -> tuple[range, list]:
    """100 rows of 1 KB each."""
    keys = range(number * ROWS, (number + 1) * ROWS)
    return keys, [data.vector(key, DIM) for key in keys]


def test_beyond_the_hard_limit_writes_are_refused_and_what_was_buffered_stays(new_server, new_client, new_raw):
    server = new_server(settings={"session.memory_soft": "1M", "session.memory_hard": "1M"})
    client = new_client(server)
    name = data.create(client, dim=DIM)
    first, second = new_raw(server.address), new_raw(server.address)
    for number in range(6):
        first.insert(name, *batch(number))
    # The limit is that of all clients together.
    refused = 0
    for number in range(100, 106):
        try:
            second.insert(name, *batch(number))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
            assert "session.memory_hard" in error.details()
            refused += 1
    assert 0 < refused < 6
    # One request that is larger than the limit never gets in.
    with pytest.raises(grpc.RpcError) as raised:
        second.insert(name, range(2000), [data.vector(1, DIM)] * 2000)
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert first.count(name) == 0
    first.flush(name)
    assert data.keys(client, name) == list(range(6 * ROWS))
    second.flush(name)
    assert data.count(client, name, "id >= 10000") == (6 - refused) * ROWS
    second.insert(name, *batch(200))
    second.flush(name)
    assert data.count(client, name, "id >= 20000") == ROWS


def test_beyond_the_soft_limit_rows_are_uploaded_and_stay_invisible(new_server, new_client, new_raw):
    server = new_server(settings={"session.memory_soft": "256K", "session.memory_hard": "2M"})
    client = new_client(server)
    name = data.create(client, dim=DIM)
    raw = new_raw(server.address)
    # More in all than the hard limit allows at once.
    for number in range(30):
        raw.insert(name, *batch(number))
        if number == 10:
            raw.delete(name, "id in [0, 5]")
            raw.delete(name, "id < 3 or id == 1050")
    raw.insert(name, [5], [data.vector(5, DIM)])
    assert server.data_files(), "nothing was uploaded early"
    assert raw.count(name) == 0
    assert server.metric("redkite_flushes_total") == 0
    raw.flush(name, metadata={"redkite-block-ops": "33"})
    gone = {0, 1, 2, 1050}
    assert data.keys(client, name) == [key for key in range(3000) if key not in gone]
    assert data.count(client, name) == 3000 - len(gone)
    server.restart()
    assert data.count(new_client(server), name) == 3000 - len(gone)


def test_rows_uploaded_early_are_thrown_away_with_the_connection(new_server, new_client, new_raw):
    server = new_server(settings={"session.memory_soft": "256K", "session.memory_hard": "2M"})
    client = new_client(server)
    name = data.create(client, dim=DIM)
    raw = new_raw(server.address)
    for number in range(10):
        raw.insert(name, *batch(number))
    assert server.data_files(), "nothing was uploaded early"
    raw.close()
    again = new_raw(server.address, identifier=raw.identifier)
    with pytest.raises(StatusError, match="(?i)not flushed"):
        again.flush(name)
    again.flush(name)
    assert data.count(client, name) == 0


def test_a_named_flush_of_rows_uploaded_early_is_known_again(new_server, new_client, new_raw):
    """The digest is that of what the client asked for, however it was stored meanwhile."""
    server = new_server(settings={"session.memory_soft": "256K", "session.memory_hard": "8M"})
    name = data.create(new_client(server), dim=DIM)
    first, second = new_raw(server.address), new_raw(server.address)
    for raw in (first, second):
        for number in range(10):
            raw.insert(name, *batch(number))
    first.flush_named("once", name)
    second.flush_named("once", name)
    assert first.count(name) == 10 * ROWS
