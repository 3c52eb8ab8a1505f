"""Bytes over the wire."""
