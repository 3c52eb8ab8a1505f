"""A function of a serverless platform (here AWS Lambda): one client for all invocations of a container.

The client is made when the module is imported, which the platform does once for each container; invocations
share its connections, and what it has learnt of the targets. Nothing is warmed at import (`warm_at_start`
stays off): the platform makes containers as it likes, and each would start your machine. Keep the machine
warm from one place, by its `warm` times, and let this find it so.

    HYBRID_INFER_SIMULATE=1 python serverless_handler.py        # no key: simulated providers
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hybrid_infer import APIError, Client, HookEvent

RESERVE = 0.5
"""Seconds that are left for the answer when a call has used up its time."""

client = Client()


@client.hooks.on_cold_start
@client.hooks.on_ready
def told(event: HookEvent) -> None:
    """One line of JSON, as the platform's log is searched by fields."""
    print(json.dumps({"hook": event.name, "target": event.target, "seconds": event.seconds}))


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Answer a request of the platform's HTTP gateway.

    The call has the time that the invocation has: the platform would end it in the middle otherwise, and
    nobody would be told.
    """
    question = json.loads(event["body"])["question"]
    left = context.get_remaining_time_in_millis() / 1000 - RESERVE
    try:
        reply = client.chat.completions.create(
            messages=[{"role": "user", "content": question}], timeout=max(0.1, left)
        )
    except APIError as error:
        headers = {"retry-after": f"{error.retry_after or 30:.0f}"} if error.retryable else {}
        return answered(503 if error.retryable else 502, {"error": str(error)}, headers)
    return answered(200, {"text": reply.choices[0].message.content, "target": reply.hybrid.target}, {})


def answered(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", **headers},
        "body": json.dumps(body),
    }


class _Local:
    """What the platform tells of the invocation, when there is no platform."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


if __name__ == "__main__":
    print(handler({"body": json.dumps({"question": "Why is the sky blue?"})}, _Local()))
