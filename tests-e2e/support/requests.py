"""Requests for the bare stubs, with every field in the caller's hand."""

import json

import numpy
from pymilvus.grpc_gen import common_pb2, milvus_pb2

FLOAT_VECTOR = 101


def placeholders(vectors, kind: int = FLOAT_VECTOR) -> bytes:
    """A placeholder group: the query vectors of a search. Vectors as bytes, or as numbers that become float32."""
    values = [vector if isinstance(vector, bytes) else numpy.asarray(vector, dtype="<f4").tobytes() for vector in vectors]
    value = common_pb2.PlaceholderValue(tag="$0", type=kind, values=values)
    return common_pb2.PlaceholderGroup(placeholders=[value]).SerializeToString()


def search_request(collection: str, vectors, *, limit=10, expression="", kind: int = FLOAT_VECTOR, nq=None, output=(), **params):
    """A Search as pymilvus sends it; `params` become search_params."""
    pairs = {"topk": limit, "round_decimal": -1, "ignore_growing": "False", "params": json.dumps({}), **params}
    return milvus_pb2.SearchRequest(
        collection_name=collection,
        dsl=expression,
        placeholder_group=placeholders(vectors, kind),
        dsl_type=common_pb2.DslType.BoolExprV1,
        output_fields=output,
        search_params=[common_pb2.KeyValuePair(key=key, value=str(value)) for key, value in pairs.items()],
        nq=len(vectors) if nq is None else nq,
        guarantee_timestamp=1,
        use_default_consistency=True,
    )
