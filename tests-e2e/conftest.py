"""Fixtures: servers, clients, workers."""

import pytest
from pymilvus import MilvusClient

from support import data
from support.clients import own_client
from support.etcd import Etcd, EtcdCluster
from support.node import Master, Node
from support.proxy import Proxy
from support.raw import Raw
from support.s3 import on_s3, s3_of_this_run
from support.s3_proxy import S3Proxy
from support.server import Server
from support.worker import Worker


def pytest_addoption(parser):
    parser.addoption("--keep-log", action="store_true", help="print the server's whole log when a test fails")


@pytest.fixture(scope="module")
def server():
    """A server with the default configuration, shared by the tests of a file. Its collections are shared too: use names of
    your own. Tests that kill or configure a server make one with `new_server`."""
    running = Server()
    yield running
    running.close()


@pytest.fixture
def new_server():
    """Makes servers that live as long as the test: `new_server(settings={"auto_flush": True})`."""
    made = []

    def make(**options) -> Server:
        made.append(Server(**options))
        return made[-1]

    make.servers = made
    yield make
    for running in made:
        running.close()


@pytest.fixture
def new_client():
    """Makes clients that are closed after the test: `new_client(server)`."""
    made = []

    def make(server: Server, **options) -> MilvusClient:
        made.append(own_client(server, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(server, new_client):
    """A client of the shared server with a session of its own."""
    return new_client(server)


@pytest.fixture
def new_worker():
    """Makes clients in processes of their own: `new_worker(server.uri)`."""
    made = []

    def make(uri: str, **options) -> Worker:
        made.append(Worker(uri, **options))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


@pytest.fixture
def new_raw():
    """Makes clients on bare stubs: `new_raw(server.address)`."""
    made = []

    def make(address: str, **options) -> Raw:
        made.append(Raw(address, **options))
        return made[-1]

    yield make
    for raw in made:
        raw.close()


@pytest.fixture
def new_proxy():
    """Makes proxies in front of a server: `new_proxy(server.port)`."""
    made = []

    def make(port: int) -> Proxy:
        made.append(Proxy(port))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def etcd(request):
    """A real etcd of the test's own: one member, of three where the test says so, or with options that it gives."""
    wanted = getattr(request, "param", None)
    running = EtcdCluster() if wanted == "three members" else Etcd(args=wanted or ())
    yield running
    running.close()


@pytest.fixture(scope="session")
def s3() -> dict[str, str]:
    """The S3 server of this test run, for `on_s3`."""
    return s3_of_this_run()


@pytest.fixture
def s3_proxy(s3):
    """A proxy in front of that server."""
    proxy = S3Proxy(s3["ENDPOINT"])
    yield proxy
    proxy.close()


@pytest.fixture
def storage(request, tmp_path) -> dict:
    """What the nodes of a test share beside etcd: a directory, or S3 where the test says so."""
    if getattr(request, "param", None) == "S3":
        return on_s3(request.getfixturevalue("s3"))
    return {"settings": {"storage.url": f"file://{tmp_path}/shared"}}


@pytest.fixture
def new_node(etcd, storage):
    """Makes nodes that live as long as the test: `new_node(1)`, `new_node(1, cluster="c2", user="bob")`."""
    yield from makers(lambda number, **options: Node(number, etcd, storage, **options))


@pytest.fixture
def new_master(etcd):
    """Makes Masters that live as long as the test."""
    yield from makers(lambda **options: Master(etcd, **options))


def makers(new):
    made = []

    def make(*args, **options):
        made.append(new(*args, **options))
        return made[-1]

    make.servers = made
    yield make
    for running in made:
        running.close()


@pytest.fixture(scope="session")
def flush_failpoint() -> str:
    """A failpoint every flush of rows passes before its transaction, and nothing else passes but the first start on a data
    directory (arm it by a restart): `return` makes the flush fail with nothing committed."""
    return "storage-before-put"


@pytest.fixture
def collection(client):
    """A fresh collection of the shared server."""
    return data.create(client)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the end of the logs of the test's servers to its failure."""
    report = (yield).get_result()
    if not report.failed:
        return
    for name, value in getattr(item, "funcargs", {}).items():
        for running in [value] if isinstance(value, Server) else getattr(value, "servers", []):
            lines = running.log().splitlines()
            lines = lines if item.config.getoption("--keep-log") else lines[-40:]
            report.sections.append((f"log of {name}", "\n".join(lines)))
