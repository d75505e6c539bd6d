"""Pages show times in the zone of the workspace."""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils import timezone

from opssentinal.events.model import Actor, Context
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import update_preferences
from tests.workspace.conftest import browser, signed_in


def test_a_page_shows_and_takes_times_in_the_zone_of_the_workspace(alice: User, bob: User) -> None:
    """Noon in UTC is shown as nine in the evening in Tokyo, and what is typed there is meant there; no request leaves its
    zone to the next one.
    """
    update_preferences(Actor(type="user", id="user_1"), Context(), "general", time_zone="Asia/Tokyo")
    User.objects.filter(pk=bob.pk).update(role="auditor", log_from=datetime(2030, 1, 1, 12, tzinfo=UTC))
    client = signed_in()
    page = client.get(f"/settings/users/{bob.pk}/")
    assert b"2030-01-01T21:00" in page.content
    assert timezone.get_current_timezone_name() == "UTC"
    assert browser().get("/accounts/login/").status_code == 200
