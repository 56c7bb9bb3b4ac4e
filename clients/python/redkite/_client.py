"""The client.

A session is a connection: what is written on it and not flushed is gone with it. So the client has a connection of its own,
counts its writes, and tells the server with each flush how many it is about. Each flush has a name, by which its outcome can be
asked for where no answer came.
"""

import functools
import threading
import time
import uuid

import grpc
from pymilvus import MilvusClient, MilvusException
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from redkite._master import Masters

FLUSH_ID = "redkite-flush-id"
BLOCK_OPS = "redkite-block-ops"

# How long a Master, and then a node, may take to answer before another one is asked.
_ANSWER_S = 5.0
# Pause before Masters are asked again where no node could be reached.
_PAUSE_S = 0.2
# Times that a read is sent to another node.
_REROUTES = 3
# What pymilvus does by itself before it gives up a call: nothing, since another node is nearer than a dead one.
_RETRIES = 0

# What the server says where a session's operations are gone (and its count is zero again).
_LOST = (
    "that were not flushed, if it had any, are gone",
    "operations were lost with an earlier connection",
    "the unflushed operations were discarded",
)
_NOT_COMMITTED = "flush ID was not committed"

# gRPC errors after which nobody knows what became of the call, or the node.
_GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN}

_OPTIONS = {
    # A connection of this client's own, not the process's.
    "grpc.use_local_subchannel_pool": 1,
    # gRPC would send a call again by itself, on a new connection and so in a new session.
    "grpc.enable_retries": 0,
}

_READS = """describe_alias describe_collection describe_database describe_index get get_collection_stats get_load_state
    get_partition_stats get_server_version has_collection has_partition hybrid_search list_aliases list_collections list_databases
    list_indexes list_partitions query search""".split()


class SessionLost(MilvusException):
    """What this client had written and not flushed is gone: write it again. What was flushed is safe."""


class NoNode(MilvusException):
    """No Master names a node that answers."""


def connect(masters: str, **options) -> "Client":
    """A client on a node that one of `masters` ("host:port" or "https://host:port", several with commas) names. Options are those
    of `Client`."""
    return Client(masters, **options)


