"""The shell: policy header, theme, health, and navigation by role."""

from __future__ import annotations

import pytest
from django.test import Client

from opssentinal.web.middleware import POLICY
from opssentinal.web.navigation import sections
from opssentinal.workspace.models import User


@pytest.mark.django_db  # the end of a request looks after the connection
@pytest.mark.parametrize("path", ["/healthz", "/static/css/tokens.css"])
def test_what_needs_no_account_answers_with_the_right_type(path: str):
    """Health and static files are open and typed."""
    response = Client().get(path)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/")
    response.close()


@pytest.mark.django_db
def test_every_page_carries_the_policy():
    """Nothing inline and nothing from elsewhere, on good answers as well as on refusals."""
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY
    assert Client().get("/healthz").headers["Content-Security-Policy"] == POLICY


def test_the_page_of_a_fault_needs_nothing_that_may_be_broken():
    """It is made without request, account or database."""
    from django.test import RequestFactory
    from django.views.defaults import server_error

    response = server_error(RequestFactory().get("/"))
    assert response.status_code == 500
    assert b"Something went wrong" in response.content


@pytest.mark.parametrize(
    ("next_url", "target"),
    [
        ("/insights/event-types/", "/insights/event-types/"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("", "/"),
    ],
)
@pytest.mark.django_db
def test_choosing_a_theme_keeps_it_and_never_leads_elsewhere(next_url: str, target: str):
    """The choice is a cookie; the way back is one of our own pages only."""
    from opssentinal.workspace.models import User

    User.objects.create_user("alice@example.com")
    client = Client()
    response = client.post("/theme/", {"theme": "dark", "next": next_url})
    assert response.headers["Location"] == target
    assert client.cookies["theme"].value == "dark"
    assert 'data-theme="dark"' in client.get("/accounts/login/").content.decode()
    client.post("/theme/", {"theme": "", "next": "/"})
    assert "data-theme" not in client.get("/accounts/login/").content.decode()


@pytest.mark.django_db
def test_nobody_is_shown_a_page_that_would_refuse_them():
    """Admins see everything, others only what is theirs; the present page is marked."""
    admin, member = User(pk=1, role="admin"), User(pk=2, role="member")
    titles = [link.title for section in sections(admin, "/") for link in section.links]
    assert {"Audit Logs", "Event types", "Exports", "Data Retention", "API keys"} <= set(titles)
    shown = {link.title for section in sections(member, "/") for link in section.links}
    assert "Event types" in shown
    assert shown.isdisjoint({"Audit Logs", "Exports", "Data Retention", "API keys"})
    marks = {
        link.title: link.current for section in sections(admin, "/insights/audit-logs/41/") for link in section.links
    }
    assert marks["Audit Logs"] == "true"
    assert marks["Exports"] == ""
