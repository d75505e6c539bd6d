"""Integrations: destinations outside of the product that follow the log, each from a position of its own."""
