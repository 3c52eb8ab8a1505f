"""Leases on machines: who needs how many replicas until when, kept where many processes see it."""
