"""What crosses the socket between front and back: length-prefixed JSON frames, one question per connection.

    frame    = length (4 bytes, big-endian) ‖ JSON
    client   → one question; then it only listens. Closing the connection withdraws the question.
    service  → Progress, any number of times (at least every HEARTBEAT_S); then one Answer or Failure, and it closes.

JSON rather than MessagePack, because metadata may hold whole numbers of any size.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw, Struct

from opssentinal import errors
from opssentinal.errors import OpsSentinalError, Overloaded, Unavailable
from opssentinal.query import Filter
from opssentinal.search.answers import Format, Order, Position

LENGTH: Final = struct.Struct(">I")
# A page of PAGE_EVENTS_MAX events of the largest size, with room.
FRAME_BYTES_MAX: Final = 128 << 20
HEARTBEAT_S: Final = 2.0


class Question(Struct, tag_field="ask", kw_only=True):
    """What can be asked; each names the method of the client that asks it."""


class PageQuestion(Question, tag="page"):
    filter: Filter
    limit: int
    after: Position | None
    order: Order
    head: int | None


class FacetsQuestion(Question, tag="facets"):
    filter: Filter
    fields: list[str]
    values: int
    head: int | None


class HistogramQuestion(Question, tag="histogram"):
    filter: Filter
    buckets: int
    tz: str
    head: int | None


class OverviewQuestion(Question, tag="overview"):
    filter: Filter
    fields: list[str]
    values: int
    buckets: int
    tz: str
    head: int | None


class ExtentQuestion(Question, tag="extent"):
    filter: Filter
    head: int | None


class NeighboursQuestion(Question, tag="neighbours"):
    seq: int
    filter: Filter


class SeenActionsQuestion(Question, tag="seen_actions"):
    filter: Filter


class ExportQuestion(Question, tag="export"):
    filter: Filter
    head: int | None
    format: Format
    path: Path
    bom: bool


class StatusQuestion(Question, tag="status"):
    pass


class ReindexQuestion(Question, tag="reindex"):
    pass


class Poke(Question, tag="poke"):
    task: str


AnyQuestion = (
    PageQuestion | FacetsQuestion | HistogramQuestion | OverviewQuestion | ExtentQuestion | NeighboursQuestion
    | SeenActionsQuestion | ExportQuestion | StatusQuestion | ReindexQuestion | Poke
)  # fmt: skip


class Progress(Struct, tag="progress"):
    """The work goes on: `done` of `total` (0: not known)."""

    done: int
    total: int


class Answer(Struct, tag="answer"):
    """The work is done; `value` is what the question's method returns."""

    value: Raw


class Failure(Struct, tag="failure"):
    """The work ended with an error of ours, by its class."""

    kind: str
    detail: str
    hint: str
    code: str


AnyReply = Progress | Answer | Failure

_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode_reply = msgspec.json.Decoder(AnyReply).decode
_decode_question = msgspec.json.Decoder(AnyQuestion, dec_hook=lambda type_, value: type_(value)).decode


def frame(message: object) -> bytes:
    """A message as it goes over the socket."""
    body = _encode(message)
    return LENGTH.pack(len(body)) + body


def read_question(body: bytes) -> AnyQuestion:
    """Read a question. Raises InvalidQuery, or Unavailable where front and back do not speak the same language."""
    try:
        return _decode_question(body)
    except msgspec.MsgspecError as error:
        raise Unavailable(
            f"The question cannot be read: {error}.", hint="Are front and back of one version?"
        ) from error


def read_reply(body: bytes) -> AnyReply:
    """Read a reply. Raises Unavailable."""
    try:
        return _decode_reply(body)
    except msgspec.MsgspecError as error:
        raise Unavailable(f"The answer cannot be read: {error}.", hint="Are front and back of one version?") from error


def failure_of(error: OpsSentinalError) -> Failure:
    """The error as it goes over the socket."""
    return Failure(type(error).__name__, error.detail, error.hint, error.code)


def error_of(failure: Failure) -> OpsSentinalError:
    """The error that came over the socket."""
    kind = getattr(errors, failure.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, OpsSentinalError)):
        kind = Unavailable
    if issubclass(kind, Overloaded):
        return kind(failure.detail, hint=failure.hint, code=failure.code)
    error: OpsSentinalError = kind(failure.detail, hint=failure.hint, code=failure.code)
    return error
