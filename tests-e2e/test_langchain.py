"""LangChain's Milvus quickstart, unmodified, with an embedding that needs no model."""

import hashlib

import numpy
import pytest

pytest.importorskip("langchain_milvus", reason="only the current client set has LangChain")

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_milvus import Milvus

DIM = 32


class WordEmbeddings(Embeddings):
    """A bag of hashed words: texts that share words are near each other."""

    def embed_query(self, text: str) -> list[float]:
        total = numpy.zeros(DIM)
        for word in text.lower().split():
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4])
            total += numpy.random.default_rng(seed).standard_normal(DIM)
        return (total / (numpy.linalg.norm(total) or 1)).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


DOCUMENTS = [
    Document(page_content="I had chocolate chip pancakes for breakfast this morning.", metadata={"source": "tweet"}),
    Document(page_content="The weather forecast for tomorrow is cloudy and overcast.", metadata={"source": "news"}),
    Document(page_content="Building an exciting new project with LangChain.", metadata={"source": "tweet"}),
    Document(page_content="Robbers broke into the city bank and stole a million.", metadata={"source": "news"}),
    Document(page_content="LangGraph is the best framework for stateful applications.", metadata={"source": "tweet"}),
]


@pytest.fixture(scope="module")
def running():
    from support.server import Server

    server = Server(settings={"auto_flush": True, "flush_interval": 0})
    yield server
    server.close()


def store(running, name: str, **options) -> Milvus:
    return Milvus(
        embedding_function=WordEmbeddings(), connection_args={"uri": running.uri}, collection_name=name, **options
    )


def test_langchain_quickstart(running):
    vector_store = store(running, "quickstart", index_params={"index_type": "FLAT", "metric_type": "L2"}, drop_old=True)
    ids = [f"doc{n}" for n in range(len(DOCUMENTS))]
    assert vector_store.add_documents(documents=DOCUMENTS, ids=ids) == ids

    found = vector_store.similarity_search("LangChain project", k=2, expr='source == "tweet"')
    assert len(found) == 2
    assert found[0].page_content == DOCUMENTS[2].page_content
    assert {document.metadata["source"] for document in found} == {"tweet"}

    scored = vector_store.similarity_search_with_score("cloudy weather tomorrow", k=1)
    document, score = scored[0]
    assert document.page_content == DOCUMENTS[1].page_content
    assert score >= 0

    retriever = vector_store.as_retriever(search_type="mmr", search_kwargs={"k": 2})
    assert len(retriever.invoke("bank robbers")) == 2

    assert vector_store.delete(ids=[ids[0]])
    left = vector_store.similarity_search("chocolate chip pancakes", k=5)
    assert DOCUMENTS[0].page_content not in [document.page_content for document in left]


def test_langchain_upsert_and_reopen(running):
    first = store(running, "reopened", drop_old=True)
    first.add_documents(DOCUMENTS[:2], ids=["a", "b"])
    first.upsert(ids=["a"], documents=[Document(page_content="Waffles instead of pancakes.", metadata={"source": "tweet"})])
    again = store(running, "reopened")
    texts = [document.page_content for document in again.similarity_search("waffles pancakes", k=10)]
    assert sorted(texts) == sorted(["Waffles instead of pancakes.", DOCUMENTS[1].page_content])


def test_langchain_from_documents_and_automatic_ids(running):
    vector_store = Milvus.from_documents(
        DOCUMENTS, WordEmbeddings(), connection_args={"uri": running.uri}, collection_name="from_documents", auto_id=True
    )
    hits = vector_store.similarity_search_by_vector(WordEmbeddings().embed_query("stateful applications framework"), k=1)
    assert hits[0].page_content == DOCUMENTS[4].page_content
