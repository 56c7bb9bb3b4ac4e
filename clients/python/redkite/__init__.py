"""A client for clusters of Redkite: pymilvus, on the node that a Master names."""

from redkite._client import Client, NoNode, SessionLost, connect

__all__ = ["Client", "NoNode", "SessionLost", "connect"]
