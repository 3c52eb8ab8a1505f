"""Traces, with `opentelemetry-api` only."""
