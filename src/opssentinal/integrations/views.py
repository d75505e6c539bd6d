"""Settings → Integrations, for admins: webhooks, how they are doing, and their deliveries.

A signing secret is in one answer and nowhere else. So that loading that answer again, which sends the form again, makes no
second integration or secret, a form carries the signed id of the one integration it may make, or the version of the secret
it may replace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.core.signing import BadSignature, Signer
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from opssentinal.errors import Conflict, InvalidInput, NotFound
from opssentinal.integrations import services, trial
from opssentinal.integrations.forms import ReplayForm, RotateForm, WebhookForm
from opssentinal.integrations.models import Delivery, Integration
from opssentinal.integrations.services import make_public_id
from opssentinal.integrations.webhook import status_text
from opssentinal.ledger.reader import head
from opssentinal.workspace.access import admin_required
from opssentinal.workspace.principals import request_actor, request_context

PAGE_SIZE = 50
_FORM = Signer(salt="opssentinal.integrations.form")


@admin_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Every integration and how it is doing."""
    size = head().size
    rows = [{"integration": each, "behind": max(size - each.position, 0)} for each in Integration.objects.all()]
    return render(request, "integrations/index.html", {"rows": rows})


@admin_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponse:
    """The form; the answer to sending it is the one page that shows the secret."""
    form = WebhookForm(request.POST if request.method == "POST" else None)
    public_id = _chosen_id(request)
    if request.method == "POST" and public_id is None:
        form.add_error(None, "This form was not complete. Nothing has been created: send it again.")
    if request.method == "POST" and public_id is not None and form.is_valid():
        try:
            made = services.create_webhook(
                public_id=public_id,
                actor=request_actor(request),
                context=request_context(request),
                **form.entered,
            )
        except InvalidInput as error:
            _show(form, error)
        except Conflict as error:
            messages.info(request, f"{error} If you have not copied its secret, make a new one on its page.")
            return redirect("integrations:index")
        else:
            return render(request, "integrations/secret.html", {**made._asdict(), "is_new": True}, status=201)
    context = {"form": form, "form_key": _FORM.sign(public_id or make_public_id())}
    return render(request, "integrations/create.html", context, status=400 if form.errors else 200)


@admin_required
@require_safe
def detail(request: HttpRequest, public_id: str) -> HttpResponse:
    """How an integration is doing, and its deliveries."""
    integration, now_head = _found(public_id), head()
    page = Paginator(Delivery.objects.filter(integration=integration), PAGE_SIZE).get_page(request.GET.get("page"))
    shown = {
        "integration": integration,
        "page": page,
        "behind": max(now_head.size - integration.position, 0),
        "gone": max(now_head.minimum_index - integration.position, 0),
        "first": now_head.minimum_index,
        "old_secret_in_use": integration.is_old_secret_in_use(timezone.now()),
    }
    return render(request, "integrations/detail.html", shown)


@admin_required
@require_safe
def delivery(request: HttpRequest, public_id: str, webhook_id: str) -> HttpResponse:
    """One delivery: what was in it and what was answered."""
    integration = _found(public_id)
    found = Delivery.objects.filter(integration=integration, webhook_id=webhook_id).first()
    if found is None:
        raise Http404
    status = status_text(found.status_code) if found.status_code else ""
    return render(
        request, "integrations/delivery.html", {"integration": integration, "delivery": found, "status": status}
    )


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, public_id: str) -> HttpResponse:
    """Change it."""
    integration = _found(public_id)
    form = WebhookForm(request.POST) if request.method == "POST" else WebhookForm.showing(integration)

    def save(cleaned: dict[str, Any]) -> str:
        services.update_integration(
            public_id, request_actor(request), request_context(request), seen=form.version, **form.entered
        )
        return "Saved."

    return _form_page(request, integration, form, "integrations/edit.html", save)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def replay(request: HttpRequest, public_id: str) -> HttpResponse:
    """Send events again from an earlier point on."""
    integration = _found(public_id)

    def save(cleaned: dict[str, Any]) -> str:
        services.replay(public_id, cleaned["start"], request_actor(request), request_context(request))
        return f"Events are sent again from number {cleaned['start']:,} on."

    return _form_page(request, integration, ReplayForm(request.POST or None), "integrations/replay.html", save)


