"""Filter expressions against a plain Python predicate over the same rows."""

import pytest
from pymilvus import DataType

from support import data

FIELDS = [
    ("n", DataType.INT64, {"nullable": True}),
    ("tiny", DataType.INT8, {}),
    ("f", DataType.FLOAT, {}),
    ("flag", DataType.BOOL, {"nullable": True}),
    ("s", DataType.VARCHAR, {"max_length": 50, "nullable": True}),
    ("doc", DataType.JSON, {"nullable": True}),
    ("tags", DataType.ARRAY, {"element_type": DataType.INT64, "max_capacity": 5}),
]

WORDS = ["apple", "apricot", "banana", "100%", "under_score", "Grüße", "", None]


def rows() -> list[dict]:
    made = []
    for key in range(40):
        made.append(
            data.row(
                key,
                n=None if key % 10 == 9 else key - 20,
                tiny=key - 20,
                f=key / 4,
                flag=None if key % 7 == 6 else key % 2 == 0,
                s=WORDS[key % len(WORDS)],
                doc=None if key % 8 == 7 else {"a": key, "b": {"c": [key, str(key)]}, **({"only": 1} if key < 3 else {})},
                tags=list(range(key % 4)),
                extra=f"e{key % 3}",
            )
        )
    return made


ROWS = rows()


@pytest.fixture(scope="module")
def table(server):
    from support.clients import own_client

    client = own_client(server)
    name = data.create(client, fields=FIELDS)
    client.insert(name, ROWS[:15])
    client.flush(name)
    client.insert(name, ROWS[15:])
    client.flush(name)
    yield client, name
    client.close()


def is_null(value) -> bool:
    return value is None


