"""What Modal's package does behind a call's back, as far as it says so.

It repeats its requests by itself, up to three times after a failure and longer where Modal throttles, and has
no way to count that: the number of an attempt is only in what it sends. What it logs can be heard: that Modal
throttles (a warning, always logged), and each repeat after a failure (only with ``MODAL_LOGLEVEL=DEBUG``, set
before the package is imported). The task that logs runs in a copy of the context of its call.
"""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar

from hybrid_infer.transport.functions import Notice

HEARD: ContextVar[Notice | None] = ContextVar("hybrid_infer_modal_notice", default=None)
"""Who is told, in the context of one call."""

_LOGGER = "modal-utils"
_RPC = re.compile(r"for (?:/[\w.]+/)?(\w+) \([0-9a-f]+\)")


class Ear(logging.Handler):
    """Hears the records of Modal's package, and keeps none."""

    def emit(self, record: logging.LogRecord) -> None:
        notice = HEARD.get()
        if notice is None:
            return
        said = record.getMessage()
        found = _RPC.search(said)
        if found is None:
            return
        if record.levelno >= logging.WARNING:
            notice(f"Modal throttled {found[1]}: its package waited, and asked again")
        elif said.startswith("Retryable failure") and "RESOURCE_EXHAUSTED" not in said:
            notice(f"Modal's package repeated {found[1]} after a failure")


def listen() -> None:
    """Once is enough."""
    logger = logging.getLogger(_LOGGER)
    if not any(isinstance(one, Ear) for one in logger.handlers):
        logger.addHandler(Ear())
