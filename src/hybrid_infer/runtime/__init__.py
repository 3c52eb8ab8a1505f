"""How waiting is done: the same words for threads, tasks and virtual time."""
