"""Sending and reading events over HTTP: search by time, reading in recorded order, single events, counts, event types.

That a key read the log is recorded once its answer is made, so that an answer never holds the record of itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from ninja import Router

from opssentinal.api import parameters, shapes
from opssentinal.api.authorization import EVENTS, Scope, note_budget, note_view, principal_of
from opssentinal.api.document import described, ref
from opssentinal.api.parameters import CURSOR, LIMIT, TZ, Param, documented_filter, filter_of, number, one, whole, zone
from opssentinal.api.responses import json_response
from opssentinal.apikeys.principal import EVENTS_READ, EVENTS_WRITE, KeyPrincipal
from opssentinal.errors import Conflict, InvalidCursor, InvalidInput, NotFound
from opssentinal.events.catalogue import EVENT_TYPES
from opssentinal.events.model import Event, RecordedEvent
from opssentinal.ingest.body import BODY_BYTES_MAX, EVENTS_MAX, split, too_large
from opssentinal.ingest.operation import Ingested, Submission
from opssentinal.ledger import reader
from opssentinal.ledger.append import append
from opssentinal.ledger.proof import prove
from opssentinal.query import PARAMS, Cursor, Filter, cursor_time, decode_cursor, encode_cursor
from opssentinal.search.answers import BUCKETS_MAX, FACET_FIELDS, FacetValue, Histogram, Order, Page, Position
from opssentinal.search.client import search

router = Router(tags=["Events"])

ORDER = Param(
    "order",
    "By time of occurrence, newest or oldest first.",
    {"type": "string", "enum": ["newest", "oldest"], "default": "newest"},
)
AFTER_SEQ = whole(
    "after_seq",
    "Read in recorded order instead, everything after this place in the log; begin with -1 and go on with "
    "`next_after_seq`. Nothing is missed, however late it occurred. Not together with a filter.",
    -1,
)
FIELD = Param(
    "field",
    "A field to count; repeatable.",
    {
        "type": "array",
        "items": {"type": "string", "enum": list(FACET_FIELDS)},
        "default": ["action", "actor", "outcome"],
    },
)
FACET_LIMIT = whole("limit", "Values per field at most.", 1, 100, 10)
BUCKETS = whole("buckets", "How many buckets to aim at.", 1, BUCKETS_MAX, 60)
SIZE = whole(
    "size", "Prove against the root of the first so many entries, one that was kept; by default of the whole log.", 1
)
# Events that one request reads in recorded order at most, of which a key bound to a tenant may see few.
SCAN_MAX = 20_000

_ONE = {"action": "login.success", "outcome": "success", "actor": {"type": "user", "id": "usr_7", "name": "Alice"}}
_SENT = {
    "schema": {
        "anyOf": [
            ref(Event),
            {"type": "array", "items": ref(Event), "minItems": 1, "maxItems": EVENTS_MAX},
            {
                "type": "object",
                "properties": {"events": {"type": "array", "items": ref(Event), "minItems": 1, "maxItems": EVENTS_MAX}},
                "required": ["events"],
                "additionalProperties": False,
            },
        ]
    },
    "examples": {"one": {"value": _ONE}, "several": {"value": {"events": [_ONE, _ONE]}}},
}
_ENCODING = {
    "name": "Content-Encoding",
    "in": "header",
    "description": "How the body is compressed.",
    "schema": {"type": "string", "enum": ["gzip", "zstd", "identity"]},
}


@router.post(
    "/events",
    auth=Scope(EVENTS_WRITE, counts_requests=False),
    operation_id="createEvents",
    summary="Send events",
    openapi_extra=described(
        {
            201: ("Every event is recorded, on disk, now or before (duplicate).", Ingested),
            207: ("Some events are not recorded: see each result's status and error.", Ingested),
        },
        parameters=[_ENCODING],
        body={
            "application/json": _SENT,
            "application/x-ndjson": {"schema": {"type": "string", "description": "One event per line."}},
        },
        errors=(413, 415),
        leads_to={"event=results/0/id": ("getEvent", "getEventProof")},
    ),
)
def create_events(request: HttpRequest) -> HttpResponse:
    """One event, an array, `{"events": […]}` or NDJSON; at most 1,000 events and 5 MiB, also when unpacked.

    `source` and, where the key is bound to one, `tenant` come from the key. An event sent again under the same `id` is
    answered as a duplicate if it says the same, else as a conflict.
    """
    # The front process answers this address before Django does (opssentinal.ingest); the code is the same.
    principal = principal_of(request)
    body = request.read(BODY_BYTES_MAX + 1)
    if len(body) > BODY_BYTES_MAX:
        raise too_large()
    items = split(body, request.headers.get("Content-Type", ""), request.headers.get("Content-Encoding", ""))
    note_budget(request, EVENTS, EVENTS.take(principal.id, len(items)))
    submission = Submission.of(items, principal)
    with transaction.atomic(durable=True):
        receipts = append(submission.events)
    status, content = submission.answer(receipts)
    return json_response(content, status)


@router.get(
    "/events",
    auth=Scope(EVENTS_READ),
    operation_id="listEvents",
    summary="Search events",
    openapi_extra=described(
        {200: ("A page of events; the header Link names the next.", shapes.EventPage)},
        parameters=[
            *documented_filter(),
            *(param.documented() for param in (LIMIT, CURSOR, ORDER, AFTER_SEQ)),
        ],
        leads_to={"event=data/0/id": ("getEvent", "getEventProof")},
    ),
)
def list_events(request: HttpRequest) -> HttpResponse:
    """Events that match a filter, newest first, page by page; or, with `after_seq`, all of them in recorded order.

    The pages of one search show the log as it was at its first page. An event that has been acknowledged is found.
    """
    if AFTER_SEQ.name in request.GET:
        return _in_recorded_order(request)
    principal = principal_of(request)
    text = one(request, CURSOR)
    asked_at = cursor_time(text) if text else datetime.now(UTC)
    filter = filter_of(request, LIMIT, CURSOR, ORDER, now=asked_at) & principal.bounds()
    start = _opened(text, filter, principal) if text else None
    order = _order(request, start)
    page = search().page(
        filter,
        limit=number(request, LIMIT) or 0,
        after=Position(start.occurred_at_us, start.seq) if start else None,
        order=order,
        head=start.head if start else None,
    )
    following = None
    if page.next is not None:
        cursor = Cursor(page.next.occurred_at_us, page.next.seq, page.head, asked_at, order)
        following = encode_cursor(_cursor_key(), cursor, filter, _seal_of(principal))
    note_view(request, "log")
    return _page(request, page, following)


@router.get(
    "/events/facets",
    auth=Scope(EVENTS_READ),
    operation_id="getEventFacets",
    summary="Count values",
    openapi_extra=described(
        {200: ("The most frequent values of each field.", shapes.Facets)},
        parameters=[*documented_filter(), FIELD.documented(), FACET_LIMIT.documented()],
    ),
)
def get_facets(request: HttpRequest) -> HttpResponse:
    """How many of the matching events have which value of each field."""
    filter = filter_of(request, FIELD, FACET_LIMIT) & principal_of(request).bounds()
    fields = list(dict.fromkeys(request.GET.getlist("field"))) or FIELD.schema["default"]
    if unknown := [name for name in fields if name not in FACET_FIELDS]:
        raise InvalidInput(
            f"{unknown[0][:64]!r} cannot be counted", path="field", hint=f"There are {', '.join(FACET_FIELDS)}."
        )
    # Search counts a field without its own terms, so the field that bounds a key is not asked for but told.
    tenant = principal_of(request).tenant
    asked = [name for name in fields if name != "tenant"] if tenant else fields
    found = search().facets(filter, asked, limit=number(request, FACET_LIMIT) or 0) if asked else {}
    if tenant and "tenant" in fields:
        count = search().extent(filter).count
        found["tenant"] = [FacetValue(tenant, count)] if count else []
    note_view(request, "counts")
    return json_response(shapes.Facets({name: found[name] for name in fields}))


@router.get(
    "/events/histogram",
    auth=Scope(EVENTS_READ),
    operation_id="getEventHistogram",
    summary="Count over time",
    openapi_extra=described(
        {200: ("Counts by outcome in buckets of equal length.", Histogram)},
        parameters=[*documented_filter(), BUCKETS.documented(), TZ.documented()],
    ),
)
def get_histogram(request: HttpRequest) -> HttpResponse:
    """The matching events over time, by outcome."""
    tz = zone(request)
    filter = filter_of(request, BUCKETS, TZ, tz=tz) & principal_of(request).bounds()
    found = search().histogram(filter, buckets=number(request, BUCKETS) or 0, tz=tz.key)
    note_view(request, "counts")
    return json_response(found)


@router.get(
    "/events/{event}",
    auth=Scope(EVENTS_READ),
    operation_id="getEvent",
    summary="Get one event",
    openapi_extra=described({200: ("The event.", RecordedEvent)}, errors=(404, 409)),
)
def get_event(request: HttpRequest, event: str) -> HttpResponse:
    """One event by its `id` or by its `seq`. 409 where several sources sent the same id: then ask by seq."""
    parameters.refuse_unknown(request, ())
    found = event_for(principal_of(request), event)
    note_view(request, "event")
    return json_response(found)


@router.get(
    "/events/{event}/proof",
    auth=Scope(EVENTS_READ),
    operation_id="getEventProof",
    summary="Prove one event",
    openapi_extra=described(
        {200: ("The event as it is stored and hashed, and its inclusion proof.", shapes.EventProof)},
        parameters=[SIZE.documented()],
        errors=(404, 409),
    ),
)
def get_event_proof(request: HttpRequest, event: str) -> HttpResponse:
    """What shows, with nothing but SHA-256, that an event is in the log; also one under a legal hold amid pruned ones.

    Compare the root with one that was kept elsewhere, such as by `opssentinal fsck`, and ask for its `size`. The steps are
    in docs/spec/proof.md.
    """
    parameters.refuse_unknown(request, (SIZE.name,))
    size = number(request, SIZE)
    proven = prove(event_for(principal_of(request), event).seq, size)
    note_view(request, "event")
    return json_response(shapes.event_proof(proven))


@router.get(
    "/event-types",
    auth=Scope(EVENTS_READ),
    operation_id="listEventTypes",
    summary="List event types",
    openapi_extra=described({200: ("The catalogue.", shapes.EventTypes)}),
)
def list_event_types(request: HttpRequest) -> HttpResponse:
    """The event types that the product knows by name. Other well-formed actions may be sent too."""
    parameters.refuse_unknown(request, ())
    return json_response(
        shapes.EventTypes(
            [
                shapes.EventTypeItem(
                    kind.action, kind.category, kind.title, kind.description, kind.sensitive, kind.example
                )
                for kind in EVENT_TYPES.values()
            ]
        )
    )


def _in_recorded_order(request: HttpRequest) -> HttpResponse:
    parameters.refuse_unknown(request, (AFTER_SEQ.name, LIMIT.name, *PARAMS, CURSOR.name, ORDER.name))
    for name in request.GET:
        if name not in (AFTER_SEQ.name, LIMIT.name):
            raise InvalidInput(
                "cannot be combined with after_seq", path=name, hint="In recorded order everything is read."
            )
    principal, limit = principal_of(request), number(request, LIMIT) or 0
    after = number(request, AFTER_SEQ)
    last = -1 if after is None else after
    found: list[RecordedEvent] = []
    size, until = reader.head().size, last + 1 + SCAN_MAX
    for bundle in reader.bundles_after(last + 1, SCAN_MAX):
        if not bundle.is_pruned:
            for event in bundle.events():
                if len(found) == limit:
                    break
                last = event.seq
                if principal.may_see(event.tenant):
                    found.append(event)
        else:
            last = bundle.end_seq - 1
        if len(found) == limit or last >= until:
            break
    note_view(request, "log")
    return json_response(shapes.EventPage(found, None, last + 1 < size, last))


def event_for(principal: KeyPrincipal, text: str) -> RecordedEvent:
    """The event that `text` names by id or seq. Raises NotFound, also for another tenant's, and Conflict for several."""
    unseen = NotFound("There is no such event.", hint="Ask by id (a UUID) or by seq.")
    if text.isascii() and text.isdecimal() and len(text) <= 18:
        seqs = [int(text)]
    else:
        try:
            seqs = reader.find_by_id(UUID(text))
        except ValueError as error:
            raise unseen from error
    found: list[RecordedEvent] = []
    for seq in seqs:
        try:
            event = reader.read_event(seq)
        except NotFound:
            if principal.tenant is None and len(seqs) == 1:
                raise
            continue
        if principal.may_see(event.tenant):
            found.append(event)
    if not found:
        raise unseen
    if len(found) > 1:
        raise Conflict(
            "Several sources have sent an event with this id.",
            hint=f"Ask by seq: {', '.join(str(event.seq) for event in found)}.",
            code="ambiguous_id",
        )
    return found[0]


