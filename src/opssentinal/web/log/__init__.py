"""Insights → Audit Logs: the page, the event's own page, and the models their templates show."""
