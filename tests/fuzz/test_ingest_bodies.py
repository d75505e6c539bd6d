"""Bodies that were valid and then damaged, sent to the running server: an answer of the contract every time, and a sound log."""

from __future__ import annotations

import gzip
import json
import os

import zstandard
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.crash.conftest import Subject

EXAMPLES = int(os.environ.get("INGEST_EXAMPLES", "400"))

_EVENT = {
    "id": "0193d2b4-7c3e-7f00-8000-000000000001",
    "action": "user.role_changed",
    "outcome": "success",
    "occurred_at": "2026-11-22T10:00:00.123456Z",
    "actor": {"type": "user", "id": "usr_7", "name": "Älice 😀", "email": "alice@example.com"},
    "targets": [{"type": "user", "id": "usr_9", "name": "Bob"}],
    "context": {"ip": "203.0.113.9", "user_agent": "Mozilla/5.0", "forwarded_for": ["198.51.100.1"]},
    "changes": [{"field": "role", "before": "member", "after": {"to": ["admin", None, 1e3]}}],
    "metadata": {"n": 1, "deep": {"er": [True, False]}},
    "message": "said \"so\" \\ and\nso",
}  # fmt: skip
_VALID = (
    json.dumps(_EVENT).encode(),
    json.dumps([_EVENT, _EVENT | {"id": None}]).encode(),
    json.dumps({"events": [{"action": "a.b", "actor": {"type": "t", "id": "1"}}] * 3}).encode(),
    b"\n".join(json.dumps({"action": "a.b", "actor": {"type": "t", "id": str(n)}}).encode() for n in range(4)),
)
_PIECES = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b'"', b"\\", b"\\u0000", b"\\ud800", b"\\udc00\\ud800", b"{", b"}", b"[", b"]",
    b",", b":", b"null", b"true", b"-", b"1e999", b"-0", b"NaN", b"18446744073709551616", b"\r\n", b"\n", b"\xef\xbb\xbf", b"/**/",
    b'"events":', b'"id":', b'"9999-12-31T23:59:60Z"', b'"0000-00-00T00:00:00+99:99"', b"[" * 200, b'{"a":' * 50,
)  # fmt: skip

_pieces = st.one_of(st.sampled_from(_PIECES), st.binary(max_size=6))
_mutations = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), _pieces), max_size=6)
_packings = {
    "": lambda body: body,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "gzip, twice": lambda body: gzip.compress(body) * 2,
    "deflate": lambda body: body,
}
_TYPES = ("application/json", "application/x-ndjson", "application/json; charset=utf-8", "text/json", "", "a" * 300)


def _mutated(body: bytes, mutations: list[tuple[float, int, bytes]]) -> bytes:
    for place, removed, inserted in mutations:
        at = int(place * len(body))
        body = body[:at] + inserted + body[at + removed :]
    return body


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.generate),
)
@given(
    body=st.builds(_mutated, st.sampled_from(_VALID), _mutations),
    packing=st.sampled_from(("", "", "", *_packings)),
    damage=st.one_of(st.just([]), st.just([]), _mutations),
    kind=st.sampled_from((_TYPES[0], _TYPES[0], _TYPES[1], *_TYPES)),
)
def test_damaged_bodies(
    subject: Subject, body: bytes, packing: str, damage: list[tuple[float, int, bytes]], kind: str
) -> None:
    """Whatever the body: 201 or 207 with a result for each event, or 4xx as a problem; what is accepted is in the log."""
    sent = _mutated(_packings[packing](body), damage)
    headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": kind, "X-Request-Id": "fuzz"}
    if packing:
        headers["Content-Encoding"] = packing.partition(",")[0]
    status, content = subject.server.request("POST", "/api/v1/events", sent, headers)
    answer = json.loads(content)
    if status in (201, 207):
        results = answer["results"]
        assert [result["index"] for result in results] == list(range(len(results)))
        accepted = [result for result in results if result["status"] in ("accepted", "duplicate")]
        assert (status == 201) == (len(accepted) == len(results))
        subject.acknowledged.add(accepted)
    else:
        assert 400 <= status < 500, answer
        assert answer["status"] == status
        assert answer["type"] == f"urn:opssentinal:error:{answer['code']}"
        assert answer["instance"] == "fuzz"
        assert answer["detail"].isprintable()
