"""A real etcd as processes."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from support.ports import free_ports
from support.server import guarded
from support.wait import until


class Etcd:
    """One member on free ports, in a temporary directory; killed by its id at the end. Alone, unless `EtcdCluster` makes it.

    `args` are further options of etcd.
    """

    scheme = "http"

    def __init__(self, args=(), name: str = "test", start=True):
        self._directory = Path(tempfile.mkdtemp(prefix="redkite-etcd-"))
        self.name = name
        self.args = list(args)
        self.port, peer_port = free_ports(2)
        self.peer = f"http://127.0.0.1:{peer_port}"
        # All members, as etcd wants them told.
        self.cluster = f"{name}={self.peer}"
        self._data = self._directory / "data"
        self._process = None
        if start:
            self.start()

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def endpoints(self) -> list[str]:
        return [self.endpoint]

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        program = os.environ.get("REDKITE_TEST_ETCD", "etcd")
        command = [program, "--name", self.name, "--data-dir", str(self._data), "--unsafe-no-fsync", *self.args]
        command += ["--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint]
        command += ["--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer]
        command += ["--initial-cluster", self.cluster, *self._flags()]
        with open(self._directory / "log", "ab") as log:
            self._process = subprocess.Popen(guarded(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_ready(self) -> None:
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
        shutil.rmtree(self._data)

    def put(self, key: str, value: str) -> None:
        """Puts one key, as a person would."""
        self.ctl("put", key, value)

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def ctl(self, *arguments: str) -> str:
        """What etcdctl says."""
        command = ["etcdctl", "--endpoints", ",".join(self.endpoints), *self._ctl_flags(), *arguments]
        done = subprocess.run(command, env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def _ctl_flags(self) -> list[str]:
        return []

    def get_all(self) -> dict[str, object]:
        """All keys with their values, as etcdctl reads them; JSON parsed."""
        lines = self.ctl("get", "/", "--prefix").splitlines()
        return dict(zip(lines[::2], map(parse, lines[1::2]), strict=True))

    def revision(self) -> int:
        """The newest revision."""
        return json.loads(self.ctl("get", "/", "-w", "json"))["header"]["revision"]

    def status(self) -> dict | None:
        """What it tells of itself; none if it does not answer."""
        command = ["etcdctl", "--endpoints", self.endpoint, "--command-timeout", "1s", "endpoint", "status", "-w", "json"]
        done = subprocess.run(command, env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True)
        return json.loads(done.stdout)[0]["Status"] if done.returncode == 0 else None

    def back_up(self) -> Path:
        """A snapshot of now, for `restore`."""
        snapshot = self._directory / "snapshot"
        self.ctl("snapshot", "save", str(snapshot))
        return snapshot

    def restore(self, snapshot: Path) -> None:
        """Kills it if it runs, and starts it with what was backed up."""
        self.kill9()
        self._data = self._directory / "restored"
        members = ["--name", self.name, "--initial-cluster", self.cluster, "--initial-advertise-peer-urls", self.peer]
        self.ctl("snapshot", "restore", str(snapshot), "--data-dir", str(self._data), *members)
        self.start()

    def close(self) -> None:
        if self._process is not None:
            self.kill9()
        shutil.rmtree(self._directory, ignore_errors=True)


class EtcdCluster:
    """Three members."""

    def __init__(self):
        self.members = [Etcd(name=f"m{number}", start=False) for number in range(3)]
        every = ",".join(member.cluster for member in self.members)
        for member in self.members:
            member.cluster = every
            member.launch()
        for member in self.members:
            member.wait_ready()

    @property
    def endpoints(self) -> list[str]:
        return [member.endpoint for member in self.members]

    def leader(self) -> Etcd:
        """The member that leads now."""
        return until("etcd to have a leader", self._leader)

    def _leader(self) -> Etcd | None:
        for member in self.members:
            status = member.status()
            if status and status["leader"] == status["header"]["member_id"]:
                return member
        return None

    def close(self) -> None:
        for member in self.members:
            member.close()


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
