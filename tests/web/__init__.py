"""Tests of the shell and of the models behind the pages."""
