"""Machines as users name them: warmed, kept, let go of and stopped; for calls, and in the background."""
