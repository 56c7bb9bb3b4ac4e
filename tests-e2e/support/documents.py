"""Documents and an embedding for LangChain that needs no model. Only the current client set has LangChain."""

import hashlib

import numpy
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

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
