"""Every place of an event where a text can stand, read from the model, so that no field that is added can be forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import inspect

from opssentinal.events.model import Event

_EVENT = inspect.type_info(Event)
Steps = tuple[str | int, ...]


class Place(NamedTuple):
    """Where a text stands: as the value that `steps` lead to, or as the one key of the object there."""

    steps: Steps
    is_key: bool = False

    @property
    def path(self) -> str:
        """The JSON path under which a refusal names it; of a key, that of its object."""
        return "$" + "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in self.steps)

    def event(self, text: str, action: str = "place.filled") -> dict[str, Any]:
        """The least event that has the text there."""
        event: dict[str, Any] = _with(_EVENT, self.steps, {text: 1} if self.is_key else text)
        return event if self.path == "$.action" else event | {"action": action}

    def text(self, event: Any) -> str:
        """The text that an event, as JSON, has there."""
        for step in self.steps:
            event = event[step]
        return next(iter(event)) if self.is_key else event


def places() -> list[Place]:
    """All of them; where any JSON may stand, a text alone, in a list, in an object and as a key."""
    return list(_within(_EVENT, ()))


def _within(kind: Any, steps: Steps) -> Iterator[Place]:
    kind = _bare(kind)
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield from _within(field.type, (*steps, field.encode_name))
    elif isinstance(kind, inspect.ListType):
        yield from _within(kind.item_type, (*steps, 0))
    elif isinstance(kind, inspect.DictType):
        yield Place(steps, is_key=True)
        yield from _within(kind.value_type, (*steps, "k"))
    elif isinstance(kind, inspect.AnyType):
        yield from (Place(steps), Place((*steps, 0)), Place((*steps, "k")), Place(steps, is_key=True))
    else:
        yield Place(steps)


def _bare(kind: Any) -> Any:
    """The type without descriptions and without null."""
    if isinstance(kind, inspect.Metadata):
        return _bare(kind.type)
    if isinstance(kind, inspect.UnionType):
        [kind] = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        return _bare(kind)
    return kind


def _with(kind: Any, steps: Steps, leaf: Any) -> Any:
    if not steps:
        return leaf
    kind, step, rest = _bare(kind), steps[0], steps[1:]
    if isinstance(kind, inspect.StructType):
        field = next(field for field in kind.fields if field.encode_name == step)
        return _least(kind) | {step: _with(field.type, rest, leaf)}
    inner = kind.item_type if isinstance(kind, inspect.ListType) else inspect.AnyType()
    return [_with(inner, rest, leaf)] if isinstance(step, int) else {step: _with(inner, rest, leaf)}


def _least(kind: Any) -> Any:
    """A value with what must be there and no more."""
    kind = _bare(kind)
    if isinstance(kind, inspect.StructType):
        return {field.encode_name: _least(field.type) for field in kind.fields if field.required}
    assert isinstance(kind, inspect.StrType), kind
    return "x"
