"""LangChain's Milvus quickstart, unmodified, with an embedding that needs no model."""

import pytest


@pytest.fixture(scope="module")
def running():
    from support.server import Server

    server = Server(settings={"auto_flush": True, "flush_interval": 0})
    yield server
    server.close()


def store(running, name: str, **options):
    from langchain_milvus import Milvus
    from support.documents import WordEmbeddings

    return Milvus(
        embedding_function=WordEmbeddings(), connection_args={"uri": running.uri}, collection_name=name, **options
    )


def test_langchain_quickstart(running):
    from support.documents import DOCUMENTS

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
    from langchain_core.documents import Document
    from support.documents import DOCUMENTS

    first = store(running, "reopened", drop_old=True)
    first.add_documents(DOCUMENTS[:2], ids=["a", "b"])
    first.upsert(ids=["a"], documents=[Document(page_content="Waffles instead of pancakes.", metadata={"source": "tweet"})])
    again = store(running, "reopened")
    texts = [document.page_content for document in again.similarity_search("waffles pancakes", k=10)]
    assert sorted(texts) == sorted(["Waffles instead of pancakes.", DOCUMENTS[1].page_content])


def test_langchain_from_documents_and_automatic_ids(running):
    from langchain_milvus import Milvus
    from support.documents import DOCUMENTS, WordEmbeddings

    vector_store = Milvus.from_documents(
        DOCUMENTS, WordEmbeddings(), connection_args={"uri": running.uri}, collection_name="from_documents", auto_id=True
    )
    hits = vector_store.similarity_search_by_vector(WordEmbeddings().embed_query("stateful applications framework"), k=1)
    assert hits[0].page_content == DOCUMENTS[4].page_content