@admin_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def rotate(request: HttpRequest, public_id: str) -> HttpResponse:
    """Make a new secret; the answer to sending the form is the one page that shows it."""
    integration = _found(public_id)
    form = RotateForm(request.POST or None, initial={"version": integration.secret_version})
    if request.method == "POST" and form.is_valid():
        try:
            made = services.rotate_secret(
                public_id, actor=request_actor(request), context=request_context(request), **form.cleaned_data
            )
        except Conflict as error:
            messages.info(request, str(error))
            return redirect("integrations:detail", public_id)
        return render(request, "integrations/secret.html", made._asdict())
    return render(
        request,
        "integrations/rotate.html",
        {"integration": integration, "form": form},
        status=400 if form.errors else 200,
    )


@admin_required
@require_POST
def pause(request: HttpRequest, public_id: str) -> HttpResponse:
    """Send nothing for now."""
    return _change(request, public_id, services.pause, "Paused. Nothing is sent until it is resumed.")


@admin_required
@require_POST
def resume(request: HttpRequest, public_id: str) -> HttpResponse:
    """Send again."""

    def change(*args: Any) -> Integration:
        return services.resume(*args, leave_out=request.POST.get("leave_out") == "yes")

    return _change(request, public_id, change, "Resumed.")


@admin_required
@require_POST
def test(request: HttpRequest, public_id: str) -> HttpResponse:
    """Send a test and show what came of it."""
    _found(public_id)
    sent = trial.send_test(public_id, request_actor(request), request_context(request))
    if sent.error:
        messages.error(request, f"The test did not arrive: {sent.error}")
    else:
        messages.success(
            request, f"The test arrived: {status_text(sent.status_code or 0)} after {sent.latency_ms:,} ms."
        )
    return redirect("integrations:delivery", public_id, sent.webhook_id)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, public_id: str) -> HttpResponse:
    """Ask, then delete."""
    integration = _found(public_id)
    if request.method != "POST":
        return render(request, "integrations/delete.html", {"integration": integration})
    services.delete_integration(public_id, request_actor(request), request_context(request))
    messages.success(request, f"{integration.name} is deleted.")
    return redirect("integrations:index")


def _found(public_id: str) -> Integration:
    try:
        return services.find(public_id)
    except NotFound as error:
        raise Http404 from error


def _change(request: HttpRequest, public_id: str, change: Callable[..., Integration], said: str) -> HttpResponse:
    _found(public_id)
    try:
        change(public_id, request_actor(request), request_context(request))
    except Conflict as error:
        messages.error(request, str(error))
    else:
        messages.success(request, said)
    return redirect("integrations:detail", public_id)


def _form_page(
    request: HttpRequest,
    integration: Integration,
    form: Form,
    template: str,
    save: Callable[[dict[str, Any]], str],
) -> HttpResponse:
    """Show a form until it is sent without a mistake, then go back to the integration."""
    if request.method == "POST" and form.is_valid():
        try:
            said = save(form.cleaned_data)
        except InvalidInput as error:
            _show(form, error)
        except Conflict as error:
            messages.error(request, str(error))
            return redirect("integrations:detail", integration.public_id)
        else:
            messages.success(request, said)
            return redirect("integrations:detail", integration.public_id)
    return render(request, template, {"integration": integration, "form": form}, status=400 if form.errors else 200)


def _show(form: Form, error: InvalidInput) -> None:
    field = error.path if error.path in form.fields else None
    form.add_error(field, f"{error.detail.removeprefix(f'{error.path}: ')} {error.hint}".strip())


def _chosen_id(request: HttpRequest) -> str | None:
    """The id of the integration that the form which was sent may make; None if it carries none that we chose."""
    try:
        return _FORM.unsign(request.POST.get("form_key", ""))
    except BadSignature:
        return None
