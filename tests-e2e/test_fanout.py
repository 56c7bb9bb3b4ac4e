"""Requests that several nodes answer together: S01, S39, S42."""

import numpy

from support import data
from support.wait import until

ROWS = 400
# Fragments stay where they were written.
UNMERGED = {"num_nodes": 3, "merge.enabled": False}


def answered(node) -> float:
    return node.metric(r'^redkite_subrequests_total\{.*"answered"')


def served(node) -> float:
    return node.metric("^redkite_subrequests_served_total")


def keys_of(number: int) -> range:
    """Those that are written through that node; each shares some with the next."""
    return range(number * ROWS, number * ROWS + ROWS + 50)


def filled(nodes, clients, **fields) -> str:
    """A collection with a fragment of each node."""
    name = data.create(clients[0])
    for number, client in enumerate(clients):
        client.insert(name, [data.row(key, tag=key % 7, **fields) for key in keys_of(number)])
        client.flush(name)
    # A delete over what all have written.
    clients[0].delete(name, filter="tag == 6")
    clients[0].flush(name)
    for node, client in zip(nodes, clients):
        others = [other for other in nodes if other is not node]
        before = [served(other) for other in others]

        def met():
            data.count(client, name, "tag == 1")
            return all(served(other) > seen for other, seen in zip(others, before))

        until("a node to ask all others", met)
    return name


def ask(client, name: str) -> list:
    """Some of everything that can be asked."""
    queries = [data.vector(key) for key in (3, ROWS + 20, 2 * ROWS + 100)]
    fields = ["id", "vector", "tag"]
    hits = [
        client.search(name, queries, limit=limit, filter=filter, output_fields=fields, offset=offset)
        for limit, filter, offset in ((10, "", 0), (100, "tag in [1, 2]", 5), (5, f"id in {[1, ROWS + 5, 2 * ROWS + 7]}", 0))
    ]
    rows = [
        client.query(name, filter="tag == 3", output_fields=fields, limit=200, offset=10),
        client.query(name, filter=f"id in {[5, ROWS + 10, 2 * ROWS + 300, 10**6]}", output_fields=fields),
    ]
    counts = [data.count(client, name, filter) for filter in ("", "tag < 3", "id >= 700")]
    return [[[dict(hit) for hit in found] for found in several] for several in hits] + rows + counts


def nearest(query: list[float], limit: int) -> list[tuple[int, float]]:
    """What plain arithmetic finds."""
    keys = numpy.array(sorted({key for number in range(3) for key in keys_of(number) if key % 7 != 6}))
    vectors = numpy.array([data.vector(int(key)) for key in keys], dtype=numpy.float32)
    distances = ((vectors - numpy.array(query, dtype=numpy.float32)) ** 2).sum(axis=1)
    order = numpy.lexsort((keys, distances))[:limit]
    return [(int(keys[at]), float(distances[at])) for at in order]


def three(new_node, new_client, **settings):
    nodes = [new_node(number, settings=UNMERGED | settings) for number in (1, 2, 3)]
    return nodes, [new_client(node) for node in nodes]


def s39_every_node_answers_the_same_with_the_help_of_the_others(new_node, new_client):
    nodes, clients = three(new_node, new_client)
    name = filled(nodes, clients)
    before = [answered(node) for node in nodes]
    answers = [ask(client, name) for client in clients]
    assert answers[1] == answers[0] and answers[2] == answers[0]
    assert all(answered(node) > seen for node, seen in zip(nodes, before))
    for query in (data.vector(3), data.vector(2 * ROWS + 100)):
        found = clients[1].search(name, [query], limit=20)[0]
        want = nearest(query, 20)
        assert [hit["id"] for hit in found] == [key for key, _ in want]
        numpy.testing.assert_allclose([hit["distance"] for hit in found], [distance for _, distance in want], rtol=1e-4, atol=1e-6)
    tagged = [key for number in range(3) for key in keys_of(number) if key % 7 < 3]
    assert data.count(clients[2], name, "tag < 3") == len(tagged)


def s39_who_holds_nothing_of_a_request_is_not_asked(new_node, new_client):
    nodes, clients = three(new_node, new_client)
    name = filled(nodes, clients)
    third = served(nodes[2])
    before = served(nodes[1])
    for client in clients[:2]:
        # Of what the second one wrote alone, by the bounds of the keys.
        assert client.query(name, filter=f"id in [{ROWS + 100}, {ROWS + 101}]", output_fields=["id"])
        assert data.count(client, name, f"id == {ROWS + 100}") in (0, 1)
    assert served(nodes[1]) > before
    assert served(nodes[2]) == third


def s39_answers_stay_whole_with_a_node_frozen_and_one_killed(new_node, new_client):
    nodes, clients = three(new_node, new_client)
    name = filled(nodes, clients)
    want = ask(clients[0], name)
    nodes[1].pause()
    # Again and again: while it is not known yet, and when it is.
    for _ in range(4):
        assert ask(clients[0], name) == want
        assert ask(clients[2], name) == want
    assert nodes[0].metric("^redkite_subrequests_hedged_total") > 0
    nodes[2].kill9()
    for _ in range(4):
        assert ask(clients[0], name) == want
    nodes[1].resume()
    assert ask(clients[1], name) == want
    # Once it has been left alone for a while it is asked again.
    before = served(nodes[1])

    def asked_again():
        assert ask(clients[0], name) == want
        return served(nodes[1]) > before

    until("the node to be asked again", asked_again, 60)


def s01_one_node_alone_answers_for_all_that_are_gone(new_node, new_client):
    nodes, clients = three(new_node, new_client, num_replicas=1)
    name = filled(nodes, clients)
    want = ask(clients[2], name)
    nodes[0].kill9()
    nodes[1].kill9()
    for _ in range(3):
        assert ask(clients[2], name) == want


def s42_a_node_that_joins_gets_its_share_and_one_that_restarts_has_it_again(new_node, new_client):
    # What another cluster wrote is nobody's own in this one.
    writer = new_client(new_node(1, cluster="c2", settings={"merge.enabled": False}))
    name = data.create(writer)
    for part in range(24):
        writer.insert(name, [data.row(part * 20 + at, tag=at) for at in range(20)])
        writer.flush(name)
    first = new_node(1, settings=UNMERGED)
    client = new_client(first)
    assert data.count(client, name, "tag < 5") == 24 * 5
    assert first.metric("^redkite_subrequests_total") == 0
    second = new_node(2, settings=UNMERGED)

    def asked(node, before=0.0):
        assert data.count(client, name, "tag < 5") == 24 * 5
        return served(node) > before

    until("it to be asked for its share", lambda: asked(second))
    second.kill9()
    for _ in range(5):
        assert data.count(client, name, "tag < 5") == 24 * 5
    second.start()
    until("its next run to be asked", lambda: asked(second))
