"""Configuration: defaults, file, environment, command line; and what is refused before any port opens."""

import tomllib

import pytest

from support import data
from support.server import run_binary


def dump(*args, env=None, cwd=None) -> dict:
    """What is in force."""
    run = run_binary("standalone", *args, "--dump-config", env=env, cwd=cwd)
    assert run.returncode == 0, run.stderr
    return tomllib.loads(run.stdout)


def refused(*args, env=None) -> str:
    """What a refusal says."""
    run = run_binary("standalone", *args, env=env, timeout_s=20)
    assert run.returncode != 0, "it should have been refused"
    return run.stderr + run.stdout


@pytest.fixture
def config_file(tmp_path):
    def write(text: str):
        path = tmp_path / "redkite.toml"
        path.write_text(text)
        return path

    return write


def test_defaults():
    config = dump()
    assert config["auto_flush"] is False
    assert config["flush_interval"] == 1000
    assert config["flush_limitition"] == "16M"
    assert config["num_nodes"] == 1
    assert config["num_replicas"] == 0
    assert config["sync_level"] == 0


def test_the_dump_is_a_configuration(config_file):
    first = run_binary("standalone", "--dump-config", "--set", "auto_flush=true").stdout
    again = run_binary("standalone", "--config", config_file(first), "--dump-config").stdout
    # Only the comments differ: they say where each value comes from.
    assert tomllib.loads(again) == tomllib.loads(first)
    assert tomllib.loads(again)["auto_flush"] is True


def test_file_then_environment_then_command_line(config_file):
    path = config_file("auto_flush = true\nflush_interval = 1\nflush_limitition = '1M'\n")
    assert dump("--config", path)["flush_interval"] == 1
    env = {"REDKITE_FLUSH_INTERVAL": "2", "REDKITE_FLUSH_LIMITITION": "2M"}
    config = dump("--config", path, "--set", "flush_limitition=3M", env=env)
    assert (config["auto_flush"], config["flush_interval"], config["flush_limitition"]) == (True, 2, "3M")
    config = dump("--set", "flush_interval=7", "--set", "flush_interval=8")
    assert config["flush_interval"] == 8


def test_dotted_keys_and_sections(config_file):
    path = config_file("[session]\nidle_timeout = '2h'\nmemory_soft = '128M'\n")
    config = dump("--config", path, "--set", "session.memory_soft=64M")
    assert config["session"]["memory_soft"] == "64M"
    assert dump("--set", 'session.idle_timeout="5s"')["session"]["idle_timeout"] == "5s"


def test_the_other_spelling_of_flush_limitition(config_file):
    assert dump("--set", "flush_limitation=4M")["flush_limitition"] == "4M"
    assert dump("--config", config_file("flush_limitation = '5M'"))["flush_limitition"] == "5M"
    assert dump(env={"REDKITE_FLUSH_LIMITATION": "6M"})["flush_limitition"] == "6M"


@pytest.mark.parametrize(
    "setting, words",
    [
        ("auto_flsh=true", ["auto_flsh"]),
        ("session.idle=1h", ["session.idle"]),
        ("auto_flush=perhaps", ["auto_flush", "perhaps", "true"]),
        ("flush_interval=-1", ["flush_interval", "-1"]),
        ("flush_interval=soon", ["flush_interval", "soon"]),
        ("flush_interval=3000000000", ["flush_interval", "3000000000"]),
        ("flush_limitition=big", ["flush_limitition", "big"]),
        ("num_replicas=1", ["num_replicas", "1"]),
        ("sync_level=1", ["sync_level", "1"]),
        ("session.idle_timeout=later", ["session.idle_timeout", "later"]),
        ("nonsense", ["nonsense"]),
    ],
)
def test_bad_values_are_refused_with_key_value_and_what_would_do(setting, words):
    said = refused("--set", setting, "--dump-config")
    for word in words:
        assert word in said, said


def test_unknown_keys_are_refused_wherever_they_stand(config_file):
    assert "auto_flsh" in refused("--config", config_file("auto_flsh = true"))
    assert "auto_flsh" in refused(env={"REDKITE_AUTO_FLSH": "true"}).lower()
    assert "nowhere.toml" in refused("--config", "/nowhere.toml")
    assert "redkite.toml" in refused("--config", config_file("auto_flush = = true"))


@pytest.mark.parametrize(
    "setting, words",
    [
        ("auto_flush=perhaps", ["auto_flush", "perhaps", "true or false"]),
        ("flush_interval=-1", ["flush_interval", "-1", "from 0 to 2147483647"]),
        ("num_replicas=1", ["num_replicas", "= 1", "at most num_nodes - 1 = 0"]),
    ],
)
def test_a_bad_value_is_told_before_any_port_is_opened(server, tmp_path, setting, words):
    """Both ports are in use, which would be the error if the server came so far."""
    start = ["--data-dir", tmp_path / "data", "--listen", server.address, "--http", f"127.0.0.1:{server.http_port}"]
    said = refused(*start, "--set", setting)
    for word in words:
        assert word in said, said
    assert "in use" not in said
    assert not (tmp_path / "data").exists(), "nothing was made either"
    assert "in use" in refused(*start)


def test_bad_addresses_and_ports_in_use(server):
    assert "localhost:x" in refused("--listen", "localhost:x", "--dump-config")
    said = refused("--data-dir", server.data_dir / "other", "--listen", server.address, "--http", "127.0.0.1:0")
    assert server.address in said


def test_the_banner_says_where_and_how(new_server):
    manual = new_server().log()
    assert "flush()" in manual
    automatic = new_server(settings={"auto_flush": True})
    log = automatic.log()
    for expected in (str(automatic.port), str(automatic.data_dir), "auto_flush"):
        assert expected in log, log


def test_settings_work_in_the_running_server(new_server, new_client):
    server = new_server(env={"REDKITE_AUTO_FLUSH": "true", "REDKITE_FLUSH_INTERVAL": "0"})
    client = new_client(server)
    name = data.create(client)
    client.insert(name, data.rows([1]))
    assert data.keys(client, name) == [1]


def test_help_and_version():
    assert "standalone" in run_binary("--help").stdout
    assert run_binary("--version").stdout.startswith("redkite")
    assert "--data-dir" in run_binary("standalone", "--help").stdout
    assert run_binary("nonsense").returncode != 0
