"""TLS on every port, and between the processes of a cluster; S14 with it."""

import http.client
import re
import socket
import ssl
import sys
from pathlib import Path

import pytest
from pymilvus import MilvusClient

sys.path.insert(0, str(Path(__file__).parents[1] / "clients/python"))

import redkite

from support import data
from support.certificates import HERE, Authority, Tls
from support.clients import own_client
from support.etcd import GuardedEtcd
from support.handover import handover, proof
from support.node import Master, Node
from support.server import run_binary
from support.wait import until

FAILED = r'^redkite_tls_handshakes_failed_total\{port="%s"\}'


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path / "certificates")


def hears(port: int, sent: bytes, source: str = "127.0.0.1") -> bytes:
    """All that comes back on a connection without TLS."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0)) as connection:
        try:
            connection.sendall(sent)
            while more := connection.recv(1 << 16):
                heard += more
        except ConnectionError:
            pass
    return heard


def agreed(port: int, context: ssl.SSLContext, *protocols: str) -> str | None:
    """The protocol that a port with TLS chooses."""
    context.set_alpn_protocols(list(protocols))
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        with context.wrap_socket(connection, server_hostname="localhost") as wrapped:
            return wrapped.selected_alpn_protocol()


def test_every_port_of_a_server_has_tls_and_nothing_else(new_server, new_client, authority):
    server = new_server(tls=Tls(authority))
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows(range(3_000)))
    client.flush(name)
    assert [hit["id"] for hit in client.search(name, [data.vector(7)], limit=1)[0]] == [7]
    assert len(client.query(name, filter="id >= 0", output_fields=["vector"], limit=3_000)) == 3_000
    assert server.get("/nowhere", base=server.uri)[0] == 404
    for port in (server.port, server.http_port):
        assert agreed(port, authority.context(), "h2", "http/1.1") == "h2"
        assert agreed(port, authority.context(), "http/1.1") == "http/1.1"
        assert agreed(port, authority.context()) is None
    for port, name in ((server.port, "listen"), (server.http_port, "http")):
        for plain in (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            # An alert at most.
            assert len(hears(port, plain)) < 16
        assert server.metric(FAILED % name) == 2
    assert f"listens on {server.address} with TLS, health and metrics on {server.http}" in server.log()


def test_commands_ask_servers_with_tls(new_server, authority):
    server = new_server(tls=Tls(authority, mutual=True))
    merged = run_binary("admin", "merge", "--address", f"https://localhost:{server.http_port}", *server.tls.arguments)
    assert (merged.returncode, merged.stdout) == (0, "there are no collections\n"), merged
    names = {"CA": authority.ca, "CERT": server.tls.client.cert, "KEY": server.tls.client.key}
    environment = {f"REDKITE_TLS_{name}": path for name, path in names.items()}
    assert run_binary("admin", "gc", "--address", server.http, env=environment).returncode == 0
    settings = [f"--set=tls.{key}={path}" for key, path in (("ca", authority.ca), ("cert", server.tls.own.cert), ("key", server.tls.own.key))]
    dump = run_binary("meta", "dump", "--data-dir", server.data_dir, *settings)
    assert dump.returncode == 0 and '"/user_list"' in dump.stdout, dump
    for arguments, told in [
        (["--address", server.http], "UnknownIssuer"),
        (["--address", server.http, "--tls-ca", authority.ca], "CertificateRequired"),
        (["--address", server.http.removeprefix("https://")], f"if the server has TLS, write https://127.0.0.1:{server.http_port}"),
        (["--address", "localhost:1", "--tls-ca", authority.ca], "--tls-ca is for servers with TLS: write --address https://"),
        (["--address", server.http, "--tls-ca", "/none"], "--tls-ca: the file cannot be read"),
        (["--address", server.http, "--tls-cert", authority.ca], "--tls-cert wants --tls-key"),
    ]:
        refused = run_binary("admin", "merge", *arguments)
        assert refused.returncode == 1 and told in refused.stderr, (arguments, refused.stderr)


def test_clients_need_a_certificate_where_one_is_wanted(new_server, new_client, authority, tmp_path):
    server = new_server(tls=Tls(authority, mutual=True))
    client = new_client(server)
    assert client.list_collections() == []
    strangers = Authority(tmp_path / "strangers").issue("client")
    for certificate in (None, strangers):
        for port in (server.port, server.http_port):
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=authority.context(certificate))
                connection.request("GET", "/healthz")
                connection.getresponse()
    with pytest.raises(Exception):
        MilvusClient(server.uri, server_pem_path=authority.ca, timeout=3)


def test_certificates_are_read_again_while_the_server_runs(new_server, new_client, authority, tmp_path):
    server = new_server(tls=Tls(authority))
    kept = new_client(server)
    name = data.create(kept)
    kept.insert(name, data.rows(range(3)))
    following = Authority(tmp_path / "following")
    # A certificate without its key yet is told, and nothing changes.
    next_one = following.issue("server")
    (key := Path(server.tls.own.key)).write_text("not yet")
    until("half a change to be told", lambda: "certificates cannot be read again" in server.log())
    assert server.get("/healthz")[0] == 200
    key.write_text(Path(next_one.key).read_text())
    server.tls.own.replace(next_one)
    old, server.tls.authority = server.tls.authority, following

    def is_new():
        try:
            return server.get("/healthz")[0] == 200
        except OSError:
            return False

    until("the new certificate to be in use", is_new)
    with pytest.raises(ssl.SSLError):
        agreed(server.port, old.context())
    # Who is connected stays, and so does the session.
    kept.flush(name)
    assert data.keys(kept, name) == [0, 1, 2]
    assert data.keys(new_client(server), name) == [0, 1, 2]


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"tls.key": None}, "want tls.key beside it"),
        ({"tls.cert": None}, "want tls.cert beside it"),
        ({"tls.cert": "/none.pem"}, 'tls.cert = "/none.pem" (from --set) is not valid: the file cannot be read: No such file'),
        ({"tls.key": "OTHER"}, "is not valid: it is not the key of the certificate"),
        ({"tls.key": "CA"}, "want a PEM file with a private key that is not encrypted"),
        ({"tls.cert": "TEXT"}, "want a PEM file with a certificate"),
        ({"tls.client_ca": "TEXT"}, "tls.client_ca = "),
        ({"tls.ca": "/none.pem"}, 'tls.ca = "/none.pem" (from --set) is not valid'),
        ({"tls.cert": None, "tls.key": None, "tls.client_ca": "CA"}, "want tls.cert and tls.key beside it"),
    ],
)
@pytest.mark.parametrize("role", ["standalone", "master", "node"])
def test_files_that_will_not_do_are_problems_of_the_configuration(role, settings, told, authority, tmp_path):
    if role != "standalone" and "tls.cert" in settings and settings["tls.cert"] is None and "tls.key" in settings:
        told = "tls.ca"
    good, other = authority.issue("good"), authority.issue("other")
    (tmp_path / "text").write_text("no PEM")
    names = {"OTHER": other.key, "CA": authority.ca, "TEXT": str(tmp_path / "text")}
    given = {"tls.cert": good.cert, "tls.key": good.key, "tls.ca": authority.ca} | settings
    # Nobody is there: whoever touched etcd would say so.
    given |= {"cluster_id": "c1", "etcd.endpoints": "http://127.0.0.1:1", "storage.url": f"file://{tmp_path}/s", "node_id": "1"}
    arguments = [f"--set={key}={names.get(value, value)}" for key, value in given.items() if value is not None]
    refused = run_binary(role, "--data-dir", tmp_path / "data", *arguments)
    assert refused.returncode == 2 and told in refused.stderr, refused
    assert not (tmp_path / "data").exists()


def s14_the_allow_list_is_asked_before_a_handshake(new_server, authority):
    server = new_server(tls=Tls(authority), settings={"ip_whitelist": ["127.0.0.1"]})
    hello = b"GET / HTTP/1.1\r\n\r\n"
    for port in (server.port, server.http_port):
        # An alert.
        assert hears(port, hello)
        assert hears(port, hello, source="127.0.0.2") == b""
    for port in ("listen", "http"):
        assert server.metric(FAILED % port) == 1
        assert server.metric(r'^redkite_connections_refused_total\{port="%s"\}' % port) == 1


class Cluster:
    """A Master and two nodes with TLS among them and to their clients, over an etcd that wants a certificate and a password."""

    def __init__(self, directory: Path, settings: dict | None = None, hosts: str = HERE):
        self.authority = Authority(directory / "certificates")
        self.etcd = GuardedEtcd(self.authority)
        self.servers = []
        self._hosts = hosts
        storage = {"settings": {"storage.url": f"file://{directory}/shared"} | (settings or {})}
        storage["settings"] |= self.etcd.settings
        env = {"REDKITE_ETCD_PASSWORD": self.etcd.password}
        self.nodes = [
            self._add(Node(number, self.etcd, storage | {"env": env}, tls=self._tls(f"node-{number}"), start=False))
            for number in (1, 2)
        ]
        own = self.etcd.settings | {"master_heart_beat_interval": 50}
        self.master = self._add(Master(self.etcd, settings=own, env=env, tls=self._tls("master"), start=False))

    def _tls(self, name: str) -> Tls:
        return Tls(self.authority, name, mutual=True, hosts=self._hosts)

    def _add(self, server):
        self.servers.append(server)
        return server

    def start(self) -> "Cluster":
        for server in self.servers:
            server.start()
        until("the Master to know both", lambda: self.master.live_nodes() == [1, 2])
        return self

    def close(self) -> None:
        for server in self.servers:
            server.close()
        self.etcd.close()


@pytest.fixture
def new_cluster(tmp_path):
    made = []

    def make(**options) -> Cluster:
        made.append(Cluster(tmp_path, **options))
        new_cluster.servers = made[-1].servers
        return made[-1]

    make.servers = []
    yield make
    for cluster in made:
        cluster.close()


def s24_a_cluster_with_tls_everywhere_works_as_one_without(new_cluster, new_client):
    cluster = new_cluster(settings={"num_nodes": 2, "merge.enabled": False}).start()
    master, tls = cluster.master, cluster.master.tls
    through = new_client(master)
    name = data.create(through)
    through.insert(name, data.rows(range(10)))
    through.flush(name)
    assert [hit["id"] for hit in through.search(name, [data.vector(7)], limit=1)[0]] == [7]
    through.insert(name, data.rows(range(10, 20_010)))
    through.flush(name)
    assert len(through.query(name, filter="id >= 10", output_fields=["vector"], limit=16_384)) == 16_384
    # What both have written both answer together.
    for number, node in enumerate(cluster.nodes):
        client = new_client(node)
        client.insert(name, data.rows(range(100_000 * (number + 1), 100_000 * (number + 1) + 100)))
        client.flush(name)
    for node in cluster.nodes:
        client = new_client(node)

        def helped(node=node, client=client):
            assert data.count(client, name, "id >= 100000") == 200
            return node.metric(r'^redkite_subrequests_total\{.*"answered"')

        until("a node to be answered by the other", helped)
    # The Python client, by the Master's word.
    with_redkite = redkite.connect(master.uri, **tls.client_options)
    assert with_redkite.node in {node.address for node in cluster.nodes}
    with_redkite.insert(name, data.rows([500_000]))
    with_redkite.flush(name)
    assert data.count(through, name, "id == 500000") == 1
    with_redkite.close()
    with pytest.raises(redkite.NoNode, match="(?i)certificate"):
        redkite.connect(master.uri, patience_s=0)
    with pytest.raises(ValueError, match="all Masters with TLS"):
        redkite.connect(f"{master.uri},http://localhost:1")
    # Commands.
    at = ["--master", f"https://localhost:{master.port}", *tls.arguments]
    shown = run_binary("status", *at)
    assert [line.split()[3] for line in shown.stdout.splitlines()[1:]] == ["alive", "alive"], shown
    changed = run_binary("config", "set", "flush_interval=77", *at)
    assert changed.returncode == 0 and "flush_interval = 77\n" in changed.stdout, changed
    got = run_binary("config", "get", *at)
    assert "flush_interval = 77\n" in got.stdout and "correct" not in got.stdout, got
    assert run_binary("rebalance", *at).returncode == 0
    drained = run_binary("drain", "--node", "2", *at)
    assert drained.returncode == 0, drained
    for told in [*(server.log() for server in cluster.servers), str(cluster.etcd.get_all())]:
        assert cluster.etcd.password not in told
    dumped = run_binary("master", "--dump-config", env={"REDKITE_ETCD_PASSWORD": cluster.etcd.password}, *[])
    assert cluster.etcd.password not in dumped.stdout + dumped.stderr


def s14_a_node_applies_its_list_to_clients_of_a_master_with_tls(new_cluster):
    cluster = new_cluster(settings={"ip_whitelist": ["127.0.0.1", "127.0.0.7"]}).start()
    hello = b"GET / HTTP/1.1\r\n\r\n"
    assert hears(cluster.master.port, hello, source="127.0.0.7")
    assert hears(cluster.master.port, hello, source="127.0.0.8") == b""
    # The Master's own list may be behind: the node asks its own about the address that it is told, inside of TLS and only there.
    members = cluster.etcd.get_all()["/alice/c1_property"]
    secret, member = members["secret"], members["nodes"][0]
    port = int(member["internal"].rsplit(":", 1)[1])
    request = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for source, answered in (("127.0.0.7", True), ("127.0.0.8", False)):
        begin = handover(source, proof(secret, source, member["boot"]))
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            with cluster.authority.context(cluster.master.tls.own).wrap_socket(connection, server_hostname="localhost") as wrapped:
                wrapped.sendall(begin + request)
                assert (b"HTTP/1.1 404" in wrapped.recv(1 << 16)) == answered, source
        assert b"HTTP" not in hears(port, begin + request)


def test_certificates_may_bear_names_and_no_addresses(new_cluster):
    cluster = new_cluster(hosts="DNS:localhost")
    for node in cluster.nodes:
        node.settings["advertise"] = f"localhost:{node.port}"
    for server in cluster.servers:
        server.launch()
    at = ["--master", f"https://localhost:{cluster.master.port}", *cluster.master.tls.arguments]
    until("both nodes to be alive", lambda: run_binary("status", *at).stdout.count(" alive ") == 2, timeout_s=60)
    client = redkite.connect(f"https://localhost:{cluster.master.port}", **cluster.master.tls.client_options)
    assert client.node in {f"localhost:{node.port}" for node in cluster.nodes}
    through = MilvusClient(f"https://localhost:{cluster.master.port}", **cluster.master.tls.client_options)
    name = data.create(client)
    client.insert(name, data.rows(range(3)))
    client.flush(name)
    assert data.count(through, name) == 3
    client.close()
    # The name is checked: by their address they are nobody.
    told = run_binary("status", "--master", cluster.master.uri, *cluster.master.tls.arguments)
    assert told.returncode == 1 and "certificate not valid for name" in told.stderr, told


def test_tokens_of_etcd_are_fetched_again(new_cluster):
    cluster = new_cluster().start()
    client = own_client(cluster.nodes[0])
    name = data.create(client)
    # A restart forgets all tokens.
    cluster.etcd.kill9()
    cluster.etcd.start()

    def flushed():
        try:
            client.insert(name, data.rows([1]))
            client.flush(name)
            return data.count(client, name, "id == 1") >= 1
        except Exception:
            return False

    until("a flush to get through", flushed)
    at = ["--master", cluster.master.uri, *cluster.master.tls.arguments]

    def changed():
        return run_binary("config", "set", "flush_interval=78", *at).returncode == 0

    until("the Master to change the configuration", changed)
    # Watches are taken up again as well: a third node is met.
    number = len(cluster.nodes) + 1
    storage = {"settings": cluster.nodes[0].settings, "env": cluster.nodes[0].env}
    tls = Tls(cluster.authority, "node-3", mutual=True)
    third = Node(number, cluster.etcd, storage, tls=tls, settings=tls.settings | {"node_id": number}, start=False)
    cluster.servers.append(third)
    third.start()
    until("it to be met", lambda: cluster.master.live_nodes() == [1, 2, 3])


def test_processes_that_do_not_trust_each_other_say_so(new_cluster, tmp_path):
    cluster = new_cluster()
    strangers = Authority(tmp_path / "strangers")
    cluster.master.settings["tls.ca"] = strangers.ca
    for server in cluster.servers:
        server.launch()
    for node in cluster.nodes:
        node.wait_ready()
    told = r"WARN .*cannot be reached by TLS.*UnknownIssuer"
    until("the Master to say why it reaches nobody", lambda: re.search(told, cluster.master.log()))


def test_the_wrong_password_for_etcd_is_told_and_not_shown(new_cluster):
    cluster = new_cluster()
    master = cluster.master
    for env, settings in [({"REDKITE_ETCD_PASSWORD": "battery staple"}, {}), ({}, {"etcd.password": "battery staple"})]:
        arguments = [f"--set={key}={value}" for key, value in (master.settings | settings).items() if key != "etcd.endpoints"]
        refused = run_binary("master", f"--set=etcd.endpoints={cluster.etcd.endpoint}", *arguments, env=env)
        assert refused.returncode == 1 and "etcd cannot be used" in refused.stderr, refused
        assert "battery" not in refused.stdout + refused.stderr


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"etcd.ca": "/none.pem"}, 'etcd.ca = "/none.pem" (from --set) is not valid: the file cannot be read'),
        ({"etcd.ca": "TEXT"}, "want a PEM file with a certificate"),
        ({"etcd.cert": "GOOD", "etcd.key": "OTHER"}, "it is not the key of the certificate"),
    ],
)
def test_files_for_etcd_that_will_not_do_are_problems_of_the_configuration(settings, told, authority, tmp_path):
    (tmp_path / "text").write_text("no PEM")
    names = {"TEXT": str(tmp_path / "text"), "GOOD": authority.issue("good").cert, "OTHER": authority.issue("other").key}
    arguments = [f"--set={key}={names.get(value, value)}" for key, value in settings.items()]
    refused = run_binary("master", "--set=cluster_id=c1", "--set=etcd.endpoints=https://127.0.0.1:1", *arguments)
    assert refused.returncode == 2 and told in refused.stderr, refused
