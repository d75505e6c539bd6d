"""The pages below Insights → Audit Logs. For those who may read the log; what is refused is recorded by `log_reader_required`.

Everything shown is read through `Reading`, which keeps it within an auditor's period, and that it was read is recorded
before it leaves. When search is down the newest events come from the ledger instead, and the page asks now and then whether
to load again.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from opssentinal.errors import IntegrityError, InvalidCursor, InvalidQuery, NotFound, Overloaded, Unavailable
from opssentinal.events.model import from_us
from opssentinal.events.sentences import visible
from opssentinal.ledger import reader
from opssentinal.query import FIELDS, Cursor, cursor_time, day_start, decode_cursor, encode_cursor
from opssentinal.search.answers import Extent, Position, Status
from opssentinal.search.client import search
from opssentinal.web.log import detail as event_detail
from opssentinal.web.log.chips import chips
from opssentinal.web.log.facets import FIELDS as FACET_FIELDS
from opssentinal.web.log.facets import VALUES_MAX, facets
from opssentinal.web.log.histogram import histogram_view
from opssentinal.web.log.place import TERM_PARAMS, Place, read_place
from opssentinal.web.log.reading import Reading
from opssentinal.web.log.rows import rows
from opssentinal.web.log.window import (
    CLOCK_AHEAD,
    DEFAULT,
    PRESETS,
    RANGE_PARAMS,
    Window,
    form_values,
    preset_window,
    range_words,
    typed_values,
    window_around,
    zone_options,
)
from opssentinal.workspace.access import log_reader_required
from opssentinal.workspace.preferences import preferences
from opssentinal.workspace.viewing import is_page_view_recorded

# What search answers when it cannot answer; the log is there all the same.
NO_SEARCH = (Unavailable, Overloaded)
PAGE_EVENTS = 50
BARS = 60
_FIRST_STEPS_EVENTS_MAX = 50
_PARAMS = frozenset((*TERM_PARAMS, *RANGE_PARAMS, "tz", "cursor", "before_seq"))
_UNKNOWN_SHOWN_MAX = 5
# Why search does not answer, where that is the question's own doing.
_TOO_MUCH = frozenset(("query_timeout", "out_of_memory"))


@log_reader_required
@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """Show the log: filters, histogram, rail and the first or a further page of events."""
    now = _asked_at(request.GET)
    place, error = read_place(request.GET, _default_zone(), now)
    reading = Reading(request.user)
    context = _controls(request, place) | _period(reading, place)
    template, status = "log/index.html", 200
    if error is not None:
        context |= _mistake(request, error)
        status = error.status
    else:
        try:
            context |= _found(request, reading, place, now)
            if request.headers.get("HX-Request") and request.GET.get("cursor"):
                template = "log/_more.html"
        except InvalidCursor as refused:
            return _begin_anew(request, place, refused)
        except InvalidQuery as refused:
            context |= _mistake(request, refused)
            status = refused.status
        except NO_SEARCH as reason:
            context |= _without_search(request, reading, place, reason)
    if "rows" in context:
        context["view_unrecorded"] = not is_page_view_recorded(request, "log")
    with timezone.override(place.zone):
        response = render(request, template, context, status=status)
    response.headers["Vary"] = "HX-Request, Cookie"
    return response


@log_reader_required
@require_safe
@never_cache
def search_state(request: HttpRequest) -> HttpResponse:
    """Tell a page that shows the ledger whether search is back: 204 while it is not, else "load again"."""
    try:
        recovered = _is_well(search().status())
    except NO_SEARCH:
        recovered = False
    return HttpResponse(headers={"HX-Refresh": "true"}) if recovered else HttpResponse(status=204)


@log_reader_required
@require_safe
@never_cache
def event(request: HttpRequest, seq: int) -> HttpResponse:
    """Show one event; the address's filter says which events its neighbours are."""
    place, error = read_place(request.GET, _default_zone(), datetime.now(UTC))
    if error is not None:
        return redirect("web:event", seq=seq)
    reading = Reading(request.user)
    try:
        if seq.bit_length() > 63:  # no database has such a number
            raise NotFound(f"There is no event {seq}.")
        recorded = reading.event(seq)
    except NotFound as missing:
        return _missing(request, place, missing)
    newer = older = None
    neighbours_known = True
    try:
        newer, older = reading.neighbours(seq, place.filter)
    except (*NO_SEARCH, NotFound):  # NotFound: search has not come so far yet
        neighbours_known = False
    context = {
        "place": place,
        "back_url": place.url(),
        "detail": event_detail.detail(place, recorded),
        "message": event_detail.value_json(recorded.message),
        "newer_url": place.event_url(newer) if newer is not None else "",
        "older_url": place.event_url(older) if older is not None else "",
        "neighbours_known": neighbours_known,
        "view_unrecorded": not is_page_view_recorded(request, "event"),
    }
    with timezone.override(place.zone):
        return render(request, "log/event.html", context)


