"""Nodes of clusters as processes."""

from support.server import Server


class Node(Server):
    """A node on free ports, over an etcd and a storage that others use, too."""

    role = "node"

    def __init__(self, number: int, etcd, storage: dict, cluster: str = "c1", user: str = "alice", **options):
        settings = {"node_id": number, "cluster_id": cluster, "user": user, "etcd.endpoints": [etcd.endpoint]}
        settings |= storage["settings"] | options.pop("settings", {})
        super().__init__(settings=settings, env=storage.get("env"), **options)
