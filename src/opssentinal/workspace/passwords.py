"""What a password must be, where an admin decides it; Django's own validators stand beside this one (settings)."""

from __future__ import annotations

from django.contrib.auth.password_validation import MinimumLengthValidator

from opssentinal.workspace.preferences import preferences


class MinimumLength(MinimumLengthValidator):
    """Django's validator with the length of the preferences: it is made once and asked for ever."""

    def __init__(self) -> None:
        """Take no length: it is read whenever it is asked for."""

    @property
    def min_length(self) -> int:  # type: ignore[override]
        """The least number of characters now."""
        return preferences().password_length_min
