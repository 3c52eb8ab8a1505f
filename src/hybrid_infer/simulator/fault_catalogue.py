"""One of each: every way of failing with figures that suit a test, for matrices over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hybrid_infer.simulator.fault_rules import FaultRule
from hybrid_infer.simulator.faults import Fault

ALL_FAULTS: Mapping[str, FaultRule] = MappingProxyType(
    {
        "refuse": FaultRule(fault=Fault("refuse"), requests="all"),
        "reset_before_headers": FaultRule(fault=Fault("reset_before_headers", seconds=0.5)),
        "reset_mid_body": FaultRule(fault=Fault("reset_mid_body")),
        "silence": FaultRule(fault=Fault("silence")),
        "slow_first_token": FaultRule(fault=Fault("slow_first_token")),
        "slow_first_token_after_the_head": FaultRule(fault=Fault("slow_first_token", variant="content")),
        "stall": FaultRule(fault=Fault("stall")),
        "stall_with_comments": FaultRule(fault=Fault("stall", keep_alive=5.0)),
        "stall_with_empty_events": FaultRule(fault=Fault("stall", variant="event", keep_alive=5.0)),
        "drip": FaultRule(fault=Fault("drip")),
        "truncate": FaultRule(fault=Fault("truncate")),
        "truncate_broken": FaultRule(fault=Fault("truncate", variant="broken")),
        "malformed_event_noise": FaultRule(fault=Fault("malformed_event")),
        "malformed_event_damaged": FaultRule(fault=Fault("malformed_event", variant="damaged")),
        "error_event": FaultRule(fault=Fault("error_event")),
        "error_event_after_content": FaultRule(fault=Fault("error_event", events=3)),
        "wrong_content_type": FaultRule(fault=Fault("wrong_content_type")),
        "status_400": FaultRule(fault=Fault("status", status=400)),
        "status_401": FaultRule(fault=Fault("status", status=401)),
        "status_402": FaultRule(fault=Fault("status", status=402)),
        "status_403": FaultRule(fault=Fault("status", status=403)),
        "status_404": FaultRule(fault=Fault("status", status=404)),
        "status_408": FaultRule(fault=Fault("status", status=408)),
        "status_422": FaultRule(fault=Fault("status", status=422)),
        "status_429": FaultRule(fault=Fault("status", status=429)),
        "status_429_retry_after": FaultRule(fault=Fault("status", status=429, retry_after=2.0)),
        "status_429_retry_after_ms": FaultRule(
            fault=Fault("status", status=429, retry_after=2.0, hint="retry-after-ms")
        ),
        "status_429_ratelimit_reset": FaultRule(
            fault=Fault("status", status=429, retry_after=2.0, hint="x-ratelimit-reset")
        ),
        "status_500": FaultRule(fault=Fault("status", status=500)),
        "status_502": FaultRule(fault=Fault("status", status=502)),
        "status_503": FaultRule(fault=Fault("status", status=503)),
        "status_503_retry_after_date": FaultRule(
            fault=Fault("status", status=503, retry_after=2.0, hint="retry-after-date")
        ),
        "status_504": FaultRule(fault=Fault("status", status=504)),
        "flapping": FaultRule(fault=Fault("status", status=503), requests="all", up=10.0, down=5.0),
        "cold": FaultRule(fault=Fault("cold"), requests="all", until=20.0),
        "cold_redirect": FaultRule(fault=Fault("cold", variant="redirect", seconds=20.0)),
        "saturated": FaultRule(fault=Fault("saturated")),
        "saturated_with_a_hint": FaultRule(fault=Fault("saturated", retry_after=2.0)),
        "clock_skew": FaultRule(fault=Fault("clock_skew")),
    }
)
"""By name. Each happens always, except where its time is part of it (``flapping``, ``cold``)."""
