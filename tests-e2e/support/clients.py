"""Clients of this process."""

import uuid

from pymilvus import MilvusClient


def own_client(server, **options) -> MilvusClient:
    """A client that is another one than all others of this process: its token is its own, so it has a Connect, an
    identifier and hence a session of its own. The TCP connection it shares."""
    options = (server.tls.client_options if server.tls else {}) | options
    return MilvusClient(server.uri, token=f"test:{uuid.uuid4().hex}", **options)
