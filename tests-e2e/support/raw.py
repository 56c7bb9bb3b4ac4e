"""A client on the generated gRPC stubs, with a connection, an identifier and metadata of its own."""

import grpc
import numpy
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

TIMEOUT_S = 30

_OPTIONS = [
    # A connection of its own, not the process's.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
]


class StatusError(Exception):
    """A response whose Status is an error."""

    def __init__(self, status):
        super().__init__(f"code {status.code}: {status.reason}")
        self.code, self.error_code, self.message, self.status = status.code, status.error_code, status.reason, status


class Raw:
    """One connection. `identifier=None` connects and gets one; a number is used as it is, without Connect, as a client does
    that reconnected silently."""

    def __init__(self, address: str, identifier: int | None = None):
        self.channel = grpc.insecure_channel(address, options=_OPTIONS)
        self.stub = milvus_pb2_grpc.MilvusServiceStub(self.channel)
        self.identifier = identifier
        if identifier is None:
            request = milvus_pb2.ConnectRequest(client_info=common_pb2.ClientInfo(sdk_type="Raw", user="e2e", host="here"))
            self.identifier = self.call("Connect", request).identifier

    def close(self) -> None:
        """Closes the connection: to the server, the client is gone."""
        self.channel.close()

    def send(self, method: str, request, metadata: dict | None = None, timeout_s: float = TIMEOUT_S):
        """The call as a future, for calls that are to run at the same time."""
        pairs = [("dbname", ""), ("identifier", str(self.identifier or 0)), *(metadata or {}).items()]
        return getattr(self.stub, method).future(request, metadata=pairs, timeout=timeout_s)

    def call(self, method: str, request, metadata: dict | None = None, timeout_s: float = TIMEOUT_S):
        """The response; StatusError or grpc.RpcError where it fails."""
        return checked(self.send(method, request, metadata, timeout_s).result())

    def insert(self, collection: str, ids, vectors, metadata: dict | None = None):
        """Rows of an int64 key `id` and a float vector `vector`."""
        return self.call("Insert", insert_request(collection, ids, vectors), metadata)

    def delete(self, collection: str, expression: str, metadata: dict | None = None):
        return self.call("Delete", milvus_pb2.DeleteRequest(collection_name=collection, expr=expression), metadata)

    def flush(self, *collections: str, metadata: dict | None = None):
        return self.call("Flush", milvus_pb2.FlushRequest(collection_names=collections), metadata)

    def flush_named(self, name: str, *collections: str):
        """A flush that carries a name of the client's (S37)."""
        return self.flush(*collections, metadata={"redkite-flush-id": name})

    def flush_outcome(self, name: str) -> bool:
        """Asks whether the flush of that name committed; StatusError where it did not."""
        return self.call("GetFlushState", milvus_pb2.GetFlushStateRequest(), {"redkite-flush-id": name}).flushed

    def count(self, collection: str, expression: str = "") -> int:
        request = milvus_pb2.QueryRequest(collection_name=collection, expr=expression, output_fields=["count(*)"])
        return self.call("Query", request).fields_data[0].scalars.long_data.data[0]


def insert_request(collection: str, ids, vectors):
    """An Insert of an int64 key `id` and a float vector `vector`."""
    vectors = numpy.asarray(vectors, dtype=numpy.float32)
    keys = schema_pb2.FieldData(type=schema_pb2.DataType.Int64, field_name="id")
    keys.scalars.long_data.data.extend(int(key) for key in ids)
    floats = schema_pb2.FieldData(type=schema_pb2.DataType.FloatVector, field_name="vector")
    floats.vectors.dim = vectors.shape[1]
    floats.vectors.float_vector.data.extend(vectors.ravel().tolist())
    return milvus_pb2.InsertRequest(collection_name=collection, fields_data=[keys, floats], num_rows=len(ids))


def checked(response):
    """The response, unless its Status is an error."""
    status = response if isinstance(response, common_pb2.Status) else getattr(response, "status", None)
    if status is not None and (status.code != 0 or status.error_code != 0):
        raise StatusError(status)
    return response
