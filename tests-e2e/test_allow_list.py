"""Who may connect: S14."""

import http.client
import socket

import pytest

from support import data

REFUSED = r'^redkite_connections_refused_total\{port="%s"\}'


def answer(port: int, source: str, host: str = "127.0.0.1") -> bytes:
    """What comes back to an HTTP request from one of this machine's addresses; nothing, if the connection is refused."""
    with socket.create_connection((host, port), timeout=10, source_address=(source, 0)) as connection:
        try:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(1 << 16)
        except ConnectionError:
            return b""


def s14_only_addresses_on_the_list_are_answered(new_server, new_client):
    server = new_server(settings={"ip_whitelist": ["127.0.0.1", "127.8.0.0/16"]})
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows(range(3)))
    client.flush(name)
    assert data.count(client, name) == 3
    for port in (server.port, server.http_port):
        for source in ("127.0.0.1", "127.8.1.2"):
            assert answer(port, source).startswith(b"HTTP/1.1 "), source
        for source in ("127.0.0.2", "127.9.1.2"):
            assert answer(port, source) == b"", source
    for port in ("listen", "http"):
        assert server.metric(REFUSED % port) == 2
        assert f'port="{port}" peer=127.0.0.2 refused=1' in server.log()
    # Strangers disturb nobody.
    assert data.count(client, name) == 3


def s14_an_address_of_ipv4_is_known_where_both_kinds_are_listened_to(new_server):
    server = new_server(settings={"ip_whitelist": ["127.0.0.1/32"]}, host="[::]")
    assert answer(server.port, "127.0.0.1").startswith(b"HTTP/1.1 404")
    assert answer(server.port, "127.0.0.2") == b""
    assert answer(server.port, "::1", host="::1") == b""


def s14_health_probes_may_come_from_elsewhere(new_server):
    server = new_server(settings={"ip_whitelist": ["127.0.0.5"], "http_ip_whitelist": ["127.0.0.1", "127.0.0.6"]})
    assert answer(server.http_port, "127.0.0.6").startswith(b"HTTP/1.1 200")
    assert answer(server.http_port, "127.0.0.5") == b""
    assert answer(server.port, "127.0.0.6") == b""
    assert answer(server.port, "127.0.0.5").startswith(b"HTTP/1.1 404")


def s14_a_client_that_is_refused_hears_nothing(new_server):
    server = new_server(settings={"ip_whitelist": ["127.0.0.5"], "http_ip_whitelist": ["127.0.0.1"]})
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/")
        connection.getresponse()
    (line,) = [line for line in server.log().splitlines() if "not in ip_whitelist" in line]
    assert "WARN" in line and 'port="listen"' in line
