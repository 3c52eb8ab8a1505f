"""``POST /v1/rerank``: documents by the words they share with the query. Pure."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import to_json

from hybrid_infer.simulator.ask import NotAcceptedError, tokens_of
from hybrid_infer.simulator.operations.made import Made, Posted, missing
from hybrid_infer.simulator.shapes import is_list, is_object

_WORD = re.compile(r"\w+")
_MOST = 1000


def rerank(posted: Posted) -> Made:
    """The best documents first.

    Raises:
        NotAcceptedError: also where Together is serverless: no such model is left (docs, 2026-10).
    """
    query = posted.needed("query")
    documents = _documents(posted)
    if posted.mode == "together-serverless":
        raise NotAcceptedError(
            f"Unable to access non-serverless model {posted.needed('model')}. Please visit "
            f"https://api.together.ai/models/{posted.model} to create and start a new dedicated endpoint "
            "for the model.",
            code="model_not_available",
        )
    texts = [_text(document, posted) for document in documents]
    scores = [relevance(query, text) for text in texts]
    best = sorted(range(len(texts)), key=lambda index: (-scores[index], index))
    best = best[: posted.whole("top_n", len(texts))]
    with_documents = posted.flag("return_documents")
    tokens = sum(tokens_of(query) + tokens_of(text) for text in texts)
    rows: list[dict[str, Any]] = [
        {
            "index": index,
            "relevance_score": scores[index],
            "document": _returned(documents[index], posted) if with_documents else {},
        }
        for index in best
    ]
    body: dict[str, Any] = {"id": posted.stamp.id, "model": posted.named, "results": rows}
    if posted.together:
        usage: dict[str, int] = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
        body = {"object": "rerank", **body, "usage": usage}
    else:
        body["usage"] = {"total_tokens": tokens}
    return posted.json(body, input_tokens=tokens, billed="input tokens")


def relevance(query: str, text: str) -> float:
    """From 0 to 1: mostly how many of the query's words are in the text, a little how few others are."""
    asked, there = set(_WORD.findall(query.lower())), set(_WORD.findall(text.lower()))
    if not asked or not there:
        return 0.0
    shared = len(asked & there)
    return round(0.9 * shared / len(asked) + 0.1 * shared / len(asked | there), 6)


def _documents(posted: Posted) -> list[Any]:
    documents: Any = posted.fields.get("documents")
    if documents is None:
        raise missing("documents")
    if not is_list(documents) or not documents or len(documents) > _MOST:
        raise NotAcceptedError(f'"documents" must be a list of 1 to {_MOST}.', param="documents")
    if any(not isinstance(each, str) and not is_object(each) for each in documents):
        raise NotAcceptedError('"documents" must be strings or objects.', param="documents")
    return documents


def _text(document: Any, posted: Posted) -> str:
    """What of a document counts: `rank_fields`, else its text, else all of it."""
    if isinstance(document, str):
        return document
    names = posted.words("rank_fields") or ("text",)
    chosen = [str(document[name]) for name in names if document.get(name) is not None]
    return " ".join(chosen) if chosen else to_json(document).decode()


def _returned(document: Any, posted: Posted) -> dict[str, Any]:
    """A document as it is given back: Together's objects as JSON in a text."""
    if isinstance(document, str):
        return {"text": document}
    return {"text": to_json(document).decode()} if posted.together else dict(document)
