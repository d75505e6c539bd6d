"""`{% incidents_of_event seq %}`: the incidents that an audit event is attached to, and the ways to attach it to one.

For the page of an event, which those see who may read the log.
"""

from __future__ import annotations

from typing import Any

from django import template

from opssentinal.incidents.models import Incident

register = template.Library()
SHOWN_MAX = 20


@register.inclusion_tag("incidents/_of_event.html")
def incidents_of_event(seq: int) -> dict[str, Any]:
    """The newest incidents whose timeline has the event at `seq`."""
    return {"seq": seq, "incidents": Incident.objects.filter(attached__seq=seq)[:SHOWN_MAX]}
