"""Clients in processes of their own.

pymilvus shares one TCP connection among all clients of a process, so clients that are to be different ones, that can be
killed, or that work at the same time run in processes of their own. A fork server imports pymilvus once; a worker then costs
a few milliseconds.
"""

import multiprocessing
import traceback

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["support.worker_main"])


class WorkerError(Exception):
    """What a call raised in the worker: `code` is Milvus's, or None for other exceptions."""

    def __init__(self, kind: str, code, message: str, trace: str):
        super().__init__(f"{kind} (code {code}): {message}")
        self.kind, self.code, self.message, self.trace = kind, code, message, trace


class Worker:
    """A process with one MilvusClient. Methods of the client can be called on it: `worker.insert(name, rows)`."""

    def __init__(self, uri: str, **client_options):
        self._connection, theirs = _context.Pipe()
        from support.worker_main import main

        self._process = _context.Process(target=main, args=(theirs, uri, client_options), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, function, *args, **kwargs) -> "Worker":
        """Begins a call and returns at once. `function` is a client's method by name, or a module-level function that
        takes a `Context` first."""
        self._connection.send((function, args, kwargs))
        return self

    def result(self, timeout_s: float = 60.0):
        """Waits for the call that was started and returns what it returned, or raises `WorkerError`."""
        if not self._connection.poll(timeout_s):
            raise AssertionError(f"no answer from worker {self.pid} within {timeout_s} s")
        outcome, value = self._connection.recv()
        if outcome == "error":
            raise WorkerError(*value)
        return value

    def call(self, function, *args, timeout_s: float = 60.0, **kwargs):
        """`start` and `result` in one."""
        return self.start(function, *args, **kwargs).result(timeout_s)

    def stop(self, timeout_s: float = 60.0):
        """Asks the running function to come to its end (`Context.stopping`) and returns what it returned."""
        self._connection.send("stop")
        return self.result(timeout_s)

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.call(name, *args, **kwargs)

    def kill9(self) -> None:
        """The client vanishes: its connections are closed by the kernel, nothing is said."""
        self._process.kill()
        self._process.join(10)

    def close(self) -> None:
        """Closes the client in good order and ends the process."""
        if not self._connection.closed:
            self._connection.close()
        self._process.join(5)
        if self._process.is_alive():
            self.kill9()


def describe(error: BaseException) -> tuple:
    """An exception as plain data."""
    code = getattr(error, "code", None)
    code = code() if callable(code) else code
    message = getattr(error, "message", None)
    plain = code if isinstance(code, int) else (str(code) if code is not None else None)
    return type(error).__name__, plain, message if isinstance(message, str) else str(error), traceback.format_exc()
