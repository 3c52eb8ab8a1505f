"""The clients that are compared, each in a file and an environment of its own."""
