"""A TCP proxy that can cut its connections: the network between a client and the server."""

import socket
import struct
import threading


class Proxy:
    """Forwards from a free port of 127.0.0.1 to `port`; or from `listener` to where `connect` connects."""

    def __init__(self, port: int | None = None, listener: socket.socket | None = None, connect=None):
        self._connect = connect or (lambda: socket.create_connection(("127.0.0.1", port)))
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._refusing = False
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        # Cleared: no bytes go to the client.
        self._answers = threading.Event()
        self._answers.set()
        # What is answered in place of the server, if set.
        self._instead: bytes | None = None
        # Bytes of answers a connection may still carry before it is cut, if set.
        self._answer_bytes: int | None = None
        # Bytes of requests a connection may still carry before it is cut, if set.
        self._request_bytes: int | None = None
        # Pieces of requests that arrived here: grows when somebody asks the server something.
        self.requests = 0
        # Connections that were refused.
        self.refused = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Ends all connections with a reset; new ones are accepted."""
        with self._lock:
            ended, self._sockets = self._sockets, set()
        for end in ended:
            try:
                # Closing with zero linger sends a reset; shutdown wakes the thread that reads.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                # Its other side ended it before us.
                pass
            end.close()

    def hold_answers(self, hold: bool) -> None:
        """While held, requests arrive and their answers do not."""
        if hold:
            self._answers.clear()
        else:
            self._answers.set()

    def refuse(self, refuse: bool) -> None:
        """With true every connection is ended, new ones at once; with false all is well again."""
        self._refusing = refuse
        if refuse:
            self.cut()

    def answer_instead(self, answer: bytes | None) -> None:
        """Every connection is answered so as soon as it says anything, and ended; with None all is well again."""
        self._instead = answer
        self.cut()

    def truncate_answers(self, size: int | None) -> None:
        """Every connection is cut after so many bytes of answers; with None all is well again."""
        self._answer_bytes = size
        self.cut()

    def truncate_requests(self, size: int | None) -> None:
        """Every connection is cut after so many bytes of requests; with None all is well again."""
        self._request_bytes = size
        self.cut()

    def close(self) -> None:
        self._listener.close()
        self.cut()
        self._answers.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                self.refused += 1
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = self._connect()
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._sockets |= {client, server}
        if self._refusing:
            # Since this one was accepted.
            self.cut()
        directions = ((client, server, None, self._request_bytes), (server, client, self._answers, self._answer_bytes))
        for direction in directions:
            threading.Thread(target=self._pump, args=direction, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, gate, left: int | None) -> None:
        try:
            while chunk := source.recv(65536):
                if gate is not None:
                    gate.wait()
                else:
                    self.requests += 1
                if gate is None and self._instead is not None:
                    source.sendall(self._instead)
                    raise OSError("answered in place of the server")
                if left is not None:
                    chunk = chunk[:left]
                    left -= len(chunk)
                target.sendall(chunk)
                if left == 0:
                    raise OSError("the bytes this connection may carry are used up")
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # Both ends go when one does.
            for end in (source, target):
                end.close()
