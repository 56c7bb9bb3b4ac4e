"""Metadata that is lost and restored from a dump."""

import json
import subprocess

import pytest

from support import data
from support.etcd import Etcd
from support.raw import StatusError
from support.server import binary, clean_env, guarded, run_binary, setting_text
from support.wait import until

ROWS = 300
# Fragments are merged and collected when a test says so.
QUIET = {"merge.enabled": False, "gc.enabled": False, "gc.retention": "0s"}


@pytest.fixture
def new_etcd():
    """Makes etcds that live as long as the test."""
    made = []

    def make() -> Etcd:
        made.append(Etcd())
        return made[-1]

    yield make
    for running in made:
        running.close()


def of_cluster(etcd, storage, user="alice") -> list[str]:
    settings = {"user": user, "etcd.endpoints": [etcd.endpoint]} | storage["settings"]
    return [word for key, value in settings.items() for word in ("--set", f"{key}={setting_text(value)}")]


def dump(etcd, storage, path) -> str:
    done = run_binary("meta", "dump", path, *of_cluster(etcd, storage), env=storage.get("env"))
    assert done.returncode == 0, done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    return path.read_text()


def restore(etcd, storage, path, *options, env=None):
    return run_binary("meta", "restore", path, *options, *of_cluster(etcd, storage), env=storage.get("env", {}) | (env or {}))


