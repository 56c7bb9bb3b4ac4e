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

    scheme = "http"

    def __init__(self):
        self._directory = Path(tempfile.mkdtemp(prefix="redkite-etcd-"))
        self.port, self._peer_port = free_ports(2)
        self._process = None
        self.start()

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        peer = f"http://127.0.0.1:{self._peer_port}"
        program = os.environ.get("REDKITE_TEST_ETCD", "etcd")
        command = [program, "--name", "test", "--data-dir", str(self._directory / "data"), "--unsafe-no-fsync"]
        command += ["--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"test={peer}"]
        command += self._flags()
        with open(self._directory / "log", "ab") as log:
            self._process = subprocess.Popen(guarded(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until("etcd to be ready", self._ready)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.endpoint + "/health", timeout=2, context=self._context()) as answer:
                return b"true" in answer.read()
        except OSError:
            return False

    def _flags(self) -> list[str]:
        return []

    def _context(self):
        return None

    def kill9(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def forget(self) -> None:
        """Loses everything; it must not run."""
        shutil.rmtree(self._directory / "data")

    def put(self, key: str, value: str) -> None:
        """Puts one key, as a person would."""
        self.ctl("put", key, value)

    def ctl(self, *arguments: str) -> str:
        """What etcdctl prints."""
        command = ["etcdctl", "--endpoints", self.endpoint, *self._ctl_flags(), *arguments]
        environment = {**os.environ, "ETCDCTL_API": "3"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def _ctl_flags(self) -> list[str]:
        return []

    def get_all(self) -> dict[str, object]:
        """All keys with their values, as etcdctl reads them; JSON parsed."""
        lines = self.ctl("get", "/", "--prefix").splitlines()
        return dict(zip(lines[::2], map(parse, lines[1::2]), strict=True))

    def close(self) -> None:
        self.kill9()
        shutil.rmtree(self._directory, ignore_errors=True)


class GuardedEtcd(Etcd):
    """One with TLS that wants a certificate, and a user and a password as well."""

    scheme = "https"
    user, password = "root", "correct horse"

    def __init__(self, authority):
        self._authority = authority
        self._server, self._client = authority.issue("etcd"), authority.issue("etcd-client")
        self._asks_for_user = False
        super().__init__()
        self.ctl("user", "add", f"{self.user}:{self.password}")
        self.ctl("user", "grant-role", self.user, "root")
        self.ctl("auth", "enable")
        self._asks_for_user = True

    @property
    def settings(self) -> dict:
        """What a process needs to get in; the password is not among it."""
        return {
            "etcd.ca": self._authority.ca,
            "etcd.cert": self._client.cert,
            "etcd.key": self._client.key,
            "etcd.username": self.user,
        }

    def _flags(self) -> list[str]:
        files = ["--cert-file", self._server.cert, "--key-file", self._server.key, "--trusted-ca-file", self._authority.ca]
        return [*files, "--client-cert-auth"]

    def _ctl_flags(self) -> list[str]:
        files = ["--cert", self._client.cert, "--key", self._client.key, "--cacert", self._authority.ca]
        return files + (["--user", f"{self.user}:{self.password}"] if self._asks_for_user else [])

    def _context(self):
        return self._authority.context(self._client)


def parse(text: str):
    try:
        return json.loads(text)
    except ValueError:
        return text
