"""The log: append in the caller's transaction, read in order, check, compact and prune.

Nothing here knows who reads it. Its rows are bytes in the workspace's own database, so that a change and its record
commit together.
"""
