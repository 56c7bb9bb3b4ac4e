"""Asking Masters, by HTTP, with TLS or without."""

import http.client
import json
import ssl


class Masters:
    """Addresses of Masters, and how to ask them. With TLS nodes are reached by it, too."""

    def __init__(self, addresses: str, options: dict):
        """`options` are those for pymilvus; what TLS means by them there it means here."""
        given = [address.strip().rstrip("/") for address in addresses.split(",") if address.strip()]
        schemes = {address.split("://", 1)[0] for address in given if "://" in address}
        if not given or not schemes <= {"http", "https"}:
            raise ValueError("want the address of a Master, such as 'localhost:19530' or 'https://localhost:19530'")
        if options.get("secure") is True:
            schemes.add("https")
        if len(schemes) > 1:
            raise ValueError("want all Masters with TLS (https://), or none")
        self.addresses = [address.split("://", 1)[-1] for address in given]
        self.scheme = schemes.pop() if schemes else "http"
        self._server_name = options.get("server_name") or None
        self.grpc_options, self._tls = {}, None
        if self.scheme == "https":
            self.grpc_options = _grpc_options(options)
            self._tls = _context(options)

    def route(self, address: str, timeout_s: float) -> dict:
        """Asks the Master at `address` for a node; the connection to it is closed again."""
        host, _, port = address.rpartition(":")
        connection = _Connection(host.strip("[]"), int(port), timeout_s, self._tls, self._server_name)
        try:
            connection.request("GET", "/redkite/route")
            answer = connection.getresponse()
            body = answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"Master {address} answers no HTTP: {error!r}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"Master {address} answers {answer.status}: {body[:4096].decode(errors='replace')}")
        return json.loads(body)


class _Connection(http.client.HTTPConnection):
    """One that may have TLS, with a certificate of a name that may be another one than the host's."""

    def __init__(self, host: str, port: int, timeout_s: float, tls: "ssl.SSLContext | None", server_name: "str | None"):
        super().__init__(host, port, timeout=timeout_s)
        self._tls, self._server_name = tls, server_name or host

    def connect(self):
        super().connect()
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


def _context(options: dict) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.get("server_pem_path") or options.get("ca_pem_path") or None)
    if options.get("client_pem_path"):
        context.load_cert_chain(options["client_pem_path"], options.get("client_key_path") or None)
    return context


def _grpc_options(options: dict) -> dict:
    """What to give pymilvus beside `options`: without a client's certificate it looks for the authority in `server_pem_path` alone,
    with both it leaves the client's certificate out."""
    ca = options.get("ca_pem_path") or options.get("server_pem_path") or ""
    if options.get("client_pem_path"):
        return {"secure": True, "server_pem_path": "", "ca_pem_path": ca}
    return {"secure": True, "server_pem_path": options.get("server_pem_path") or ca}
