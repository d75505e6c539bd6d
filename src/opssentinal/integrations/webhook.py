"""One attempt: a signed request to a webhook, and what its answer means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from opssentinal import outbound
from opssentinal.errors import Unavailable
from opssentinal.integrations import backoff, signature
from opssentinal.integrations.models import Integration
from opssentinal.workspace.encryption import decrypt

TIMEOUT_S = 15.0
RESPONSE_BYTES_MAX = 2_000
_MAY_ASK_FOR_TIME = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt. `error` is empty where it arrived; `pause` says that trying again cannot help."""

    error: str
    status_code: int | None = None
    latency_ms: int | None = None
    response: str = ""
    pause: str = ""
    retry_after: timedelta | None = None


def attempt(integration: Integration, webhook_id: str, body: bytes, now: datetime) -> Outcome:
    """Send once. Everything that can go wrong on the way is in the outcome; nothing is raised for it."""
    try:
        secrets = secrets_in_use(integration, now)
    except Unavailable as error:
        return Outcome(str(error), pause=Integration.Pause.SECRET)
    headers = {
        "Content-Type": "application/json",
        **signature.headers(secrets, webhook_id, int(now.timestamp()), body),
    }
    try:
        answer = outbound.send(
            "POST", integration.url, headers=headers, body=body, timeout_s=TIMEOUT_S, bytes_max=RESPONSE_BYTES_MAX
        )
    except (outbound.Refused, outbound.InvalidAddress) as error:
        return Outcome(str(error), pause=Integration.Pause.REFUSED)
    except Unavailable as error:
        return Outcome(error.detail)
    return _judged(answer, now)


def secrets_in_use(integration: Integration, now: datetime) -> list[str]:
    """The secret, and beside it the one before while that still signs. Raises Unavailable where it cannot be read."""
    stored = [integration.secret]
    if integration.is_old_secret_in_use(now):
        stored.append(integration.old_secret)
    return [decrypt(each) for each in stored]


def _judged(answer: outbound.Answer, now: datetime) -> Outcome:
    # PostgreSQL keeps no NUL in a text.
    response = answer.body.decode(errors="replace").replace("\0", "�")
    asked = answer.headers.get("retry-after") if answer.status in _MAY_ASK_FOR_TIME else None
    error = "" if answer.is_success else f"{status_text(answer.status)}."
    if answer.status == HTTPStatus.GONE:
        error = "410 Gone: the receiver wants no more."
    return Outcome(
        error,
        answer.status,
        answer.latency_ms,
        response,
        pause=Integration.Pause.GONE if answer.status == HTTPStatus.GONE else "",
        retry_after=backoff.retry_after(asked, now),
    )


def status_text(status: int) -> str:
    """A status with its name: `503 Service Unavailable`."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
