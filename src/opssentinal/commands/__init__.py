"""The command line: what all commands share, and the commands that belong to no other room.

Commands are Django management commands, each thin: it reads its options, asks a room, and shows the answer.
"""
