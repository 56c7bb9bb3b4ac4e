"""Certificates made on the fly by the program `openssl`."""

import shutil
import ssl
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

HERE = "IP:127.0.0.1,DNS:localhost"
_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]


@dataclass
class Certificate:
    """Files in PEM."""

    cert: str
    key: str

    def replace(self, other: "Certificate") -> None:
        """Puts another one in its place, as people do it: certificate, then key."""
        shutil.copy(other.cert, self.cert)
        shutil.copy(other.key, self.key)


class Authority:
    """Signs certificates; its files are in `directory`."""

    def __init__(self, directory: Path):
        # Of a name of its own, so that no two can be taken for each other.
        self.directory = directory / uuid.uuid4().hex
        self.directory.mkdir(parents=True)
        self.ca = str(self.directory / "ca.pem")
        self._openssl("-subj", f"/CN={self.directory.name}", "-keyout", "ca.key", "-out", "ca.pem")

    def issue(self, name: str, hosts: str = HERE) -> Certificate:
        """For servers and clients."""
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
        named = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={hosts}"]
        self._openssl(*named, *signed, "-keyout", f"{name}.key", "-out", f"{name}.pem")
        return Certificate(str(self.directory / f"{name}.pem"), str(self.directory / f"{name}.key"))

    def context(self, client: Certificate | None = None) -> ssl.SSLContext:
        """Trusts this authority, and shows a client's certificate."""
        context = ssl.create_default_context(cafile=self.ca)
        if client:
            context.load_cert_chain(client.cert, client.key)
        return context

    def _openssl(self, *arguments: str) -> None:
        command = ["openssl", "req", "-x509", *_KEY, *arguments]
        subprocess.run(command, cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)


class Tls:
    """What a server has, and what its clients need; with `mutual` they show a certificate, too."""

    def __init__(self, authority: Authority, name: str = "server", mutual: bool = False, hosts: str = HERE):
        self.authority = authority
        self.own = authority.issue(name, hosts)
        self.settings = {"tls.cert": self.own.cert, "tls.key": self.own.key, "tls.ca": authority.ca}
        self.client = authority.issue(f"client-of-{name}") if mutual else None
        if mutual:
            self.settings["tls.client_ca"] = authority.ca

    @property
    def client_options(self) -> dict:
        """For pymilvus."""
        if not self.client:
            return {"server_pem_path": self.authority.ca}
        pair = {"client_pem_path": self.client.cert, "client_key_path": self.client.key}
        return {"ca_pem_path": self.authority.ca, **pair}

    @property
    def arguments(self) -> list[str]:
        """For commands that ask a server."""
        pair = ["--tls-cert", self.client.cert, "--tls-key", self.client.key] if self.client else []
        return ["--tls-ca", self.authority.ca, *pair]

    def context(self) -> ssl.SSLContext:
        return self.authority.context(self.client)
