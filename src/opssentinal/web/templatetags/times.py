"""`{% time moment %}`: an instant in the zone of the page, with UTC on hover and for machines.

The zone is Django's current one (`timezone.override` around rendering); the page says which it is.
"""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from opssentinal.events.model import rfc3339

register = template.Library()

_FORMATS = {"second": "%Y-%m-%d %H:%M:%S", "minute": "%Y-%m-%d %H:%M", "day": "%d %b %Y"}


@register.simple_tag
def time(moment: datetime | None, precision: str = "second") -> SafeString | str:
    """Write an aware datetime; `precision` is second, minute, day stacked (on two lines) or full (all digits and
    the zone's name)."""
    if moment is None:
        return "—"
    utc = rfc3339(moment)
    local = moment.astimezone(timezone.get_current_timezone())
    if precision == "stacked":  # the clock above the date, where the eye compares; copied, they come in reading order
        return format_html(
            '<time class="stacked" datetime="{}" title="{}"><span>{}</span> <span>{}</span></time>',
            utc, utc, f"{local:%Y-%m-%d}", f"{local:%H:%M:%S}",
        )  # fmt: skip
    text = f"{local:%Y-%m-%d %H:%M:%S.%f %Z}" if precision == "full" else format(local, _FORMATS[precision])
    return format_html('<time datetime="{}" title="{}">{}</time>', utc, utc, text)
