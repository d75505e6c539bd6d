"""Insights → Incidents, for every account: the list, opening one, looking at one, changing it, adding notes.

Each time an incident is shown in full, also beside an error, `services.view_incident` has recorded who looks before a word
of it leaves; where that cannot be recorded, a page says so instead (503). The list shows titles and is not recorded.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from opssentinal.errors import Conflict, InvalidInput, NotFound, OpsSentinalError, RateLimited, Unavailable
from opssentinal.events.model import RecordedEvent
from opssentinal.events.sentences import sentence
from opssentinal.incidents import listing, reading, services
from opssentinal.incidents.forms import AttachForm, EditForm, FilterForm, NewIncidentForm, NoteForm
from opssentinal.incidents.models import TITLE_MAX, Incident, Origin, Status
from opssentinal.workspace.access import reads_log
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import request_actor, request_context
from opssentinal.workspace.viewing import is_page_view_recorded


@login_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The incidents, newest first, by status, severity, assignee and words of the title."""
    form = FilterForm(request.GET, user=cast(User, request.user))
    wanted = form.wanted()
    incidents = services.incidents_of()
    below = form.cleaned_data.get("before")
    page = listing.page_of(listing.matching(incidents, wanted), below)
    counts = listing.counts_by_status(incidents, wanted)
    kept = [(name, request.GET.get(name, "")) for name in ("q", "severity", "assignee") if request.GET.get(name)]
    status = [("status", wanted.status)] if wanted.status else []
    tabs = [("All", sum(counts.values()), _query(kept), not wanted.status)] + [
        (state.label, counts[state], _query([*kept, ("status", state)]), wanted.status == state) for state in Status
    ]
    context = {
        "form": form,
        "tabs": tabs,
        "page": page,
        "is_filtered": bool(kept or status),
        "newest_query": _query([*kept, *status]) if below else "",
        "older_query": _query([*kept, *status, ("before", str(page.older))]) if page.older else "",
    }
    return render(request, "incidents/index.html", context)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponse:
    """Open an incident by hand; `?event=` is the place in the log of an event to open it with, for log readers."""
    event = _event_asked_for(request)
    entered = request.POST if request.method == "POST" else None
    form = NewIncidentForm(entered, initial=_from_event(event), user=cast(User, request.user))
    retry_after_s = 0
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data
        try:
            services.OPENED.take(request_actor(request).id)
            opened = services.open_incident(
                request_actor(request),
                request_context(request),
                title=chosen["title"],
                severity=chosen["severity"],
                description=chosen["description"],
                assignee=chosen["assignee"],
                tenant=chosen.get("tenant") or None,
                origin=Origin.MANUAL,
                events=[event] if event is not None else [],
            )
        except InvalidInput as error:
            show_error(form, error)
        except RateLimited as error:
            show_error(form, error)
            retry_after_s = error.retry_after_s
        else:
            messages.success(request, f"Incident #{opened.incident.number} is open.")
            return redirect("incidents:detail", opened.incident.number)
    context: dict[str, Any] = {
        "form": form,
        "event": event,
        "event_sentence": event_sentence(event) if event is not None else "",
    }
    if event is not None and request.method != "POST":
        context["view_unrecorded"] = not is_page_view_recorded(request, "event")
    response = render(request, "incidents/new.html", context, status=400 if form.errors else 200)
    if retry_after_s:
        response.status_code = RateLimited.status
        response.headers["Retry-After"] = str(retry_after_s)
    return response


@login_required
@require_safe
@never_cache
def detail(request: HttpRequest, number: int) -> HttpResponse:
    """One incident in full."""
    return show(request, number)


@login_required
@require_POST
def edit(request: HttpRequest, number: int) -> HttpResponse:
    """Change an incident's fields, unless somebody else has since the page was loaded."""
    incident = existing(number)
    form = EditForm(request.POST, incident=incident)
    if not form.is_valid():
        return show(request, number, status=400, edit_form=form)
    try:
        changed = services.update_incident(
            request_actor(request),
            request_context(request),
            number,
            form.changes(),
            version=form.cleaned_data["version"],
        )
    except InvalidInput as error:
        show_error(form, error)
        return show(request, number, status=400, edit_form=form)
    except Conflict:
        return show(request, number, status=409, entered=form)
    if changed.version != form.cleaned_data["version"]:
        messages.success(request, "Saved.")
    return redirect("incidents:detail", number)


