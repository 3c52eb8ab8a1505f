"""What the simulated providers serve besides chat: a file for each, and `rooms` that knows them."""
