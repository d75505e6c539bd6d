"""The declared event types, one module for each category."""
