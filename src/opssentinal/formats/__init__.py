"""What leaves the product, and which events: events and errors as JSON, written in one way for API, command line and page."""

from opssentinal.formats.event_json import event_json, event_jsonl
from opssentinal.formats.problem import PROBLEM_TYPE, problem_json

__all__ = ["PROBLEM_TYPE", "event_json", "event_jsonl", "problem_json"]