@login_required
@require_POST
def add_note(request: HttpRequest, number: int) -> HttpResponse:
    """Add a note."""
    existing(number)
    form = NoteForm(request.POST)
    if form.is_valid():
        try:
            services.add_note(request_actor(request), request_context(request), number, form.cleaned_data["note"])
        except (InvalidInput, Conflict) as error:
            show_error(form, error)
        else:
            return redirect("incidents:detail", number)
    return show(request, number, status=400, note_form=form)


def show(
    request: HttpRequest, number: int, *, status: int = 200, entered: EditForm | None = None, **forms_shown: Any
) -> HttpResponse:
    """Record that the incident is opened, then show it, with the forms given instead of fresh ones.

    `entered` is what somebody wanted to change while somebody else did: shown beside what there is now.
    """
    try:
        incident = services.view_incident(request_actor(request), request_context(request), number)
    except NotFound as error:
        raise Http404(str(error)) from error
    except Unavailable as error:
        return render(request, "incidents/unrecorded.html", {"number": number, "error": error}, status=error.status)
    attached = list(incident.attached.all())
    context = {
        "incident": incident,
        "timeline": reading.timeline(request, attached),
        "notes": list(incident.notes.all()),
        "reads_log": reads_log(request.user),
        "around_url": reading.around_url(request, attached),
        "history_url": reading.history_url(request, incident),
        "edit_form": EditForm.showing(incident),
        "note_form": NoteForm(),
        "attach_form": AttachForm(),
        "lost": _lost(incident, entered) if entered is not None else [],
        "is_conflict": entered is not None,
        **forms_shown,
    }
    return render(request, "incidents/detail.html", context, status=status)


def event_sentence(event: RecordedEvent) -> str:
    """An event in one sentence, safe to show."""
    return sentence(event.action, event.outcome, event.actor, event.targets, event.changes, event.message)


def show_error(form: forms.Form, error: OpsSentinalError) -> None:
    """Put what a service refused at its field, or above the form."""
    path = getattr(error, "path", "")
    form.add_error(path if path in form.fields else None, error.detail.removeprefix(f"{path}: ") + _dot(error.hint))


def _dot(hint: str) -> str:
    return f" {hint}" if hint else ""


def existing(number: int) -> Incident:
    """The incident of an address, not to be shown. 404 where there is none."""
    incident = services.incidents_of().filter(pk=number).first() if number <= services.NUMBER_MAX else None
    if incident is None:
        raise Http404
    return incident


def _event_asked_for(request: HttpRequest) -> RecordedEvent | None:
    """The event to open an incident with. 403 for who may not read the log, 404 where there is none to read."""
    text = (request.POST if request.method == "POST" else request.GET).get("event", "")
    if not text:
        return None
    reading.require_log_reader(request)
    try:
        return reading.named_event(request, text)
    except (NotFound, InvalidInput) as error:
        raise Http404(str(error)) from error


def _from_event(event: RecordedEvent | None) -> dict[str, Any]:
    """What the form begins with. No tenant, even if the event has one: its keys would read what is written here."""
    return {} if event is None else {"title": event_sentence(event)[:TITLE_MAX], "event": event.seq}


def _lost(incident: Incident, form: EditForm) -> list[tuple[str, str, str]]:
    """Label, what there is now and what was entered, of each field in which the two differ."""
    now = EditForm.showing(incident)
    found = []
    for name, entered in form.changes().items():
        present = getattr(incident, name)
        if name == "description":
            entered = entered.replace("\r\n", "\n").strip("\n")
        if entered != present:
            label = str(now[name].label)
            found.append((label, str(present or "") or "nothing", str(entered or "") or "nothing"))
    return found


def _query(pairs: list[tuple[str, str]]) -> str:
    return f"?{urlencode(pairs)}" if pairs else "?"
