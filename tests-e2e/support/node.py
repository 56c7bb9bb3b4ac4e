"""Nodes and Masters of clusters as processes."""

import json

from support.server import Server


class Node(Server):
    """A node on free ports, over an etcd and a storage that others use, too."""

    role = "node"

    def __init__(self, number: int, etcd, storage: dict, cluster: str = "c1", user: str = "alice", **options):
        settings = {"node_id": number, "cluster_id": cluster, "user": user, "etcd.endpoints": etcd.endpoints}
        settings |= storage["settings"] | options.pop("settings", {})
        super().__init__(settings=settings, env=storage.get("env"), **options)


class Master(Server):
    """A Master on free ports."""

    role = "master"

    def __init__(self, etcd, cluster: str = "c1", user: str = "alice", **options):
        settings = {"cluster_id": cluster, "user": user, "etcd.endpoints": etcd.endpoints}
        super().__init__(settings=settings | options.pop("settings", {}), **options)

    def own(self, path: str) -> dict:
        """What it answers itself."""
        status, body, _ = self.get(f"/redkite/{path}", base=self.uri)
        assert status == 200, body
        return json.loads(body)

    def live_nodes(self) -> list[int]:
        """The numbers of the nodes that it takes for alive."""
        return [node["node"] for node in self.own("loads")["nodes"] if node["alive"]]
