"""Stores: where things are kept that outlive a call or are shared between processes."""
