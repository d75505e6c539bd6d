"""Settings → API keys, for admins: the list, a new key shown once, and revoking.

The token of a new key is in one answer and nowhere else: no session or cookie carries it to another page. So that loading
that answer again, which sends the form again, makes no second key, each form carries the signed public id of the one key it
may make; once there is that key, the form is used up.
"""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.core.signing import BadSignature, Signer
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from opssentinal.apikeys.forms import APIKeyForm
from opssentinal.apikeys.models import APIKey
from opssentinal.apikeys.services import CreatedKey, create_key, keys_of, revoke_key
from opssentinal.apikeys.token import make_public_id
from opssentinal.errors import Conflict, InvalidInput
from opssentinal.workspace.access import admin_required
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import request_actor, request_context

SHOWN_MAX = 200
_FORM = Signer(salt="opssentinal.apikeys.form")


@admin_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The newest SHOWN_MAX keys there are and were; the command and the API list every one."""
    keys = list(keys_of()[: SHOWN_MAX + 1])
    context = {"keys": keys[:SHOWN_MAX], "shown_max": SHOWN_MAX if len(keys) > SHOWN_MAX else None}
    return render(request, "apikeys/index.html", context)


@admin_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponse:
    """The form; the answer to sending it is the one page that shows the token, which therefore nothing may store.

    The same form sent again leads to the list, which has the key without its token.
    """
    form = APIKeyForm(request.POST if request.method == "POST" else None)
    public_id = _chosen_id(request)
    if request.method == "POST" and public_id is None:
        form.add_error(None, "This form was not complete. Nothing has been created: send it again.")
    if request.method == "POST" and public_id is not None and form.is_valid():
        try:
            made = create_key(
                public_id=public_id,
                actor=request_actor(request),
                context=request_context(request),
                created_by=cast(User, request.user),
                **form.chosen(),
            )
        except InvalidInput as error:
            form.add_error(
                error.path if error.path in form.fields else None, error.detail.removeprefix(f"{error.path}: ")
            )
        except Conflict:
            messages.info(
                request,
                f"That form has made its key, ops_{public_id}…, already; no second one was created. The key was shown once "
                "and cannot be shown again: if you have not copied it, revoke it and create another.",
            )
            return redirect("apikeys:index")
        else:
            return render(request, "apikeys/created.html", _shown(request, made), status=201)
    context = {"form": form, "form_key": _FORM.sign(public_id or make_public_id())}
    return render(request, "apikeys/create.html", context, status=400 if form.errors else 200)


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


def _chosen_id(request: HttpRequest) -> str | None:
    """The public id of the key that the form which was sent may make; None if it carries none that we chose."""
    try:
        return _FORM.unsign(request.POST.get("form_key", ""))
    except BadSignature:
        return None


def _shown(request: HttpRequest, made: CreatedKey) -> dict[str, object]:
    # The address that the reader uses works, whatever the configured one is.
    return {"key": made.key, "token": made.token, "base_url": request.build_absolute_uri("/").rstrip("/")}
