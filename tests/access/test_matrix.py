"""Every address × every role × every method, against the table of who may: pages and the API.

What is refused is refused in the one way that people and programs can understand, nothing answers 500, and nothing is
changed for a browser whose form did not come from us.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from itertools import count
from typing import Any
from urllib.parse import unquote

import pytest
from django.contrib.auth import SESSION_KEY
from django.core.cache import cache
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from opssentinal.apikeys.principal import EVENTS_READ, SCOPES
from opssentinal.apikeys.services import create_key
from opssentinal.approvals import services as approvals
from opssentinal.approvals.models import Approval
from opssentinal.events.model import Context
from opssentinal.incidents import services as incidents
from opssentinal.ledger.recording import recording
from opssentinal.retention.changes import APPROVAL_KIND, RETENTION
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences
from tests.access.conftest import OPERATOR, browser, event_of, let_auditors_read, put
from tests.access.table import GUESTS, METHODS, NOTHING, OPERATIONS, PAGES, ROLES, Page

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
CSRF = "c" * 32
_PART = re.compile(r"<[^>]+>")
_ROWS: dict[str, Any] = {"somebody": User, "a request": Approval}
_names = count()


def addresses(patterns: Iterable[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    """Every address of a URL conf as its route."""
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, route)
        else:
            yield route


def path_of(route: str, parts: tuple[str, ...] = ()) -> str:
    """An address with its variable parts filled in; that of a regular expression is its beginning and the one part."""
    if "^" in route:
        return "/" + route.partition("^")[0] + (f"accounts/password/{parts[0]}/" if parts else "nothing/here")
    filled = (str(_ROWS[part].objects.order_by("pk")[0].pk) if part in _ROWS else part for part in parts)
    return "/" + _PART.sub(lambda _: next(filled), route)


def test_every_address_is_in_the_table() -> None:
    """Whoever adds an address says in the table who may use it, and whoever takes one away takes its line too."""
    assert set(addresses(get_resolver().url_patterns)) == {*PAGES, *OPERATIONS, *NOTHING}


class Someone:
    """Somebody of a role, in a workspace as the role says, whose browser has CSRF as its cookie."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.user = None
        self._client = browser()
        if role != "anonymous":
            self.user = User.objects.create_user(
                f"{next(_names)}@example.com", "a pass phrase of 7 words", role=role.split()[0]
            )

    def browser(self) -> Client:
        """Signed in again, and allowed to read the log again, where the last request has ended that."""
        cache.clear()  # limits of signing in, and of recording
        reads = self.role == "auditor who reads"
        if preferences().auditors_read_log != reads:
            let_auditors_read(reads)
        if self.user is None or SESSION_KEY not in self._client.session:
            self._client = browser(self.user)
            self._client.handler.enforce_csrf_checks = True
            self._client.cookies["csrftoken"] = CSRF
        return self._client


def ask(client: Client, method: str, path: str, *, token: bool = True) -> Any:
    headers = {"X-CSRFToken": CSRF} if token else {}
    response = client.generic(method, path, headers=headers)
    response.close()
    return response


def answer_to(response: Any, path: str) -> str:
    """What a page's answer means for who asked: "let in", "refused", "no such method", where it leads, or what is wrong."""
    status = response.status_code
    leads_to = unquote(response["Location"]) if status == HTTPStatus.FOUND else ""
    # A form leads back to the page it stood on, which the browser did not say here; its own address takes no visit.
    if leads_to.startswith(f"/accounts/login/?next={path}") or leads_to == "/accounts/login/?next=/":
        return "sign in"
    if status == HTTPStatus.FORBIDDEN:
        return "refused" if b"Access denied" in response.content or not response.content else "403 without its page"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return "no such method"
    if status == HTTPStatus.FOUND:
        return "sent on"
    if status in (200, 201, 204, 400, 404, 409):
        return "let in"
    return f"{status}"


def expected(page: Page, role: str, method: str) -> set[str]:
    if role in page.audience:
        return {"let in", "sent on"} if method in page.methods else {"no such method"}
    if page.audience == GUESTS:
        return {"sent on"} if method in page.methods else {"sent on", "no such method"}
    refusal = "sign in" if role == "anonymous" else "refused"
    return {refusal} if method in page.methods else {refusal, "no such method"}


@pytest.fixture
def workspace(ledger: object) -> None:
    """One event, one incident, the first account and what it asks other admins to approve."""
    first = User.objects.create_user("first@example.com", role="admin")
    asked = {"field": RETENTION, "before": preferences().audit_retention_days, "after": 90}
    with recording() as record:
        approvals.ask(record, APPROVAL_KIND, "Keep less", asked, user=first, context=Context())
    put(event_of(1, "inside"))
    incidents.open_incident(OPERATOR, Context(), title="Strange sign-ins", severity="high", origin="manual")


