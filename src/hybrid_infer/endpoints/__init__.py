"""Machines that cost money while idle: what is known of them, and how they are warmed and stopped."""
