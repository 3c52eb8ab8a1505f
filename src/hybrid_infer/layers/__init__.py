"""One concern a file. The order they stand in, and why, is in `hybrid_infer.assembly`."""
