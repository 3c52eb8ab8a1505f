"""Route: which candidate serves this attempt."""

from __future__ import annotations

from hybrid_infer.calls.call import Call
from hybrid_infer.calls.reply import Reply


async def pinned(call: Call) -> Reply:
    """The innermost service of the call stack: always the first candidate."""
    return await call.candidates[0].serve(call)