class Client(MilvusClient):
    """A `pymilvus.MilvusClient` on a node that a Master named."""

    def __init__(self, masters: str, *, patience_s: float = 30.0, **options):
        """`patience_s`: how long to look for a node, now and whenever the one it is on is gone. Other options are those of
        `pymilvus.MilvusClient`, but for the address and the token. Those of TLS (`server_pem_path`, `ca_pem_path`,
        `client_pem_path`, `client_key_path`, `server_name`) hold for Masters and nodes alike."""
        self._masters = Masters(masters, options)
        self._patience_s = patience_s
        self._options = options
        self._handler = None
        # Held by whatever changes the session: writes, flushes, and going to another node.
        self._turn = threading.RLock()
        self._written = 0
        self._go_somewhere()

    @property
    def node(self) -> str:
        """Address and port of the node that the client is on."""
        return self._node

    @property
    def unflushed(self) -> int:
        """Writes since the last flush."""
        return self._written

    def insert(self, collection_name, data, *args, **kwargs):
        return self._write(MilvusClient.insert, collection_name, data, *args, **kwargs)

    def upsert(self, collection_name, data, *args, **kwargs):
        return self._write(MilvusClient.upsert, collection_name, data, *args, **kwargs)

    def delete(self, collection_name, *args, **kwargs):
        return self._write(MilvusClient.delete, collection_name, *args, **kwargs)

    def flush(self, collection_name, timeout=None, **kwargs):
        """Publishes everything this client has written since its last flush, in whichever collection, as one atom. Raises
        SessionLost if that is gone."""
        self._flush("Flush", milvus_pb2.FlushRequest(collection_names=[collection_name]), timeout)

    def flush_all(self, timeout=None, **kwargs):
        """The same."""
        self._flush("FlushAll", milvus_pb2.FlushAllRequest(), timeout)

    def _flush(self, method, request, timeout):
        with self._turn:
            name = uuid.uuid4().hex if self._written else None
            try:
                self._send_flush(method, request, name, timeout)
            except grpc.RpcError as error:
                if _rpc_code(error) not in _GONE:
                    raise
                self._after_no_answer(name, error)
            except MilvusException as error:
                if name is None or _NOT_COMMITTED not in error.message:
                    raise self._failed(error) from error
                # The server has published all of it by itself, or never had it: without a name it compares the numbers.
                self._flush_unnamed(method, request, timeout)
            self._written = 0

    def _flush_unnamed(self, method, request, timeout):
        try:
            self._send_flush(method, request, None, timeout)
        except MilvusException as error:
            raise self._failed(error) from error
        except grpc.RpcError as error:
            raise self._lost("no answer came to a flush", error) from error

    def _send_flush(self, method, request, name, timeout):
        metadata = [(BLOCK_OPS, str(self._written))]
        if name is not None:
            metadata.append((FLUSH_ID, name))
        _check(getattr(self._stub(), method)(request, timeout=timeout, metadata=metadata).status)

    def _after_no_answer(self, name, error):
        """No answer came to a flush: its outcome is asked for, wherever that is possible. Asking settles it."""
        if name is None:
            self._go_elsewhere()
            return
        deadline = time.monotonic() + self._patience_s
        while True:
            self._go_elsewhere()
            try:
                request = milvus_pb2.GetFlushStateRequest()
                metadata = [(FLUSH_ID, name)]
                _check(self._stub().GetFlushState(request, timeout=_ANSWER_S, metadata=metadata).status)
                return
            except MilvusException as answer:
                if _NOT_COMMITTED in answer.message:
                    self._written = 0
                    raise SessionLost(message=f"the flush was not committed, its operations are gone: {error}") from error
                last = answer
            except grpc.RpcError as no_answer:
                last = no_answer
            if time.monotonic() > deadline:
                text = f"whether flush {name} was committed could not be learnt; ask for it by that name"
                raise MilvusException(message=text) from last
            time.sleep(_PAUSE_S)

    def _write(self, method, *args, **kwargs):
        kwargs.setdefault("retry_times", _RETRIES)
        with self._turn:
            try:
                result = method(self, *args, **kwargs)
            except (grpc.RpcError, MilvusException) as error:
                if _rpc_code(error) in _GONE:
                    raise self._lost("no answer came to a write", error) from error
                raise self._failed(error) from error
            # Nothing is sent for no rows.
            data = args[1] if method is not MilvusClient.delete and len(args) > 1 else None
            if data != []:
                self._written += 1
            return result

    def _lost(self, what, error):
        """The node is gone, or is left since nobody knows what it has of this session. Returns what to raise."""
        written, self._written = self._written, 0
        self._go_elsewhere()
        return SessionLost(message=f"{what}: it and the {written} writes before it are not flushed and are gone ({error})")

    def _failed(self, error):
        """What to raise where the server has answered an error."""
        if isinstance(error, MilvusException) and any(words in error.message for words in _LOST):
            self._written = 0
            return SessionLost(code=error.code, message=error.message)
        return error

    def _read(self, method, *args, **kwargs):
        kwargs.setdefault("retry_times", _RETRIES)
        for left in reversed(range(_REROUTES + 1)):
            on = self._handler
            try:
                return method(self, *args, **kwargs)
            except (grpc.RpcError, MilvusException) as error:
                if left == 0 or _rpc_code(error) not in _GONE:
                    raise
                with self._turn:
                    # Unless another thread has been faster.
                    if self._handler is on:
                        self._go_elsewhere()
        return None

    def _go_elsewhere(self):
        self.close()
        self._go_somewhere()

    def _go_somewhere(self):
        deadline = time.monotonic() + self._patience_s
        while True:
            last = None
            for master in self._masters.addresses:
                try:
                    place = self._masters.route(master, _ANSWER_S)
                    self._node = f"{place['address']}:{place['port']}"
                    options = {"timeout": _ANSWER_S} | self._options | self._masters.grpc_options
                    # A token of its own, so that it is not taken for another client of this process.
                    token = f"redkite:{uuid.uuid4().hex}"
                    grpc_options = _OPTIONS | options.pop("grpc_options", {})
                    uri = f"{self._masters.scheme}://{self._node}"
                    super().__init__(uri, token=token, dedicated=True, grpc_options=grpc_options, **options)
                    return
                except (OSError, ValueError, KeyError, grpc.RpcError, MilvusException) as error:
                    last = error
            if time.monotonic() > deadline:
                raise NoNode(message=f"no Master of {', '.join(self._masters.addresses)} names a node that answers: {last}") from last
            time.sleep(_PAUSE_S)

    def _stub(self):
        return milvus_pb2_grpc.MilvusServiceStub(self._get_connection()._final_channel)


def _reading(name):
    method = getattr(MilvusClient, name)

    @functools.wraps(method)
    def read(self, *args, **kwargs):
        return self._read(method, *args, **kwargs)

    return read


for _name in _READS:
    if hasattr(MilvusClient, _name):
        setattr(Client, _name, _reading(_name))


def _check(status):
    if status.code != 0 or status.error_code != 0:
        raise MilvusException(code=status.code, message=status.reason)


def _rpc_code(error):
    """The gRPC code of an error, however pymilvus has wrapped it; none if the server has answered."""
    # pymilvus raises errors from themselves.
    seen, further = [], [error]
    while further:
        error = further.pop()
        if error is None or any(error is known for known in seen):
            continue
        seen.append(error)
        if isinstance(error, grpc.RpcError):
            return error.code()
        if isinstance(getattr(error, "code", None), grpc.StatusCode):
            return error.code
        further += [error.__context__, error.__cause__]
    return None
