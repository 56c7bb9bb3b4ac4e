"""Data directories of every released format are opened as they were written."""

import json
import shutil
from pathlib import Path

import pyarrow
import pyarrow.ipc
import pytest

from support import golden
from support.server import run_binary

FORMATS = sorted((Path(__file__).parent / "golden").glob("format-*"))


def test_there_is_a_directory_of_every_format():
    assert [folder.name for folder in FORMATS] == ["format-1"]


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_a_released_format_is_read_whole(folder, tmp_path, new_server, new_client):
    data_dir = tmp_path / "data"
    shutil.copytree(folder, data_dir)
    client = new_client(new_server(data_dir=data_dir))
    golden.check(client)
    # And it can be written on.
    client.insert(golden.NAME, [golden.row(golden.ROWS)])
    client.flush(golden.NAME)
    assert client.get(golden.NAME, ids=[golden.ROWS])[0]["text"] == f"text {golden.ROWS}"


def test_a_newer_format_is_refused_by_name(tmp_path):
    data_dir = tmp_path / "data"
    shutil.copytree(FORMATS[-1], data_dir)
    described = json.loads((data_dir / "redkite.json").read_text())
    (data_dir / "redkite.json").write_text(json.dumps(described | {"format": 99}))
    result = run_binary("standalone", "--data-dir", str(data_dir), "--listen", "127.0.0.1:0", "--http", "")
    assert result.returncode != 0
    assert str(data_dir) in result.stderr and "99" in result.stderr, result.stderr


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_pyarrow_opens_every_file(folder):
    """Vectors and scalars of every type, straight from the store: row-aligned within a fragment."""
    columns = {}
    rows = {}
    for path in sorted(folder.glob("objects/**/*.arrow")):
        table = pyarrow.ipc.open_file(pyarrow.memory_map(str(path))).read_all()
        table.validate(full=True)
        (name,) = table.column_names
        columns.setdefault(name, str(table.schema.field(0).type))
        rows.setdefault(path.parent, set()).add(table.num_rows)
    assert all(len(counts) == 1 for counts in rows.values()), rows
    expected = golden.row(1)
    assert set(columns) == set(expected) - {"extra"} | {"$meta"}
    assert columns["vector"].startswith("fixed_size_list<item: float") and columns["text"] == "string"
    first = next(path for path in sorted(rows) if "everything" in str(path))
    read = {path.stem: pyarrow.ipc.open_file(str(path)).read_all() for path in first.glob("*.arrow")}
    table = {column.column_names[0]: column.column(0).to_pylist() for column in read.values()}
    place = table["id"].index(1)
    for name in ("flag", "tiny", "small", "whole", "single", "double", "text", "tags", "maybe"):
        assert table[name][place] == expected[name], name
    assert json.loads(table["json"][place]) == expected["json"]
    assert json.loads(table["$meta"][place]) == {"extra": "dynamic 1"}
    assert table["bits"][place] == expected["bits"]
    assert table["vector"][place] == pytest.approx(expected["vector"], rel=1e-6)
