"""Addresses of the HTTP API."""

urlpatterns: list = []
