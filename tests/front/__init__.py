"""Tests of the front's door: what it lets in, how much of it, and for how long."""
