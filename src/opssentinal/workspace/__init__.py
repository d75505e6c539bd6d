"""The workspace: accounts, sign-in and sessions, preferences, and who is talking to us."""
