"""What a browser sends when somebody presses the button of a form as it stands on a page."""

from __future__ import annotations

from html.parser import HTMLParser


class _Form(HTMLParser):
    """Collects the fields of the one form that is sent to `action`."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._action, self._is_inside, self._select, self._textarea = action, False, "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        name, value = said.get("name") or "", said.get("value")
        if tag == "form":
            self._is_inside = (said.get("action") or "") == self._action
        elif not self._is_inside:
            return
        elif tag == "input" and "disabled" not in said:
            is_box = said.get("type") in ("checkbox", "radio")
            if not is_box or "checked" in said:
                self.fields[name] = ("on" if is_box else "") if value is None else value
        elif tag == "select":
            self._select = name
        elif tag == "option" and (self._select not in self.fields or "selected" in said):
            self.fields[self._select] = value or ""
        elif tag == "textarea":
            self._textarea, self.fields[name] = name, ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_inside = False
        elif tag == "textarea":
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.fields[self._textarea] += data


def fields_of(page: str, action: str) -> dict[str, str]:
    """The fields of the form of a page that is sent to `action`, "" for the page itself, as they stand there."""
    form = _Form(action)
    form.feed(page)
    assert form.fields, action
    return form.fields
