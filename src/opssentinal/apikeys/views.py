"""Settings → API keys, for admins: the list, a new key shown once, and revoking."""

from __future__ import annotations

from typing import cast

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from opssentinal.apikeys.forms import APIKeyForm
from opssentinal.apikeys.models import APIKey
from opssentinal.apikeys.services import CreatedKey, create_key, keys_of, revoke_key
from opssentinal.errors import Conflict, InvalidInput
from opssentinal.workspace.access import admin_required
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import request_actor, request_context


@admin_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Every key there is and was, newest first."""
    return render(request, "apikeys/index.html", {"keys": keys_of()})


@admin_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponse:
    """The form; the answer to sending it is the one page that shows the token, which therefore nothing may store."""
    form = APIKeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = create_key(
                actor=request_actor(request),
                context=request_context(request),
                created_by=cast(User, request.user),
                **form.chosen(),
            )
        except InvalidInput as error:
            form.add_error(
                error.path if error.path in form.fields else None, error.detail.removeprefix(f"{error.path}: ")
            )
        else:
            return render(request, "apikeys/created.html", _shown(made), status=201)
    return render(request, "apikeys/create.html", {"form": form}, status=400 if form.errors else 200)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: HttpRequest, public_id: str) -> HttpResponse:
    """Ask, then revoke."""
    key = APIKey.objects.filter(public_id=public_id).first()
    if key is None:
        raise Http404
    if request.method != "POST":
        return render(request, "apikeys/revoke.html", {"key": key})
    try:
        revoke_key(public_id, actor=request_actor(request), context=request_context(request))
    except Conflict as error:
        messages.info(request, error.detail)
    else:
        messages.success(request, f"The key {key.name} is revoked; it stops working within two seconds.")
    return redirect("apikeys:index")


def _shown(made: CreatedKey) -> dict[str, object]:
    return {"key": made.key, "token": made.token, "base_url": settings.CONFIG.base_url}