@log_reader_required
@require_safe
@never_cache
def event_by_id(request: HttpRequest, id_: UUID) -> HttpResponse:
    """Lead from an event's own id to its page; where several sources sent the same id, let the reader choose."""
    found = Reading(request.user).events(reader.find_by_id(id_))
    place, _ = read_place(request.GET, _default_zone(), datetime.now(UTC))
    if not found:
        return _missing(request, place, NotFound(f"There is no event {id_}."))
    query = request.GET.urlencode()
    if len(found) == 1:
        return redirect(reverse("web:event", args=[found[0].seq]) + (f"?{query}" if query else ""))
    context = {"id": id_, "rows": rows(place, found), "back_url": place.url()}
    context["view_unrecorded"] = not is_page_view_recorded(request, "event")
    with timezone.override(place.zone):
        return render(request, "log/same_id.html", context)


def _missing(request: HttpRequest, place: Place, missing: NotFound) -> HttpResponse:
    return render(request, "log/missing.html", {"missing": missing, "place": place}, status=404)


def _default_zone() -> ZoneInfo:
    return ZoneInfo(preferences().time_zone)


def _asked_at(params: QueryDict) -> datetime:
    """The instant presets count back from: that of the first page, so that further pages are of the same range."""
    if cursor := params.get("cursor"):
        try:
            return cursor_time(cursor)
        except InvalidCursor:
            pass  # answered with the first page when the cursor is opened
    return datetime.now(UTC)


def _begin_anew(request: HttpRequest, place: Place, refused: InvalidCursor) -> HttpResponse:
    """Lead to the first page and say why; where a script asked for more rows, the whole page goes there."""
    messages.warning(request, f"{refused.detail} These are the newest events of the search instead.")
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": place.url()})
    return redirect(place.url())


def _period(reading: Reading, place: Place) -> dict[str, Any]:
    """The period that this account is limited to, if it is."""
    return {
        "period": range_words(reading.bounds.after, reading.bounds.before, place.zone) if reading.is_limited else ""
    }


def _controls(request: HttpRequest, place: Place) -> dict[str, Any]:
    """What is above the results whether or not there are any."""
    now = datetime.now(UTC)
    wider = place.window.wider()
    # Of a range that was refused, no preset stands in its place; what was typed stays in the form.
    own = typed_values(request.GET)
    chosen = own is None and (request.GET.get("range") or DEFAULT) == place.window.preset
    return {
        "place": place,
        "presets": [
            (
                preset.title,
                place.with_window(preset_window(preset.key, now)).url(),
                chosen and preset.key == place.window.preset,
            )
            for preset in PRESETS.values()
        ],
        "range_words": place.window.words(place.zone),
        "range_phrase": place.window.phrase(place.zone),
        "range_form": own if own and place.window.preset else form_values(place.window, place.zone),
        "range_is_own": own is not None or not place.window.preset,
        "zone_options": zone_options(),
        "zoom_out_url": place.with_window(wider).url() if wider else "",
        "chips": chips(place),
        "clear_url": Place(type(place.terms)(), place.window, place.zone, place.default_zone).url(),
        "query_text": place.text,
        "state_pairs": [pair for pair in place.pairs() if pair[0] != "q"],
        "query_fields": FIELDS.values(),
        "base_url": request.build_absolute_uri("/").rstrip("/"),
        "poll_url": reverse("web:search_state"),
        "unknown_params": [visible(name[:64]) for name in request.GET if name not in _PARAMS][:_UNKNOWN_SHOWN_MAX],
    }


def _found(request: HttpRequest, reading: Reading, place: Place, now: datetime) -> dict[str, Any]:
    """The events of one page and, unless only more rows are wanted, histogram and rail. Raises Unavailable."""
    # Sealed with the bounds: a cursor of yesterday's period opens nothing today.
    key, principal, sealed = _cursor_key(), f"page user {request.user.pk}", reading.within(place.filter) or place.filter
    after, head = None, None
    if text := request.GET.get("cursor"):
        cursor = decode_cursor(key, text, sealed, principal)
        after, head = Position(cursor.occurred_at_us, cursor.seq), cursor.head
    page = reading.page(place.filter, limit=PAGE_EVENTS, after=after, head=head)
    if not page.complete:
        raise Unavailable("Search lacks the newest events, which people look for here first.", code="rebuilding")
    context: dict[str, Any] = {
        "rows": rows(place, page.events),
        "head": page.head,
        "is_continued": after is not None,
        "export_filter": place.filter.to_json().decode(),
    }
    if page.next is not None:
        cursor = Cursor(page.next.occurred_at_us, page.next.seq, page.head, now)
        context["more_url"] = place.url(("cursor", encode_cursor(key, cursor, sealed, principal)))
        context["searched_to"] = from_us(page.next.occurred_at_us) if page.partial else None
    elif page.events and place.window.after is not None:
        context["older"] = _elsewhere(place, reading.extent(place.terms.between(None, place.window.after)))
    if after is not None:
        context["newest_url"] = place.url()
        if request.headers.get("HX-Request"):
            return context
    try:
        overview = reading.overview(place.filter, FACET_FIELDS, BARS, place.zone.key, limit=VALUES_MAX, head=page.head)
    except Unavailable as reason:
        if reason.code not in _TOO_MUCH:
            raise
        return context | {"uncounted": True}  # the events are found; only counting them all was too much
    histogram = overview.histogram
    if _ends_now(place.window, now) and (future := _future(reading, place, overview.extent, now, page.head)):
        context["future"] = future
        if place.window.before is None:
            # It would be drawn up to the farthest of the wrong times: decades of empty bars beside one full one.
            known = place.filter.between(place.window.after, now + CLOCK_AHEAD)
            histogram = reading.histogram(known, buckets=BARS, tz=place.zone.key, head=page.head)
    context["histogram"] = histogram_view(place, histogram, now)
    context["facets"] = facets(place, overview.facets)
    if not page.events and not page.partial:
        context["empty"] = _empty(reading, place, has_future="future" in context)
    sources = {value.value for value in overview.facets.get("source", [])}
    context["first_steps"] = (
        page.head < _FIRST_STEPS_EVENTS_MAX and sources <= {"opssentinal"} and not place.is_filtered
    )
    return context


