"""`{% sign_in_through_provider %}`: the button on the sign-in page, while single sign-on is on."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context

from opssentinal.sso.configuration import enabled_provider

register = template.Library()


@register.inclusion_tag("sso/button.html", takes_context=True)
def sign_in_through_provider(context: Context) -> dict[str, Any]:
    """The form of the button; `next` goes with it as with the password's."""
    return {
        "provider": enabled_provider(),
        "redirect_field": context.get("redirect_field", ""),
        "csrf_token": context.get("csrf_token"),
    }
