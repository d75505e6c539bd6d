"""Putting audit events on incidents' timelines, for those who may read the log and within what they may read of it."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from opssentinal.errors import InvalidInput, NotFound
from opssentinal.events.model import RecordedEvent
from opssentinal.incidents import reading, services
from opssentinal.incidents.forms import AttachForm, ChooseForm
from opssentinal.incidents.models import Status
from opssentinal.incidents.views import event_sentence, existing, show, show_error
from opssentinal.workspace.access import log_reader_required
from opssentinal.workspace.principals import request_actor, request_context
from opssentinal.workspace.viewing import is_page_view_recorded

# The newest incidents that are not closed: nearly always it is one of them; the number of any other can be entered.
OFFERED_MAX = 20


@log_reader_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def choose(request: HttpRequest, seq: int) -> HttpResponse:
    """From an event to an incident: choose the one that the event belongs to."""
    try:
        event = reading.readable_event(request, seq)
    except NotFound as error:
        raise Http404(str(error)) from error
    form = ChooseForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        number = form.cleaned_data["number"]
        try:
            _attach(request, number, event)
        except (NotFound, InvalidInput) as error:
            show_error(form, error)
        else:
            return redirect("incidents:detail", number)
    context = {
        "form": form,
        "event": event,
        "event_sentence": event_sentence(event),
        "offered": services.incidents_of().exclude(status=Status.CLOSED)[:OFFERED_MAX],
        "view_unrecorded": not is_page_view_recorded(request, "event"),
    }
    return render(request, "incidents/attach.html", context, status=400 if form.errors else 200)


@log_reader_required
@require_POST
def attach(request: HttpRequest, number: int) -> HttpResponse:
    """From an incident to an event: attach the one that is named."""
    existing(number)
    form = AttachForm(request.POST)
    if form.is_valid():
        try:
            _attach(request, number, reading.named_event(request, form.cleaned_data["event"]))
        except (NotFound, InvalidInput) as error:
            show_error(form, error)
        else:
            return redirect("incidents:detail", number)
    return show(request, number, status=400, attach_form=form)


def _attach(request: HttpRequest, number: int, event: RecordedEvent) -> None:
    if not services.attach_events(request_actor(request), request_context(request), number, [event]):
        messages.info(request, f"The event is on the timeline of incident #{number} already.")
