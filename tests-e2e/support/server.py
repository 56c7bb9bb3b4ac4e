"""The real binary as a process."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from support.ports import free_ports
from support.wait import until

READY_TIMEOUT_S = 30
EXIT_TIMEOUT_S = 30


def binary() -> str:
    """The program under test."""
    path = os.environ.get("REDKITE_TEST_BINARY")
    if not path:
        raise RuntimeError("REDKITE_TEST_BINARY is not set; run `cargo xtask test --only e2e`")
    return path


def clean_env(extra: dict | None = None) -> dict:
    """Our environment without this test run's own variables, which the server would read as its configuration."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("REDKITE_", "FAILPOINTS"))}
    env.update(extra or {})
    return env


def run_binary(*args: str, env: dict | None = None, timeout_s: float = EXIT_TIMEOUT_S, cwd=None):
    """Runs the binary to its end; returns the completed process with its output as text."""
    command = [binary(), *map(str, args)]
    return subprocess.run(
        command, env=clean_env(env), capture_output=True, text=True, timeout=timeout_s, cwd=cwd, stdin=subprocess.DEVNULL
    )


def guarded(command: list[str]) -> list[str]:
    """The command under setpriv, where that is installed: the kernel then kills the child when we die."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else command


class Server:
    """A server on free ports, killed by its id at the end.

    `settings` become `--set key=value`. Without `data_dir` the data dies with the server. `wrapper` is a command that runs
    the server as its own last arguments, in its own process. `host` is where it listens for clients. `tls` (of
    support.certificates) is what its ports have.
    """

    # The command that runs it.
    role = "standalone"

    def __init__(
        self, data_dir=None, settings: dict | None = None, env: dict | None = None, args=(), wrapper=(), start=True,
        host="127.0.0.1", tls=None,
    ):
        self._scratch = Path(tempfile.mkdtemp(prefix="redkite-e2e-"))
        self.data_dir = Path(data_dir) if data_dir else self._scratch / "data"
        self.log_path = self._scratch / "log"
        self.tls = tls
        self.settings = (tls.settings if tls else {}) | dict(settings or {})
        self.env = dict(env or {})
        self.args = list(args)
        self.wrapper = list(wrapper)
        self.host = host
        self.process = None
        self.port, self.http_port = free_ports(2)
        if start:
            try:
                self.start()
            except BaseException:
                # Nobody has this object yet who could close it.
                self.close()
                raise

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{self.address}"

    @property
    def http(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.http_port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def command(self) -> list[str]:
        command = [*self.wrapper, binary(), self.role, "--data-dir", str(self.data_dir)]
        command += ["--listen", f"{self.host}:{self.port}", "--http", f"127.0.0.1:{self.http_port}"]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={setting_text(value)}"]
        return command + self.args

    def start(self) -> "Server":
        """Starts it and waits until it says that it is ready."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Starts it and returns at once."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                guarded(self.command()), env=clean_env(self.env), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_ready(self) -> None:
        until("the server to be ready", self._ready, READY_TIMEOUT_S)

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log()}")
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def get(self, path: str, base: str | None = None) -> tuple[int, str, dict]:
        """GET: status, body, headers."""
        context = self.tls.context() if self.tls else None
        try:
            with urllib.request.urlopen((base or self.http) + path, timeout=10, context=context) as answer:
                return answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), dict(error.headers)

    def log(self) -> str:
        """All it wrote, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def metrics(self) -> dict[str, float]:
        """All series of /metrics: `name{labels}` to value."""
        lines = self.get("/metrics")[1].splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def metric(self, pattern: str) -> float:
        """The sum of all series whose name (with labels) matches a regular expression; 0 where none does."""
        return sum(value for name, value in self.metrics().items() if re.search(pattern, name))

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill9(self) -> None:
        self.process.kill()
        self.process.wait(EXIT_TIMEOUT_S)

    def terminate(self, timeout_s: float = EXIT_TIMEOUT_S) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def wait_exit(self, timeout_s: float = EXIT_TIMEOUT_S) -> int:
        """The exit code once it has ended by itself (negative: killed by that signal)."""
        return self.process.wait(timeout_s)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def restart(self, settings: dict | None = None, env: dict | None = None) -> "Server":
        """Kills it if it runs and starts it again on the same data and ports, with other settings if given."""
        if self.alive():
            self.kill9()
        if settings is not None:
            self.settings = dict(settings)
        if env is not None:
            self.env = dict(env)
        return self.start()

    def close(self) -> None:
        if self.alive():
            self.kill9()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def meta(self) -> dict[str, object]:
        """Stops the server in good order and returns all metadata: key to parsed value (text where it is no JSON)."""
        return {line["key"]: line["value"] for line in self.meta_lines()}

    def meta_lines(self) -> list[dict]:
        """As `meta`, but each line of the dump with its revisions."""
        if self.alive():
            assert self.terminate() == 0, self.log()
        dump = run_binary("meta", "dump", "--data-dir", str(self.data_dir))
        assert dump.returncode == 0, dump.stderr
        lines = [json.loads(line) for line in dump.stdout.splitlines()]
        # The first and the last are about all of them.
        return [line for line in lines if "key" in line]

    def data_files(self) -> list[Path]:
        """All objects of all collections, wherever under the data directory the store keeps them."""
        return sorted(path for path in self.data_dir.rglob("*") if path.is_file() and "data" in path.parts[len(self.data_dir.parts):])

    def object_path(self, user: str, collection: str, file_path: str) -> Path:
        """The one file at `.../<user>/<collection>/data/<file_path>`."""
        ending = f"{user}/{collection}/data/{file_path}"
        found = [path for path in self.data_dir.rglob(Path(file_path).name) if path.as_posix().endswith(ending)]
        assert len(found) == 1, f"{ending}: {found}"
        return found[0]


def setting_text(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return json.dumps(value)
    return str(value)