@pytest.mark.parametrize("role", ROLES)
def test_a_page_is_for_whom_the_table_says(role: str, workspace: None) -> None:
    """At every page by each method: let in, refused with a page that says so, or led to sign in; never a fault."""
    person, wrong = Someone(role), []
    for route, page in PAGES.items():
        path = path_of(route, page.parts)
        for method in METHODS:
            found = answer_to(ask(person.browser(), method, path), path)
            if found not in expected(page, role, method):
                wrong.append(f"{method} {path}: {found} instead of {' or '.join(expected(page, role, method))}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("verdict", ["grant", "reject", "withdraw"])
def test_a_verdict_is_for_admins(verdict: str, workspace: None) -> None:
    """Each of the three is known at its address: an admin is sent back to the list, others are refused there too."""
    path = path_of("settings/approvals/<int:pk>/<str:verdict>/", ("a request", verdict))
    answers = {role: ask(Someone(role).browser(), "POST", path) for role in ROLES}
    assert answers.pop("admin")["Location"] == "/settings/approvals/"
    assert [answer_to(answer, path) for answer in answers.values()] == ["sign in", "refused", "refused", "refused"]


@pytest.mark.parametrize("role", ["anonymous", "admin"])
def test_nothing_is_changed_from_elsewhere(role: str, workspace: None) -> None:
    """Without the token of our own forms every unsafe method is refused at every page, before anything else is asked."""
    person, wrong = Someone(role), []
    for route, page in PAGES.items():
        path = path_of(route, page.parts)
        for method in UNSAFE:
            response = ask(person.browser(), method, path, token=False)
            if response.status_code != HTTPStatus.FORBIDDEN or b"This form has expired" not in response.content:
                wrong.append(f"{method} {path}: {response.status_code}")
    assert not wrong, "\n".join(wrong)


def is_problem(response: Any) -> bool:
    return str(response.headers["Content-Type"]) == "application/problem+json"


def outcome_of(response: Any) -> str:
    """What the API's answer means for who asked."""
    status = response.status_code
    if status in (401, 403, 404, 405, 400, 503) and not is_problem(response):
        return f"{status} without a problem"
    if status in (200, 201, 202, 207, 400, 404, 409, 415, 503):  # 503: there is no search here to ask
        return "let in"
    return {401: "no key", 403: "refused", 405: "no such method"}.get(status, str(status))


@pytest.fixture
def callers(workspace: None) -> dict[str, tuple[dict[str, str], frozenset[str]]]:
    """Who may call: headers and scopes by name. A key has one scope at least, so that without a scope has another one."""

    def key(scopes: Iterable[str], tenant: str | None = None) -> dict[str, str]:
        made = create_key(
            actor=OPERATOR, context=Context(), name="A key", source="tests", scopes=list(scopes), tenant=tenant
        )
        return {"Authorization": f"Bearer {made.token}"}

    return {
        "nobody": ({}, frozenset()),
        "a wrong key": ({"Authorization": "Bearer ops_nonsense"}, frozenset()),
        **{f"a key with {scope}": (key([scope]), frozenset([scope])) for scope in SCOPES},
        **{f"a key without {scope}": (key(set(SCOPES) - {scope}), frozenset(SCOPES) - {scope}) for scope in SCOPES},
        "a key of a tenant": (key(SCOPES, "acme"), frozenset(SCOPES)),
        "a key of a tenant that may read": (key([EVENTS_READ], "acme"), frozenset([EVENTS_READ])),
    }


def test_an_operation_is_for_keys_with_its_scope(callers: dict[str, tuple[dict[str, str], frozenset[str]]]) -> None:
    """401 without a key, 403 without the scope, 405 for other methods, all as problems; an admin's session opens nothing."""
    admin, nobody, wrong = Someone("admin").browser(), browser(), []
    callers["an admin's browser"] = ({}, frozenset())
    for route, scope_of in OPERATIONS.items():
        path = path_of(route, ("999999",))
        for name, (headers, scopes) in callers.items():
            client = admin if name == "an admin's browser" else nobody
            for method in METHODS:
                response = client.generic(method, path, content_type="application/json", headers=headers)
                meant = "no such method" if method not in scope_of else _meant(scope_of[method], scopes)
                if (found := outcome_of(response)) != meant:
                    wrong.append(f"{method} {path} by {name}: {found} instead of {meant}")
    assert not wrong, "\n".join(wrong)


def _meant(scope: str | None, scopes: frozenset[str]) -> str:
    if scope is None or scope in scopes:
        return "let in"
    return "refused" if scopes else "no key"


def test_below_the_api_there_is_nothing_else(workspace: None) -> None:
    """Every other address is a problem for everybody, by every method."""
    for client in (browser(), Someone("admin").browser()):
        for route in NOTHING:
            for method in METHODS:
                response = client.generic(method, path_of(route))
                assert (response.status_code, is_problem(response)) == (404, True), (route, method)


def test_an_address_that_is_none_is_told_to_everybody(workspace: None) -> None:
    """404 and not a way to sign in, whoever asks."""
    assert [Someone(role).browser().get("/nowhere/").status_code for role in ROLES] == [404] * len(ROLES)


def test_an_account_without_a_password_has_none_to_change(workspace: None) -> None:
    """Such as one of single sign-on: the page leads to the profile, which says so and offers nothing else."""
    client = browser(User.objects.create_user("sso@example.com"))
    for method in ("GET", "POST"):
        response = client.generic(method, "/profile/password/")
        assert (response.status_code, response["Location"]) == (302, "/profile/")
    page = client.get("/profile/").content.decode()
    assert "Your account has no password" in page
    assert "/profile/password/" not in page


def test_a_form_sent_empty_is_shown_again(workspace: None) -> None:
    """With nothing in it but the token, in a header: what is missing is said, and nothing comes into being."""
    admin = Someone("admin")
    for path in (
        "/settings/api-keys/new/",
        "/settings/integrations/new/",
        "/settings/users/new/",
        "/insights/incidents/new/",
    ):
        assert ask(admin.browser(), "POST", path).status_code in (200, 400), path
