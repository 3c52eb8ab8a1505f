"""The cache in a file: one SQLite database, which many processes and threads read and write.

`store` is what a client is given, `shared` what all clients of a process have in common, `reading` and `file`
are its two connections, `upkeep` is for the command line, `schema` says what stands in the file.
"""
