"""A TCP proxy that can cut its connections: the network between a client and the server."""

import socket
import struct
import threading


class Proxy:
    """Forwards from a free port of 127.0.0.1 to `port`."""

    def __init__(self, port: int):
        self._upstream = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._refusing = False
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        # Cleared: no bytes go to the client.
        self._answers = threading.Event()
        self._answers.set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Ends all connections with a reset; new ones are accepted."""
        with self._lock:
            ended, self._sockets = self._sockets, set()
        for end in ended:
            # Closing with zero linger sends a reset; shutdown wakes the thread that reads.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
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
                client.close()
                continue
            try:
                server = socket.create_connection(self._upstream)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets |= {client, server}
            for source, target, gate in ((client, server, None), (server, client, self._answers)):
                threading.Thread(target=self._pump, args=(source, target, gate), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, gate) -> None:
        try:
            while chunk := source.recv(65536):
                if gate is not None:
                    gate.wait()
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # Both ends go when one does.
            for end in (source, target):
                end.close()
