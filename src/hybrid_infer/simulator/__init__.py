"""Simulated providers: one pure, seeded state machine with two doors, in-process and over HTTP."""
