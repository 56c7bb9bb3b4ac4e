"""Data directories of every released format are opened as they were written."""

import json
import shutil
from pathlib import Path

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
