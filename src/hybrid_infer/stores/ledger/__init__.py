"""The ledger: a SQLite file with a row for each call and each attempt, which many processes write to.

`writer` feeds it, `reader` and `summary` read it, `schema` says what stands in it.
"""
