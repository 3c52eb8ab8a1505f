"""How a mode speaks: requests to bytes, bytes to answers and errors. No clock, no I/O."""
