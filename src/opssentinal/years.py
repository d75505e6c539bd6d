"""The years that events are dated in and that filters can name.

In one place because they belong together: every range around an event that was taken (its bar, its day) must be one that a
filter can say. `datetime` itself ends with 9999, and moving between zones must never overflow.
"""

from __future__ import annotations

from typing import Final

EVENT_YEAR_MIN: Final = 1970
EVENT_YEAR_MAX: Final = 9996
FILTER_YEAR_MIN: Final = 1900
FILTER_YEAR_MAX: Final = EVENT_YEAR_MAX + 1
