"""A refusal in a browser is never a dead end."""

from __future__ import annotations

from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences
from tests.workspace.conftest import browser, is_signed_in, sign_in, signed_in


def test_a_form_sent_after_the_session_ended_leads_back_to_its_page(alice: User) -> None:
    """Its own address takes no visit; after signing in, the page it stood on is shown, and nothing was changed."""
    client = browser()
    page = "http://testserver/settings/general/"
    answer = client.post("/settings/general/workspace/", {"workspace_name": "Other"}, headers={"referer": page})
    assert answer.headers["Location"] == "/accounts/login/?next=/settings/general/"
    elsewhere = client.post("/settings/general/workspace/", headers={"referer": "https://evil.example/x"})
    assert elsewhere.headers["Location"] == "/accounts/login/?next=/"
    assert sign_in(client, next="/settings/general/").headers["Location"] == "/settings/general/"
    assert is_signed_in(client)
    assert preferences().workspace_name == "OpsSentinal"


def test_a_method_that_is_not_taken_gets_a_page(alice: User) -> None:
    """With a way back, and what is allowed for programs; the API answers as ever."""
    client = signed_in()
    answer = client.get("/settings/general/workspace/")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert b"Nothing was changed" in answer.content
    assert client.put("/api/v1/exports").headers["Content-Type"].startswith("application/problem+json")
