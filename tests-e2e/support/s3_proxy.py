"""A proxy in front of an S3 server that understands its requests, and lets a share of them fail."""

import http.client
import itertools
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What AWS answers, shortened.
SLOW_DOWN = (503, "SlowDown", "Please reduce your request rate.")
EXPIRED = (400, "ExpiredToken", "The provided token has expired.")
DENIED = (403, "AccessDenied", "Access Denied")

# Headers of one connection alone.
HOP = {"connection", "keep-alive", "transfer-encoding"}


class S3Proxy:
    """Forwards from a free port of 127.0.0.1 to the S3 server at `endpoint`."""

    def __init__(self, endpoint: str):
        self.upstream = endpoint.removeprefix("http://")
        self._fault = None
        self._every = 1
        self._numbers = itertools.count()
        # Set: nobody hangs.
        self._well = threading.Event()
        self._well.set()
        # Requests that arrived, and those that failed.
        self.requests = 0
        self.failed = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, error: tuple[int, str, str], every: int = 1) -> None:
        """Every so manyth request is answered so, and not passed on."""
        self._set(lambda handler, body: handler.refuse(*error), every)

    def hang(self, every: int = 1) -> None:
        """Every so manyth request is not answered until all is well again."""
        self._set(lambda handler, body: self._well.wait(), every)
        self._well.clear()

    def reset(self, every: int = 1) -> None:
        """Every so manyth request ends with a reset of its connection in place of an answer; half of them are carried out."""
        turns = itertools.cycle([True, False])
        self._set(lambda handler, body: handler.reset(body if next(turns) else None), every)

    def recover(self) -> None:
        """All is well again."""
        self._set(None, 1)
        self._well.set()

    def _set(self, fault, every: int) -> None:
        self._fault, self._every = fault, every
        self.failed = 0

    def fault(self):
        """What is to become of the next request; none if it is passed on."""
        self.requests += 1
        fault = self._fault
        if fault is None or next(self._numbers) % self._every:
            return None
        self.failed += 1
        return fault

    def close(self) -> None:
        self.recover()
        self._server.shutdown()
        self._server.server_close()


def handler_of(proxy: S3Proxy):
    """What serves one connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.fault()
            if fault is None:
                self.pass_on(body)
            else:
                fault(self, body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

        def forward(self, body: bytes):
            upstream = http.client.HTTPConnection(proxy.upstream, timeout=60)
            try:
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in HOP:
                        upstream.putheader(name, value)
                upstream.endheaders(body)
                answer = upstream.getresponse()
                return answer.status, answer.reason, answer.getheaders(), answer.read()
            finally:
                upstream.close()

        def pass_on(self, body: bytes) -> None:
            status, reason, headers, content = self.forward(body)
            self.send_response_only(status, reason)
            for name, value in headers:
                if name.lower() not in HOP | {"content-length"}:
                    self.send_header(name, value)
            # A HEAD tells the length of what it does not send.
            lengths = [value for name, value in headers if name.lower() == "content-length"]
            self.send_header("Content-Length", lengths[0] if self.command == "HEAD" and lengths else str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def refuse(self, status: int, code: str, message: str) -> None:
            content = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            self.send_response_only(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def reset(self, body: bytes | None) -> None:
            """With a body the request is carried out."""
            if body is not None:
                self.forward(body)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            # The last reference to the socket closes it, and so resets it.
            self.rfile.close()
            self.connection.close()

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                # The client is gone.
                self.close_connection = True

        def log_message(self, format, *args) -> None:
            """Says nothing."""

    return Handler
