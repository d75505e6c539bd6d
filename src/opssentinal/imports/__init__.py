"""Reading events from files that other programs wrote, and putting them into the log.

`reading` finds the records in files, `cloudtrail` turns AWS's into events, `importing` appends them and keeps count.
"""
