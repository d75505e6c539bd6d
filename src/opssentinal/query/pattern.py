"""The little pattern language of filter values: `*` is any run of characters, `\\*` a star, `\\\\` a backslash.

Every store must read a value the same way, so the reading is here, once: a value becomes its literal pieces, and the
wildcards are the gaps between them. A backslash before anything else stands for itself, so that `CORP\\alice` needs no
thought.
"""

from __future__ import annotations


def pieces(value: str) -> tuple[str, ...]:
    """Split a value at its wildcards into unescaped literal pieces.

    One piece: the value is compared as a whole. More: the first is a prefix, the last a suffix, those between occur in
    this order without overlap. `("",)` never comes from a value that passed `fields.canonical`; `("", "")` is `*`.
    """
    found = [""]
    at = 0
    while at < len(value):
        char = value[at]
        if char == "\\" and value[at + 1 : at + 2] in ("*", "\\"):
            found[-1] += value[at + 1]
            at += 2
            continue
        if char == "*":
            found.append("")
        else:
            found[-1] += char
        at += 1
    return tuple(found)


def joined(parts: tuple[str, ...]) -> str:
    """Write literal pieces as the one canonical value: the inverse of `pieces`, runs of stars made one."""
    kept = [part for place, part in enumerate(parts) if part or place in (0, len(parts) - 1)]
    rendered = [_escaped(part, last=place == len(kept) - 1) for place, part in enumerate(kept)]
    return "*".join(rendered)


def literal(text: str) -> str:
    """Write text that stands in an event as a value that matches exactly that text."""
    return joined((text,))


def _escaped(text: str, *, last: bool) -> str:
    """Escape stars, and a backslash only where it would otherwise swallow what follows it."""
    written: list[str] = []
    for place, char in enumerate(text):
        following = text[place + 1 : place + 2] or ("" if last else "*")
        if char == "*" or (char == "\\" and following in ("*", "\\")):
            written.append("\\")
        written.append(char)
    return "".join(written)
