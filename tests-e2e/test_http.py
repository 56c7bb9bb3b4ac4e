"""Health, readiness, metrics; HTTP on the gRPC port."""

import json
import re

from support import data


def test_health_and_readiness(server):
    for path in ("/healthz", "/readyz"):
        assert server.get(path)[0] == 200, path


def test_metrics_are_prometheus_text(server, client, collection):
    client.insert(collection, data.rows(range(10)))
    client.flush(collection)
    client.search(collection, [data.vector(1)])
    status, text, headers = server.get("/metrics")
    assert status == 200
    assert "text/plain" in headers.get("Content-Type", headers.get("content-type", ""))
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert samples
    for line in samples:
        assert re.fullmatch(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})? [-+0-9.eE]+(nan|inf|NaN|Inf)?', line), line
    assert any(line.startswith("redkite_") for line in samples)


def test_unknown_paths_answer_404(server):
    assert server.get("/nowhere")[0] == 404


def test_http_on_the_grpc_port_answers_404_in_json(server):
    for path in ("/", "/v2/vectordb/collections/list", "/healthz"):
        status, body, headers = server.get(path, base=server.uri)
        assert status == 404, path
        assert "json" in headers.get("Content-Type", headers.get("content-type", "")), path
        assert json.loads(body), path


def test_the_grpc_port_serves_both_at_the_same_time(server, client, collection):
    assert server.get("/", base=server.uri)[0] == 404
    assert data.count(client, collection) == 0
