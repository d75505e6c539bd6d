"""The short way for small requests: what takes them without ASGI, and the heads it has read before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# Heads that are known, of all connections: a program sends the same again and again, but for the length of the body.
_KNOWN_HEADS_MAX = 4_096
_KNOWN_HEAD_BYTES_MAX = 2_048
END_OF_HEAD = b"\r\n\r\n"

Header = tuple[bytes, bytes]
# Writes an answer, on the loop's thread: status, headers, among them content-length, and content. Nothing if the client went.
Answer = Callable[[int, Sequence[Header], bytes], None]


class KnownHead(NamedTuple):
    """A head that has been read."""

    head: Any  # what `Direct.read` made of it
    body_bytes: int  # that it announces


@dataclass(frozen=True, slots=True)
class Direct:
    """What takes requests of one method and target that have come whole, without ASGI.

    `read(headers)` makes of a head's fields what `take` needs of them; it depends on nothing else, and what it made is used again
    for heads that are the same. `take(head, body, answer)` takes a request and calls `answer` once, now or later; or it does
    nothing and returns False: then the request goes over ASGI. They neither block nor raise.
    """

    method: bytes
    target: bytes
    read: Callable[[Sequence[Header]], Any]
    take: Callable[[Any, bytes, Answer], bool]
    # Heads of requests that were taken, by their bytes with the empty line at their end.
    known_heads: dict[bytes, KnownHead] = field(default_factory=dict)

    def known(self, data: bytes) -> tuple[Any, bytes] | None:
        """What `take` needs of a piece that is a whole request with a head that was read before, byte for byte."""
        end = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        known = self.known_heads.get(data[:end])
        return None if known is None or len(data) != end + known.body_bytes else (known.head, data[end:])

    def remember(self, data: bytes, taken: KnownHead) -> None:
        """Know the head again, if the piece was this request and nothing else."""
        end = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        if len(data) == end + taken.body_bytes and end <= _KNOWN_HEAD_BYTES_MAX:
            if len(self.known_heads) >= _KNOWN_HEADS_MAX:
                self.known_heads.clear()
            self.known_heads[data[:end]] = taken
