"""The demo: an invented company whose ninety days of events show what the log is like when it is full.

Everything in it is invented; addresses come from the blocks that RFC 5737 and RFC 3849 set aside for documentation.
"""
