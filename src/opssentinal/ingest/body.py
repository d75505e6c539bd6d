"""The body of POST /api/v1/events → one raw JSON text per event, within the limits, before anything is believed of it.

A compressed body is unpacked in steps and given up at the limit, so what a bomb would become is never made.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeAlias

import msgspec
import zstandard

from opssentinal.errors import InvalidEvent, InvalidInput, TooLarge, UnsupportedMediaType
from opssentinal.events.unkept import unpaired_surrogate

BODY_BYTES_MAX = 5 * 1024 * 1024
EVENTS_MAX = 1_000

# One event's JSON, or why there is none.
Item: TypeAlias = msgspec.Raw | InvalidEvent

_JSON = "application/json"
_NDJSON = "application/x-ndjson"
_TYPES_HINT = f"Send Content-Type: {_JSON} or {_NDJSON}."
_ZSTD_STEP_BYTES = 512  # of input; a zstd block of 4 bytes can mean 128 KiB, so one step makes 16 MiB at the very most
_ZSTD_WINDOW_MAX = 8 * 1024 * 1024
_MEMBERS_MAX = 100  # of one body; each costs a copy of what follows it

# What may stand before, between and after the events of an array, with or without its envelope.
_OPENING = re.compile(r'[ \t\r\n]*(?:\{[ \t\r\n]*"events"[ \t\r\n]*:[ \t\r\n]*)?\[[ \t\r\n]*')
_SEPARATOR = re.compile(r"[ \t\r\n]*,[ \t\r\n]*")
_CLOSING = {True: re.compile(r"[ \t\r\n]*\][ \t\r\n]*\}[ \t\r\n]*"), False: re.compile(r"[ \t\r\n]*\][ \t\r\n]*")}
_scan = json.JSONDecoder().raw_decode

_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Envelope(msgspec.Struct):
    events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def too_large(size: str = "") -> TooLarge:
    """The error for a body over its limit."""
    return TooLarge(
        f"The body{size} is over {BODY_BYTES_MAX:,} bytes.",
        hint="Send several requests; the limit counts unpacked bytes.",
    )


def split(body: bytes, content_type: str, content_encoding: str) -> list[Item]:
    """Unpack a body and part it into its events, each still raw JSON.

    Raises UnsupportedMediaType, TooLarge, or InvalidInput if there is nothing in it that could be an event. Of NDJSON a
    line that is no JSON is kept, to be refused by its number, unless every line is like that; so is, of any form, an event
    with half of a surrogate pair.
    """
    split_text = _splitter(content_type)
    text = _unpacked(body, content_encoding)
    raws = split_text(text) if text else []
    if not raws:
        raise InvalidInput("The body holds no event.", code="no_events")
    if len(raws) > EVENTS_MAX:
        raise TooLarge(
            f"The body holds {len(raws):,} events.", hint=f"A request may hold {EVENTS_MAX:,}.", code="too_many_events"
        )
    return raws


def _splitter(content_type: str) -> Callable[[bytes], list[Item]]:
    if content_type == _JSON:
        return _split_json
    kind, _, parameters = content_type.lower().partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            raise UnsupportedMediaType("JSON is UTF-8.", hint="Leave out charset, or send charset=utf-8.")
    kind = kind.strip()
    if kind == _JSON:
        return _split_json
    if kind == _NDJSON:
        return _split_ndjson
    what = f"{kind[:100]} is not taken here." if kind else "The request has no Content-Type."
    raise UnsupportedMediaType(what, hint=_TYPES_HINT)


def _split_json(body: bytes) -> list[Item]:
    try:
        first = body.lstrip(b" \t\r\n")[:1]
        if first == b"[":
            return list(_decode_list(body))
        if first == b"{" and b'"events"' in body:
            events = _decode_envelope(body).events
            if events is not msgspec.UNSET:
                return _only_events(body, events)
        return [_decode_raw(body)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        items = _split_around_halves(body)
        if items is None:
            raise _not_json(error) from error
        return items


def _split_around_halves(body: bytes) -> list[Item] | None:
    """Part a body in which some event holds half of a surrogate pair, at which the fast way gives up; None for other bodies.

    The standard library reads such strings, and finds the events' ends.
    """
    if b"\\u" not in body:
        return None
    with suppress(ValueError, RecursionError):
        text = body.decode()
        opening = _OPENING.match(text)
        if opening is None:
            return [_raw_or_half(text)]
        items: list[Item] = []
        at = opening.end()
        while len(items) <= EVENTS_MAX:
            _, end = _scan(text, at)
            items.append(_raw_or_half(text[at:end]))
            separator = _SEPARATOR.match(text, end)
            if separator is None:
                closing = _CLOSING["events" in opening[0]].fullmatch(text, end)
                return items if closing else None
            at = separator.end()
        return items
    return None


def _raw_or_half(text: str) -> Item:
    raw = text.encode()
    try:
        return _decode_raw(raw)
    except msgspec.MsgspecError as error:
        half = unpaired_surrogate(raw)
        if half is None:
            raise ValueError(text[:100]) from error
        return half


def _only_events(body: bytes, events: list[msgspec.Raw]) -> list[Item]:
    others = _decode_keys(body).keys() - {"events"}
    if others:
        raise InvalidInput(
            f"has the key {min(others)!r} beside events", path="$", hint="Send one event, an array, or {'events': […]}."
        )
    return list(events)


def _split_ndjson(body: bytes) -> list[Item]:
    lines: list[Item] = []
    wrong: Exception | None = None
    good = 0
    for line in body.split(b"\n"):
        text = line.strip()
        if not text:
            continue
        try:
            lines.append(_decode_raw(text))
            good += 1
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            half = unpaired_surrogate(text)
            if half is None:
                wrong = wrong or error
            lines.append(half or InvalidEvent(f"is no JSON: {_reason(error)}", path="$"))
        if len(lines) > EVENTS_MAX:
            break
    if wrong is not None and not good:
        raise _not_json(wrong) from wrong
    return lines


def _reason(error: Exception) -> str:
    return str(error).removeprefix("JSON is malformed: ")


def _not_json(error: Exception) -> InvalidInput:
    return InvalidInput(f"The body is no JSON: {_reason(error)}.", code="malformed_json", hint="Nothing was recorded.")


def _unpacked(body: bytes, content_encoding: str) -> bytes:
    if not content_encoding:
        return body
    encoding = content_encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    steps: Iterator[bytes]
    if encoding in ("gzip", "x-gzip"):
        steps = _gunzip(body)
    elif encoding == "zstd":
        steps = _unzstd(body)
    else:
        raise UnsupportedMediaType(
            f"The content encoding {encoding[:50]} is not taken here.", hint="Send gzip, zstd or none."
        )
    text = bytearray()
    try:
        for step in steps:
            text += step
            if len(text) > BODY_BYTES_MAX:
                raise too_large(", unpacked,")
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        raise InvalidInput(f"The body is not {encoding}: {error}.", code="malformed_encoding") from error
    return bytes(text)


def _gunzip(body: bytes) -> Iterator[bytes]:
    for _ in range(_MEMBERS_MAX):
        unpacker = zlib.decompressobj(wbits=31)
        yield unpacker.decompress(body, BODY_BYTES_MAX + 1)
        while unpacker.unconsumed_tail:
            yield unpacker.decompress(unpacker.unconsumed_tail, BODY_BYTES_MAX + 1)
        body = _after_end(unpacker)
        if not body:
            return
    raise EOFError("it has too many members")


def _unzstd(body: bytes) -> Iterator[bytes]:
    for _ in range(_MEMBERS_MAX):
        unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX).decompressobj()
        at = 0
        while at < len(body) and not unpacker.eof:
            yield unpacker.decompress(body[at : at + _ZSTD_STEP_BYTES])
            at += _ZSTD_STEP_BYTES
        body = _after_end(unpacker) + body[at:]
        if not body:
            return
    raise EOFError("it has too many frames")


def _after_end(unpacker: Any) -> bytes:
    """What follows the end of a member. Without an end the body was cut off, and part of it is not what was sent."""
    if not unpacker.eof:
        raise EOFError("it is cut off")
    return bytes(unpacker.unused_data)