# Filter text and the same in Python, where r is a row. UNKNOWN (a comparison with NULL) does not match.
CASES = [
    ("id == 7", lambda r: r["id"] == 7),
    ("7 == id", lambda r: r["id"] == 7),
    ("id != 7", lambda r: r["id"] != 7),
    ("n > 5", lambda r: r["n"] is not None and r["n"] > 5),
    ("not (n > 5)", lambda r: r["n"] is not None and not r["n"] > 5),
    ("n >= -3 and n < 4", lambda r: r["n"] is not None and -3 <= r["n"] < 4),
    ("-3 <= n < 4", lambda r: r["n"] is not None and -3 <= r["n"] < 4),
    ("4 > n >= -3", lambda r: r["n"] is not None and -3 <= r["n"] < 4),
    ("n < -15 || n > 15", lambda r: r["n"] is not None and (r["n"] < -15 or r["n"] > 15)),
    ("n > 5 or id == 9", lambda r: (r["n"] is not None and r["n"] > 5) or r["id"] == 9),
    ("n is null", lambda r: r["n"] is None),
    ("n is not null", lambda r: r["n"] is not None),
    ("f == 2.5", lambda r: r["f"] == 2.5),
    ("f < 1", lambda r: r["f"] < 1),
    ("id < 2.5", lambda r: r["id"] < 2.5),
    ("tiny == 300", lambda r: False),
    ("tiny < 300", lambda r: True),
    ("flag == true", lambda r: r["flag"] is True),
    ("flag == False", lambda r: r["flag"] is False),
    ("id in [1, 3, 5, 99]", lambda r: r["id"] in (1, 3, 5)),
    ("id not in [1, 3, 5]", lambda r: r["id"] not in (1, 3, 5)),
    ("id in []", lambda r: False),
    ("n not in []", lambda r: r["n"] is not None),
    ("s in ['apple', \"banana\"]", lambda r: r["s"] in ("apple", "banana")),
    ("s == 'Grüße'", lambda r: r["s"] == "Grüße"),
    ("s > 'apricot'", lambda r: r["s"] is not None and r["s"].encode() > b"apricot"),
    ("s like 'ap%'", lambda r: r["s"] is not None and r["s"].startswith("ap")),
    ("s like '%an%'", lambda r: r["s"] is not None and "an" in r["s"]),
    ("s like '%e'", lambda r: r["s"] is not None and r["s"].endswith("e")),
    ("s like 'a____'", lambda r: r["s"] is not None and len(r["s"]) == 5 and r["s"].startswith("a")),
    (r"s like '%\\%'", lambda r: r["s"] is not None and r["s"].endswith("%")),
    ("id + 1 == 3", lambda r: r["id"] + 1 == 3),
    ("id * 2 > 70", lambda r: r["id"] * 2 > 70),
    ("id % 7 == 3", lambda r: r["id"] % 7 == 3),
    ("id - 30 >= 5", lambda r: r["id"] - 30 >= 5),
    ("id / 10 == 2", lambda r: r["id"] // 10 == 2),
    ("id == 2 ** 3", lambda r: r["id"] == 8),
    ("id == 0x10", lambda r: r["id"] == 16),
    ('doc["a"] == 12', lambda r: r["doc"] is not None and r["doc"]["a"] == 12),
    ('doc["a"] >= 30.5', lambda r: r["doc"] is not None and r["doc"]["a"] >= 30.5),
    ("doc['b']['c'][0] < 3", lambda r: r["doc"] is not None and r["doc"]["b"]["c"][0] < 3),
    ('doc["b"]["c"][1] == "4"', lambda r: r["doc"] is not None and r["doc"]["b"]["c"][1] == "4"),
    ('doc["a"] == "12"', lambda r: False),
    ('exists doc["only"]', lambda r: r["doc"] is not None and "only" in r["doc"]),
    ('doc["a"] in [1, 2, "x"]', lambda r: r["doc"] is not None and r["doc"]["a"] in (1, 2)),
    ("extra == 'e1'", lambda r: r["extra"] == "e1"),
    ('$meta["extra"] == "e2"', lambda r: r["extra"] == "e2"),
    ("missing_key == 1", lambda r: False),
    ("tags[0] == 0", lambda r: len(r["tags"]) > 0),
    ("tags[2] == 2", lambda r: len(r["tags"]) > 2),
    ("flag == true and not (id in [0, 2]) and s is not null", lambda r: r["flag"] is True and r["id"] not in (0, 2) and r["s"] is not None),
    ("true", lambda r: True),
]


@pytest.mark.parametrize("text, predicate", CASES, ids=[text for text, _ in CASES])
def test_filter(table, text, predicate):
    client, name = table
    assert data.keys(client, name, text) == [row["id"] for row in ROWS if predicate(row)]


@pytest.mark.parametrize("text, predicate", CASES[::5], ids=[text for text, _ in CASES[::5]])
def test_search_under_a_filter(table, text, predicate):
    client, name = table
    expected = {row["id"] for row in ROWS if predicate(row)}
    hits = client.search(name, [data.vector(1)], limit=40, filter=text)[0]
    assert {hit["id"] for hit in hits} == expected
    distances = [hit["distance"] for hit in hits]
    assert distances == sorted(distances)


@pytest.mark.parametrize(
    "text, values, expected",
    [
        ("id == {key}", {"key": 3}, [3]),
        ("id in {keys}", {"keys": [1, 2, 77]}, [1, 2]),
        ("s == {word} and id < {limit}", {"word": "apple", "limit": 9}, [0, 8]),
        ("{low} <= id < {high}", {"low": 5, "high": 7}, [5, 6]),
        ("flag == {yes} and id < 3", {"yes": True}, [0, 2]),
    ],
)
def test_templates(table, text, values, expected):
    client, name = table
    found = client.query(name, filter=text, filter_params=values, output_fields=["id"])
    assert sorted(row["id"] for row in found) == expected


@pytest.mark.parametrize(
    "text",
    [
        "id ==",
        "id == 'text'",
        "s > 5",
        "nonsense(id)",
        "id in 5",
        "id + 1",
        "vector == 1",
        "tiny[0] == 1",
        "id % 0 == 1",
        "(id == 1",
        "id == 99999999999999999999",
        "not id in [1]",
        "id == {unknown}",
        "id == NULL",
        "5 < id < 3",
        "text_match(s, 'apple')",
    ],
)
def test_bad_filters_are_refused_with_1100(table, text):
    client, name = table
    with pytest.raises(Exception) as raised:
        client.query(name, filter=text, output_fields=["id"])
    assert raised.value.code == 1100, raised.value
    # The server still answers.
    assert data.count(client, name) == len(ROWS)


def test_undeclared_names_are_refused_without_a_dynamic_field(client):
    name = data.create(client, dynamic=False)
    with pytest.raises(Exception, match="(?i)field.*not exist") as raised:
        client.query(name, filter="unknown == 1")
    assert raised.value.code == 1100


def test_count_with_and_without_a_filter(table):
    client, name = table
    assert data.count(client, name) == len(ROWS)
    assert data.count(client, name, "id < 10") == 10
    assert data.count(client, name, "id < 0") == 0
