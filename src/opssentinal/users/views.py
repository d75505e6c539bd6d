"""Settings → Users, for admins: everybody who has an account, and inviting."""

from __future__ import annotations

from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from opssentinal.errors import Conflict
from opssentinal.users import services
from opssentinal.users.forms import LIMITS, AccountForm, FindForm
from opssentinal.users.listing import find_accounts, last_seen
from opssentinal.workspace.access import admin_required
from opssentinal.workspace.principals import request_actor, request_context

PER_PAGE = 50


@admin_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The accounts, fifty on a page; `q`, `role` and `state` choose."""
    form = FindForm(request.GET)
    wanted = form.wanted()
    page = Paginator(find_accounts(**wanted), PER_PAGE).get_page(request.GET.get("page"))
    kept = {name: request.GET[name] for name in ("q", "role", "state") if request.GET.get(name)}
    context = {
        "form": form,
        "page": page,
        "rows": [{"user": user, "last_seen": last_seen(user)} for user in page],
        "is_filtered": any(wanted.values()),
        "kept": f"{urlencode(kept)}&" if kept else "",
    }
    return render(request, "users/index.html", context)


@admin_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invite(request: HttpRequest) -> HttpResponse:
    """The form; the answer to sending it is the one page that shows the link, which therefore nothing may store."""
    form = AccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data
        try:
            issued = services.invite(
                request_actor(request),
                request_context(request),
                email=chosen["email"],
                name=chosen["name"],
                role=chosen["role"],
                **{limit: chosen[limit] for limit in LIMITS},
            )
        except ValidationError as error:
            form.add_error(None, error)
        except Conflict as error:
            form.add_error("email", error.detail)
        else:
            return shown_link(request, issued)
    return render(request, "users/invite.html", {"form": form}, status=400 if form.errors else 200)


def shown_link(request: HttpRequest, issued: services.IssuedLink) -> HttpResponse:
    """The page that shows a link, once."""
    return render(request, "users/link.html", {"issued": issued, "account": issued.user}, status=201)