def restored(etcd, storage, path, *options) -> str:
    done = restore(etcd, storage, path, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(done) -> str:
    assert done.returncode == 1, done.stdout
    assert done.stderr.count("\n") == 1 or "redkite:" in done.stderr, done.stderr
    return done.stderr


def raw(etcd) -> dict[str, object]:
    """What stands in etcd, but for the keys of living processes."""
    return {key: value for key, value in etcd.get_all().items() if not key.startswith("/alice/.node/")}


def admin(node, *command) -> dict:
    done = run_binary("admin", *command, "--address", f"127.0.0.1:{node.http_port}", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def collect(*nodes) -> int:
    """Collects until nothing is left to collect; how many files went that had never been committed."""
    never = 0

    def done() -> bool:
        nonlocal never
        # Each tells first what it needs itself.
        reports = [admin(node, "gc") for node in nodes]
        never += sum(report["never_committed"] for report in reports)
        return reports[-1]["standing"]["tombstones"] == 0

    until("everything that was dropped to be collected", done, timeout_s=60)
    return never


def merge(*nodes) -> None:
    """Merges all of `films` into one fragment."""

    def done() -> bool:
        for node in nodes:
            # Tells the others that it writes nothing older.
            admin(node, "gc")
        admin(nodes[0], "merge")
        return len(admin(nodes[0], "fragments", "--collection", "films")) == 1

    until("all fragments to be merged", done, timeout_s=60)


def fill(clients) -> dict:
    """Collections with everything that leaves something behind in the metadata."""
    a, b = clients[0], clients[-1]
    films, books, gone = (data.create(a, name) for name in ("films", "books", "gone"))
    for number in range(6):
        client = clients[number % len(clients)]
        client.insert(films, data.rows(range(number * ROWS, (number + 1) * ROWS), tag=number))
        client.flush(films)
    b.delete(films, filter="id % 10 == 3")
    b.flush(films)
    # Overwrites rows of the first fragments.
    a.upsert(films, data.rows(range(50), tag=77))
    a.insert(books, data.rows(range(40)))
    a.insert(gone, data.rows(range(40)))
    a.flush(films)
    a.drop_collection(gone)
    return {"films": films, "books": books}


def ask(client) -> list:
    """What a restored cluster has to answer as the lost one did."""
    fields = ["id", "vector", "tag"]
    hits = client.search("films", [data.vector(key) for key in (3, 13, 40, 900)], limit=20, output_fields=fields)
    rows = client.query("films", filter="tag == 77 or id in [1, 3, 13, 1000, 1003]", output_fields=fields)
    counts = [data.count(client, "films", filter) for filter in ("", "tag == 2", "id % 10 == 3")]
    return [
        [[dict(hit) for hit in found] for found in hits],
        sorted(rows, key=lambda row: row["id"]),
        counts,
        data.count(client, "books"),
        sorted(client.list_collections()),
        client.describe_collection("films")["collection_id"],
    ]


@pytest.fixture
def lost(new_etcd, new_node, new_client, storage, etcd, tmp_path):
    """A cluster whose etcd is gone, its dump, and what it had answered."""
    nodes = [new_node(number, settings=QUIET) for number in (1, 2)]
    clients = [new_client(node) for node in nodes]
    fill(clients)
    path = tmp_path / "dump"
    text = dump(etcd, storage, path)
    answers = ask(clients[0])
    assert ask(clients[1]) == answers
    return {"nodes": nodes, "clients": clients, "path": path, "text": text, "answers": answers, "storage": storage}


def lose(lost, etcd) -> None:
    for node in lost["nodes"]:
        node.kill9()
    etcd.kill9()


def start_over(lost, etcd) -> list:
    """The same nodes over another etcd."""
    for node in lost["nodes"]:
        node.settings["etcd.endpoints"] = [etcd.endpoint]
        node.restart()
    return lost["nodes"]


@pytest.mark.parametrize("storage", ["a directory", "S3"], indirect=True)
def test_a_restored_cluster_answers_as_before_and_goes_on(lost, etcd, new_etcd, new_client):
    storage = lost["storage"]
    lose(lost, etcd)
    fresh = new_etcd()
    assert "revisions go on above" in restored(fresh, storage, lost["path"])
    nodes = start_over(lost, fresh)
    a, b = (new_client(node) for node in nodes)
    for client in (a, b):
        assert ask(client) == lost["answers"]
    # What is written now is newer than what was there.
    a.upsert("films", data.rows(range(100, 120), tag=88))
    a.flush("films")
    b.delete("films", ids=list(range(40)))
    b.flush("films")
    changed = [data.count(client, "films", filter) for client in (a, b) for filter in ("", "tag == 88", "id < 40")]
    # The upsert brings two deleted rows back, of the first forty eight are there: those that end in 3 had been written over.
    there = lost["answers"][2][0] + 2 - 40
    assert changed == [there, 20, 0] * 2
    # Everything is merged into one fragment, and the rest collected: nothing that is needed.
    merge(*nodes)
    collect(*nodes)
    assert [data.count(client, "films", filter) for client in (a, b) for filter in ("", "tag == 88", "id < 40")] == changed
    for node in nodes:
        node.restart()
    c = new_client(nodes[1])
    assert [data.count(c, "films", filter) for filter in ("", "tag == 88", "id < 40")] == changed[:3]
    assert [hit["id"] for hit in c.search("films", [data.vector(110)], limit=1)[0]] == [110]
    # A collection of the dropped one's name is another one.
    data.create(c, "gone")
    assert data.count(c, "gone") == 0


def test_what_came_after_the_dump_is_lost_and_its_files_are_removed(lost, etcd, new_etcd, new_client, tmp_path):
    a, b = lost["clients"]
    a.insert("films", data.rows(range(10_000, 10_050), tag=99))
    b.delete("films", filter="tag == 2")
    a.flush("films")
    b.flush("films")
    late = data.create(a, "late")
    a.insert(late, data.rows(range(5)))
    a.flush(late)
    lose(lost, etcd)
    fresh = new_etcd()
    restored(fresh, lost["storage"], lost["path"])
    nodes = start_over(lost, fresh)
    client = new_client(nodes[0])
    assert ask(client) == lost["answers"]
    folder = tmp_path / "shared" / "alice"
    assert (folder / "late" / "data").exists()
    assert collect(*nodes) > 0
    assert not [file for file in (folder / "late").rglob("*") if file.is_file()]
    assert ask(client) == lost["answers"]
    # All that is left is named, and all that is named is there.
    named = {key.removeprefix("/alice/") for key in fresh.get_all() if "/data/" in key}
    assert {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} == named


def test_nothing_that_was_named_before_is_named_again(lost, etcd, new_etcd, new_client):
    a = lost["clients"][0]
    keyed = data.create(a, "keyed", auto_id=True)
    dump(etcd, lost["storage"], lost["path"])
    first = a.insert(keyed, [{"vector": data.vector(1)}])["ids"]
    a.flush(keyed)
    before = etcd.get_all()
    lost_id = a.describe_collection(data.create(a, "late"))["collection_id"]
    lose(lost, etcd)
    fresh = new_etcd()
    restored(fresh, lost["storage"], lost["path"])
    nodes = start_over(lost, fresh)
    client = new_client(nodes[0])
    again = client.insert(keyed, [{"vector": data.vector(2)}])["ids"]
    client.flush(keyed)
    # The row of before is lost, its key nobody else's.
    assert again[0] > first[0] and data.count(client, keyed, f"id == {first[0]}") == 0
    assert client.describe_collection(data.create(client, "late"))["collection_id"] > lost_id
    new = {key for key in fresh.get_all() if "/keyed/data/" in key}
    assert new and not new & before.keys()
    assert min(new) > max(key for key in before if "/keyed/data/" in key)


def test_a_flush_that_was_committed_still_is(lost, etcd, new_etcd, new_raw):
    raw_client = new_raw(lost["nodes"][0].address)
    keys = list(range(500, 505))
    raw_client.insert("books", keys, [data.vector(key) for key in keys])
    raw_client.flush_named("named", "books")
    dump(etcd, lost["storage"], lost["path"])
    raw_client.insert("books", [600], [data.vector(600)])
    raw_client.flush_named("later", "books")
    lose(lost, etcd)
    fresh = new_etcd()
    restored(fresh, lost["storage"], lost["path"])
    nodes = start_over(lost, fresh)
    again = new_raw(nodes[1].address)
    assert again.flush_outcome("named")
    with pytest.raises(StatusError, match="was not committed"):
        again.flush_outcome("later")


def test_the_past_before_the_restore_is_told_to_be_gone(lost, etcd, new_etcd, new_client):
    revision = json.loads(lost["text"].splitlines()[0])["users"]["alice"]
    assert data.count(lost["clients"][0], f"films@{revision}") == lost["answers"][2][0]
    lose(lost, etcd)
    fresh = new_etcd()
    restored(fresh, lost["storage"], lost["path"])
    client = new_client(start_over(lost, fresh)[0])
    with pytest.raises(Exception, match="older than the retention"):
        data.count(client, f"films@{revision}")
    now = json.loads(dump(fresh, lost["storage"], lost["path"]).splitlines()[0])["users"]["alice"]
    assert now > revision + 1_000_000_000
    client.delete("films", filter="tag == 2")
    client.flush("films")
    assert data.count(client, f"films@{now}") == lost["answers"][2][0]


def test_a_store_that_was_restored_once_is_restored_again(lost, etcd, new_etcd, new_client):
    lose(lost, etcd)
    second = new_etcd()
    restored(second, lost["storage"], lost["path"])
    nodes = start_over(lost, second)
    client = new_client(nodes[0])
    client.delete("films", ids=[1])
    client.flush("films")
    answers = ask(client)
    older = lost["path"].with_name("older")
    older.write_text(lost["text"])
    dump(second, lost["storage"], lost["path"])
    lose(lost, second)
    third = new_etcd()
    # The first dump is of metadata that has no say over these files any more.
    assert "belong to other metadata" in refused(restore(third, lost["storage"], older))
    assert raw(third) == {}
    restored(third, lost["storage"], lost["path"])
    client = new_client(start_over(lost, third)[1])
    assert ask(client) == answers
    client.insert("films", data.rows([20_000]))
    client.flush("films")
    assert data.count(client, "films") == answers[2][0] + 1


def test_the_lost_store_is_refused_should_it_come_back(lost, etcd, new_etcd):
    lose(lost, etcd)
    fresh = new_etcd()
    restored(fresh, lost["storage"], lost["path"])
    etcd.start()
    node = lost["nodes"][0]
    node.launch()
    assert node.wait_exit() == 1
    assert "are not those of this metadata" in node.log()


def test_nodes_that_ran_on_serve_nothing_until_they_are_restarted(lost, etcd, new_client):
    node, other = lost["nodes"]
    other.kill9()
    etcd.kill9()
    etcd.forget()
    etcd.start()
    restored(etcd, lost["storage"], lost["path"])
    client = lost["clients"][0]

    def told(text: str) -> bool:
        try:
            client.query("films", filter="id == 1", timeout=5)
        except Exception as error:
            return text in str(error)
        raise AssertionError("a node answered from what is gone")

    until("the node to notice", lambda: told("restart"))
    assert told("restart")
    status, reason, _ = node.get("/readyz")
    assert status == 503 and "restart" in reason
    done = run_binary("admin", "gc", "--address", f"127.0.0.1:{node.http_port}")
    assert done.returncode == 1, done.stdout
    node.restart()
    assert ask(new_client(node)) == lost["answers"]


def test_a_store_that_has_the_user_is_refused_and_left_alone(lost, etcd, new_etcd, new_node):
    assert "has user alice already" in refused(restore(etcd, lost["storage"], lost["path"]))
    assert ask(lost["clients"][0]) == lost["answers"]
    lose(lost, etcd)
    fresh = new_etcd()
    restored(fresh, lost["storage"], lost["path"])
    before = raw(fresh)
    assert "has user alice already" in refused(restore(fresh, lost["storage"], lost["path"]))
    assert raw(fresh) == before
    # Other users, and keys of other programs, do not stand in the way.
    shared = new_etcd()
    shared.put("/registry/pods", "{}")
    shared.put("/user_list", '["bob"]')
    restored(shared, lost["storage"], lost["path"])
    assert shared.get_all()["/user_list"] == ["bob", "alice"] and "/registry/pods" in shared.get_all()


def test_a_node_that_was_started_too_early_does_no_harm(lost, etcd, new_etcd, new_client):
    lose(lost, etcd)
    fresh = new_etcd()
    node = lost["nodes"][0]
    node.settings["etcd.endpoints"] = [fresh.endpoint]
    node.launch()
    assert node.wait_exit() == 1
    assert "are not those of this metadata" in node.log()
    assert set(fresh.get_all()) == {"/alice/.store", "/alice/.claim"}
    restored(fresh, lost["storage"], lost["path"])
    assert ask(new_client(start_over(lost, fresh)[1])) == lost["answers"]


def test_an_empty_store_does_not_overwrite_a_dump(lost, new_etcd):
    done = run_binary("meta", "dump", lost["path"], *of_cluster(new_etcd(), lost["storage"]))
    assert "no user" in refused(done)
    assert lost["path"].read_text() == lost["text"]


def test_a_damaged_dump_is_refused(lost, etcd, new_etcd, tmp_path):
    lose(lost, etcd)
    fresh = new_etcd()
    text = lost["text"]
    lines = text.splitlines(keepends=True)
    for number, (wrong, want) in enumerate((
        (text[: len(text) // 2], "cut off"),
        ("".join(lines[:-1]), "cut off"),
        ("".join(lines[:5] + lines[6:]), "checksum is wrong"),
        (text.replace('"films"', '"filmy"', 1), "checksum is wrong"),
        (text.replace('"redkite_dump":1', '"redkite_dump":2', 1), "format 2"),
        ("", "no dump"),
    )):
        path = tmp_path / f"wrong{number}"
        path.write_text(wrong)
        assert wrong != text
        assert want in refused(restore(fresh, lost["storage"], path)), wrong[:100]
    assert "cannot be read" in refused(restore(fresh, lost["storage"], tmp_path / "missing"))
    assert raw(fresh) == {}


def test_another_object_store_is_refused(lost, etcd, new_etcd, tmp_path):
    lose(lost, etcd)
    fresh = new_etcd()
    elsewhere = {"settings": {"storage.url": f"file://{tmp_path}/elsewhere"}}
    assert "not the store this metadata belongs to" in refused(restore(fresh, elsewhere, lost["path"]))
    assert raw(fresh) == {}


def test_a_dump_whose_files_are_collected_is_refused_unless_they_are_given_up(lost, etcd, new_etcd, new_client):
    merge(*lost["nodes"])
    collect(*lost["nodes"])
    lose(lost, etcd)
    fresh = new_etcd()
    assert "--accept-missing-files" in refused(restore(fresh, lost["storage"], lost["path"]))
    assert raw(fresh) == {}
    assert "files are missing" in restored(fresh, lost["storage"], lost["path"], "--accept-missing-files")
    client = new_client(start_over(lost, fresh)[0])
    assert data.count(client, "books") == lost["answers"][3]
    with pytest.raises(Exception, match="missing"):
        client.query("films", filter="tag == 2")


@pytest.mark.parametrize("transactions, there", [(1, "/alice/.head/base"), (3, "/alice/films/schema")])
def test_a_restore_that_is_killed_serves_nobody_and_can_be_run_again(lost, etcd, new_etcd, new_client, transactions, there):
    lose(lost, etcd)
    fresh = new_etcd()
    env = {"FAILPOINTS": f"meta-etcd-after-txn={transactions - 1}*off->pause"}
    command = [binary(), "meta", "restore", str(lost["path"]), *of_cluster(fresh, lost["storage"])]
    killed = subprocess.Popen(guarded(command), env=clean_env(env), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until("the restore to have come there", lambda: there in fresh.get_all())
    killed.kill()
    killed.wait()
    assert fresh.get_all()["/alice/.head/base"]["state"] == "restoring"
    node = lost["nodes"][0]
    node.settings["etcd.endpoints"] = [fresh.endpoint]
    node.launch()
    assert node.wait_exit() == 1
    assert "half restored" in node.log()
    done = run_binary("meta", "dump", *of_cluster(fresh, lost["storage"]))
    assert "half restored" in refused(done)
    # What somebody has put there meanwhile goes, too.
    fresh.put("/alice/films/data/stray", "{}")
    restored(fresh, lost["storage"], lost["path"])
    assert "/alice/films/data/stray" not in fresh.get_all()
    nodes = start_over(lost, fresh)
    assert ask(new_client(nodes[1])) == lost["answers"]


def test_a_standalone_that_has_lost_its_metadata_is_restored(new_server, new_client, tmp_path):
    server = new_server(settings=QUIET)
    client = new_client(server)
    fill([client])
    answers = ask(client)
    path = tmp_path / "dump"
    done = run_binary("meta", "dump", path, "--data-dir", server.data_dir)
    assert done.returncode == 0, done.stderr
    restoring = ("meta", "restore", path, "--data-dir", server.data_dir)
    assert "in use by another redkite" in refused(run_binary(*restoring))
    server.kill9()
    assert "has user default already" in refused(run_binary(*restoring))
    (server.data_dir / "meta.redb").unlink()
    server.launch()
    assert server.wait_exit() == 1 and "meta restore" in server.log()
    done = run_binary(*restoring)
    assert done.returncode == 0, done.stderr
    server.start()
    client = new_client(server)
    assert ask(client) == answers
    client.upsert("films", data.rows(range(5), tag=5))
    client.flush("films")
    assert data.count(client, "films", "tag == 5 and id < 5") == 5
    merge(server)
    collect(server)
    assert data.count(client, "films", "tag == 5 and id < 5") == 5
    server.restart()
    # Again from what the running server tells.
    text = server.get("/meta/dump")[1]
    assert json.loads(text.splitlines()[0])["users"]["default"] > 1_000_000_000
