"""A real etcd as a process."""

import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from support.ports import free_ports
from support.server import guarded
from support.wait import until


class Etcd:
    """One member on free ports, in a temporary directory; killed by its id at the end."""

    def __init__(self):
        self._directory = Path(tempfile.mkdtemp(prefix="redkite-etcd-"))
        self.port, self._peer_port = free_ports(2)
        self._process = None
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        peer = f"http://127.0.0.1:{self._peer_port}"
        program = os.environ.get("REDKITE_TEST_ETCD", "etcd")
        command = [program, "--name", "test", "--data-dir", str(self._directory / "data"), "--unsafe-no-fsync"]
        command += ["--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"test={peer}"]
        with open(self._directory / "log", "ab") as log:
            self._process = subprocess.Popen(guarded(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until("etcd to be ready", self._ready)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.endpoint + "/health", timeout=2) as answer:
                return b"true" in answer.read()
        except OSError:
            return False

    def kill9(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def forget(self) -> None:
        """Loses everything; it must not run."""
        shutil.rmtree(self._directory / "data")

    def put(self, key: str, value: str) -> None:
        """Puts one key, as a person would."""
        command = ["etcdctl", "--endpoints", self.endpoint, "put", key, value]
        subprocess.run(command, env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, check=True)

    def get_all(self) -> dict[str, object]:
        """All keys with their values, as etcdctl reads them; JSON parsed."""
        command = ["etcdctl", "--endpoints", self.endpoint, "get", "/", "--prefix"]
        output = subprocess.run(command, env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, check=True)
        lines = output.stdout.splitlines()
        return dict(zip(lines[::2], map(parse, lines[1::2]), strict=True))

    def close(self) -> None:
        self.kill9()
        shutil.rmtree(self._directory, ignore_errors=True)


def parse(text: str):
    try:
        return json.loads(text)
    except ValueError:
        return text