def _opened(text: str, filter: Filter, principal: KeyPrincipal) -> Cursor:
    return decode_cursor(_cursor_key(), text, filter, _seal_of(principal))


def _order(request: HttpRequest, start: Cursor | None) -> Order:
    asked = one(request, ORDER)
    if asked not in (None, "newest", "oldest"):
        raise InvalidInput("must be newest or oldest", path="order")
    if start is None:
        return "oldest" if asked == "oldest" else "newest"
    if asked not in (None, start.order):
        raise InvalidCursor("The cursor was made for another order.", path="order")
    return start.order


def _cursor_key() -> bytes:
    return sha256(b"opssentinal.api.cursor\x00" + settings.SECRET_KEY.encode()).digest()


def _seal_of(principal: KeyPrincipal) -> str:
    return f"api_key:{principal.id}"


def _page(request: HttpRequest, page: Page, following: str | None) -> HttpResponse:
    answer = shapes.EventPage(
        page.events, following, following is not None, complete=page.complete, partial=page.partial
    )
    response = json_response(answer)
    if following is not None:
        query = [(name, value) for name, values in request.GET.lists() for value in values if name != CURSOR.name]
        address = f"{request.path}?{urlencode([*query, (CURSOR.name, following)])}"
        response.headers["Link"] = f'<{address}>; rel="next"'
    return response
