"""Limits: slots, rates and the queue before them. `layer` acts, all else decides."""