def _cursor_key() -> bytes:
    return salted_hmac("opssentinal.web.cursor", "", algorithm="sha256").digest()


def _ends_now(window: Window, now: datetime) -> bool:
    """Whether the range is meant to end now: a preset's, and one without an end, unless it begins in the future itself."""
    return bool(window.preset) or (window.before is None and (window.after is None or window.after < now))


def _future(reading: Reading, place: Place, extent: Extent, now: datetime, head: int) -> dict[str, Any] | None:
    """How many events that match are dated after now, in a range with this extent that ends there, and the address that shows them."""
    end = now + CLOCK_AHEAD
    if place.window.before is None and (extent.last is None or extent.last < end):
        return None
    # The engine knows which blocks of its table reach beyond now, nearly always none, and looks at no other.
    count = reading.extent(place.terms.between(end, None), head=head).count
    return {"count": count, "url": place.with_window(Window("", end)).url()} if count else None


def _empty(reading: Reading, place: Place, *, has_future: bool) -> dict[str, Any]:
    """Why nothing is shown, and where something is: an empty range must never look like an empty log."""
    if has_future:  # these are spoken of already; are there others?
        elsewhere = _elsewhere(place, reading.extent(place.terms.between(None, place.window.before)))
        return {"kind": "range", **(elsewhere or {"count": 0})}
    if elsewhere := _elsewhere(place, reading.extent(place.terms)):
        return {"kind": "range", **elsewhere}
    if place.is_filtered:
        return {"kind": "filter"}
    return {"kind": "log"}


def _elsewhere(place: Place, extent: Extent) -> dict[str, Any] | None:
    """How many events there are outside of the range, on which days, and the address that shows them."""
    if extent.first is None or extent.last is None:
        return None
    first, last = (moment.astimezone(place.zone).date() for moment in (extent.first, extent.last))
    begin, end = day_start(first, place.zone), day_start(last + timedelta(days=1), place.zone)
    first_day, *last_day = range_words(begin, end, place.zone).split(" – ")
    when = f"between {first_day} and {last_day[0]}" if last_day else f"on {first_day}"
    window = window_around(begin, end) or Window("all")
    return {"count": extent.count, "when": when, "url": place.with_window(window).url()}


def _mistake(request: HttpRequest, error: InvalidQuery) -> dict[str, Any]:
    """What is wrong, at the query bar, with the text as it was typed."""
    said = error.detail.removeprefix("q: ")
    return {"query_error": error, "query_error_text": said, "query_text": request.GET.get("q", "")}


def _without_search(
    request: HttpRequest, reading: Reading, place: Place, reason: Unavailable | Overloaded
) -> dict[str, Any]:
    """The newest events straight from the ledger, or for a query that asks for too much only the reason."""
    if reason.code in _TOO_MUCH:
        return {"too_much": reason}
    before = request.GET.get("before_seq", "")
    context: dict[str, Any] = {"search_down": reason, "is_continued": bool(before)}
    try:
        newest = reading.newest(
            PAGE_EVENTS, int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
        )
        context["rows"] = rows(place, newest.events)
        if newest.before_seq is not None:
            context["more_url"] = place.url(("before_seq", str(newest.before_seq)))
    except IntegrityError as damage:  # what cannot be believed is not shown
        context["damage"] = damage
    if before:
        context["newest_url"] = place.url()
    # Where search is well, only the reader knows when to ask the same again.
    context["awaits_search"] = True
    with suppress(*NO_SEARCH):  # not even that: the banner says so
        context["search_status"] = status = search().status()
        context["awaits_search"] = reason.code == "rebuilding" or not _is_well(status)
    return context


def _is_well(status: Status) -> bool:
    return not status.rebuilding and status.error is None
