"""Celery: a client in each process of the worker, made when that process begins.

    HYBRID_INFER_SIMULATE=1 HYBRID_INFER_MODE=modal celery -A celery_worker worker     # no key

A client made where the module is imported would be made in the parent, and each child would begin with the
parent's connections and none of its threads. Tasks that find the machine cold wait for it; Celery's own time
limits have to leave room for that, or `cold_start_timeout` has to be shorter.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown

from hybrid_infer import APIError, Client, HookEvent

log = logging.getLogger(__name__)

app = Celery("answers", broker=os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0"))

client: Client | None = None


@worker_process_init.connect  # type: ignore[untyped-decorator]  # celery ships no types
def begin(**_: object) -> None:
    global client
    # With HYBRID_INFER_WARM_AT_START=1 it begins to warm its machines now, beside the first tasks.
    client = Client()
    client.hooks.on_cold_start(told)
    client.hooks.on_ready(told)


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]  # celery ships no types
def end(**_: object) -> None:
    global client
    if client is not None:
        client.close()
        client = None


def told(event: HookEvent) -> None:
    """In the thread of the task that found it, so it shows in that task's log."""
    log.warning("%s of %s (%s s)", event.name, event.target, event.seconds)


@app.task(bind=True, max_retries=3, acks_late=True)  # type: ignore[untyped-decorator]  # celery ships no types
def answer(self: Any, question: str) -> str:
    """The answer to a question. What may succeed later goes back into the queue."""
    if client is None:
        raise RuntimeError("there is no client: worker_process_init, which makes it, was not sent here")
    try:
        reply = client.chat.completions.create(messages=[{"role": "user", "content": question}])
    except APIError as error:
        if error.retryable:
            raise self.retry(exc=error, countdown=error.retry_after or 30) from error
        raise
    return reply.choices[0].message.content or ""
