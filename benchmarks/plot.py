"""Small charts of lines, one for each thing that was measured, as one SVG that a Markdown page can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_COLUMNS = 4
_WIDTH, _HEIGHT = 240, 130
_LEFT, _TOP, _RIGHT, _BOTTOM = 12, 40, 14, 26


def small_multiples(series: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Draw each series of (size, value) from zero up to its largest value; sizes are to scale, so what grows with the data
    is a straight line and what grows faster bends upwards."""
    rows = -(-len(series) // _COLUMNS)
    charts = [
        f'<g transform="translate({at % _COLUMNS * _WIDTH} {at // _COLUMNS * _HEIGHT})">{_chart(name, points)}</g>'
        for at, (name, points) in enumerate(series.items())
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_COLUMNS * _WIDTH} {rows * _HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="10"><rect width="100%" height="100%" fill="#fff"/>'
        + "".join(charts)
        + "</svg>\n"
    )


def _chart(name: str, points: Sequence[tuple[int, float]]) -> str:
    size_most, value_most = max(size for size, _ in points), max(value for _, value in points) or 1
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    places = [
        (_LEFT + width * size / size_most, _TOP + height * (1 - value / value_most), size, value)
        for size, value in points
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="#2456c8"/>' for x, y, _, _ in places)
    sizes = "".join(
        f'<text x="{x:.1f}" y="{_HEIGHT - 10}" text-anchor="middle" fill="#555">{size / 1e6:g}M</text>'
        for x, _, size, _ in places
    )
    values = "".join(
        f'<text x="{x:.1f}" y="{y - 5:.1f}" text-anchor="middle" fill="#111">{_short(value)}</text>'
        for x, y, _, value in places
    )
    base = _TOP + height
    return (
        f'<text x="{_LEFT}" y="14" font-weight="600" fill="#111">{escape(name)}</text>'
        f'<path d="M{_LEFT} {base}H{_WIDTH - _RIGHT}" stroke="#bbb"/>'
        f'<polyline points="{line}" fill="none" stroke="#2456c8" stroke-width="1.5"/>{dots}{values}{sizes}'
    )


def _short(value: float) -> str:
    return f"{value / 1000:.0f}k" if value >= 10_000 else f"{value:.0f}" if value >= 10 else f"{value:.1f}"
