"""`{% icon "name" %}`: the product's line icons as inline SVG, since nothing may be loaded from elsewhere.

Drawn on a 16-pixel grid, 1.5 wide, in the colour of the text. Decoration only: the words beside them carry the meaning.
"""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

PATHS: dict[str, str] = {
    "list": "M2.5 4h11M2.5 8h11M2.5 12h7",
    "tag": "M2.5 2.5h5l6 6-5 5-6-6zM5.5 5.5h.01",
    "download": "M8 2.5v7.5M4.8 7 8 10.2 11.2 7M2.5 13.5h11",
    "flag": "M4 14V2.500M4 3h8.500l-2 3 2 3H4",
    "clock": "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 4.8V8l2.2 1.6",
    "key": "M10.2 9.6a3.8 3.8 0 1 0-3.8-3.8c0 .5.1 1 .3 1.4L2.5 11.4v2.1h2.1v-1.6h1.6v-1.6l1.4-1.2c.8.3 1.6.5 2.6.5zM11 5h.01",
    "search": "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.7 10.7l3 3",
    "menu": "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
    "close": "M4 4l8 8M12 4l-8 8",
    "check": "M3 8.5l3.2 3.2L13 5",
    "failure": "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM6 6l4 4M10 6l-4 4",
    "denied": "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM3.8 3.8l8.4 8.4",
    "unknown": "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM6.3 6.4c0-2.3 3.4-2.3 3.4 0 0 1.3-1.7 1.4-1.7 2.6M8 11.2h.01",
    "success": "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM5.5 8.2l1.8 1.8 3.3-3.8",
    "shield": "M8 14c3.2-1.3 5-3.4 5-6.5V3.6L8 2 3 3.6v3.9C3 10.600 4.800 12.700 8 14z",
    "warning": "M8 2.500 14.300 13.500H1.700zM8 6.500v3.200M8 11.600h.01",
    "note": "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 7.500v3.500M8 5h.01",
    "chevron": "M4.500 6.500 8 10l3.500-3.500",
    "left": "M9.500 3.500 5 8l4.500 4.500",
    "right": "M6.500 3.500 11 8l-4.500 4.500",
    "copy": "M5.500 5.500v-3h8v8h-3M2.500 5.500h8v8h-8z",
    "filter": "M2 3.500h12L9.500 8.800v4.200l-3-1.500V8.800z",
    "exclude": "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM5.200 8h5.600",
    "user": "M8 8a2.800 2.800 0 1 0 0-5.600A2.800 2.800 0 0 0 8 8zM2.800 13.600c.4-2.800 2.400-4.100 5.200-4.100s4.800 1.300 5.200 4.100",
    "out": "M6.500 2.500h-4v11h4M10 5l3 3-3 3M13 8H6",
    "screen": "M2 3h12v8H2zM5.500 13.500h5",
    "send": "M14 2 7.200 8.800M14 2 9.700 14 7.200 8.800 2 6.300z",
    "sliders": "M2.500 5h5M11 5h2.500M9.200 6.800a1.800 1.800 0 1 0 0-3.600 1.800 1.800 0 0 0 0 3.600zM2.500 11h2.500M8.500 11h5M6.700 12.800a1.800 1.800 0 1 0 0-3.600 1.800 1.800 0 0 0 0 3.600z",
    "lock": "M3.500 7h9v6.500h-9zM5.300 7V5a2.700 2.700 0 0 1 5.400 0v2M8 9.600v1.600",
    "calendar": "M2.500 3.500h11v10h-11zM2.500 6.500h11M5.500 2v3M10.500 2v3",
}


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """Draw the icon of this name; an unknown name is an error, not an empty place."""
    return format_html(
        '<svg class="icon {}" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">'
        '<path d="{}"/></svg>',
        css,
        mark_safe(PATHS[name]),
    )
