"""What admins do with integrations, each change in one transaction with the event that tells of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.db import IntegrityError
from django.utils import timezone

from opssentinal import outbound
from opssentinal.errors import Conflict, Forbidden, InvalidInput, InvalidQuery, NotFound, Unavailable
from opssentinal.events.model import Actor, Change, Context, Event, Target
from opssentinal.integrations import deliveries, signature
from opssentinal.integrations.models import BATCH_EVENTS_MAX, NAME_MAX, URL_MAX, Integration
from opssentinal.ledger.reader import head
from opssentinal.ledger.recording import recording
from opssentinal.query import format, parse, zone_named
from opssentinal.workspace.encryption import decrypt, encrypt
from opssentinal.workspace.preferences import HIDDEN, preferences
from opssentinal.workspace.seen import require_seen

OVERLAP_HOURS_MAX = 24 * 30
INTEGRATIONS_MAX = 100


class Created(NamedTuple):
    """An integration with its signing secret, which is shown once."""

    integration: Integration
    secret: str


def make_public_id() -> str:
    """A new public id."""
    return f"int_{secrets.token_hex(4)}"


def target_of(integration: Integration) -> Target:
    """The integration as the target of an event."""
    return Target(type="integration", id=integration.public_id, name=integration.name)


def find(public_id: str) -> Integration:
    """The integration of this id. Raises NotFound."""
    found = Integration.objects.filter(public_id=public_id).first()
    if found is None:
        raise NotFound(f"There is no integration {public_id!r}.")
    return found


def create_webhook(
    *,
    actor: Actor,
    context: Context,
    name: str,
    url: str,
    query: str = "",
    batch_events_max: int = 100,
    public_id: str | None = None,
) -> Created:
    """Create a webhook that is sent the events from its own creation on, and record integration.created.

    Raises InvalidInput, whose `path` names the field. `public_id` (of `make_public_id`) may be chosen beforehand, so that a
    request which is sent again makes no second one: Conflict if it is taken.
    """
    secret = signature.make_secret()
    integration = Integration(
        public_id=public_id or make_public_id(),
        secret=encrypt(secret),
        created_by_name=(actor.name or actor.email or actor.id)[:320],
        **_checked(name=name, url=url, query=query, batch_events_max=batch_events_max),
    )
    with recording() as record:
        if Integration.objects.count() >= INTEGRATIONS_MAX:
            raise Conflict(f"There are {INTEGRATIONS_MAX} integrations already.", hint="Delete one first.")
        integration.position = head().size
        try:
            integration.save(force_insert=True)
        except IntegrityError as error:
            raise Conflict(f"There is an integration {integration.public_id} already.") from error
        record(_event("integration.created", integration, actor, context, metadata=_facts(integration)))
    return Created(integration, secret)


def editable(integration: Integration) -> dict[str, Any]:
    """What `update_integration` can change, as it is."""
    return {name: getattr(integration, name) for name in ("name", "url", "query", "batch_events_max")}


def update_integration(
    public_id: str, actor: Actor, context: Context, *, seen: str | None = None, **wanted: Any
) -> Integration:
    """Change name, url, query or batch_events_max, and record integration.updated with before and after of what changed.

    With another query, what is on its way is withdrawn and looked for anew. Raises InvalidInput or NotFound, and Conflict
    where it is not any more as it was `seen` (`seen.version_of`).
    """
    with recording() as record:
        integration = _locked(public_id)
        before = editable(integration)
        require_seen(seen, before)
        after = _checked(**(before | wanted))
        if changed := [name for name in before if before[name] != after[name]]:
            for name in changed:
                setattr(integration, name, after[name])
            if "query" in changed:
                deliveries.withdraw(integration, timezone.now())
            integration.next_attempt_at = None  # the change may be what it waits for
            integration.save(update_fields=[*changed, "next_attempt_at"])
            changes = [Change(field=n, before=_shown(n, before[n]), after=_shown(n, after[n])) for n in changed]
            record(_event("integration.updated", integration, actor, context, changes=changes))
    return integration


def rotate_secret(public_id: str, version: int, overlap_hours: int, actor: Actor, context: Context) -> Created:
    """Make a new signing secret; the one before signs beside it for `overlap_hours`, so that receivers can change over.

    `version` is that of the secret to replace: Conflict if somebody has replaced it already.
    """
    if not 0 <= overlap_hours <= OVERLAP_HOURS_MAX:
        raise InvalidInput(f"must lie between 0 and {OVERLAP_HOURS_MAX} hours", path="overlap_hours")
    secret = signature.make_secret()
    stored, now = encrypt(secret), timezone.now()
    with recording() as record:
        integration = _locked(public_id)
        if integration.secret_version != version:
            raise Conflict("The secret has been replaced meanwhile. The new one was shown once.")
        # One that was stored under another server key could sign nothing, and would hold up the new one.
        overlaps = overlap_hours > 0 and _is_readable(integration.secret)
        until = now + timedelta(hours=overlap_hours) if overlaps else None
        integration.old_secret, integration.old_secret_until = (integration.secret if until else "", until)
        integration.secret = stored
        integration.secret_version += 1
        integration.save(update_fields=["secret", "secret_version", "old_secret", "old_secret_until"])
        changes = [Change(field="secret", before=HIDDEN, after=HIDDEN)]
        metadata = {"overlap_hours": overlap_hours}
        record(_event("integration.updated", integration, actor, context, changes=changes, metadata=metadata))
    return Created(integration, secret)


def pause(public_id: str, actor: Actor, context: Context) -> Integration:
    """Send nothing until somebody resumes it; the position stays. Raises Conflict where it is paused already."""
    with recording() as record:
        integration = _locked(public_id)
        if integration.is_paused:
            raise Conflict(f"{integration.name} is paused already.")
        integration.paused_at, integration.paused_code = timezone.now(), Integration.Pause.ADMIN
        integration.paused_reason = f"Paused by {actor.name or actor.email or actor.id}."
        integration.save(update_fields=["paused_at", "paused_code", "paused_reason"])
        changes = [Change(field="enabled", before=True, after=False)]
        record(_event("integration.updated", integration, actor, context, changes=changes))
    return integration


def resume(public_id: str, actor: Actor, context: Context, *, leave_out: bool = False) -> Integration:
    """Send again, at once and with a new day of attempts.

    Where events are gone, `leave_out` says that the admin knows: it goes on at the first event that is there, which is
    recorded. Raises Conflict where it is not paused, or without `leave_out` where events are gone.
    """
    with recording() as record:
        integration = _locked(public_id)
        if not integration.is_paused:
            raise Conflict(f"{integration.name} is not paused.")
        changes = [Change(field="enabled", before=False, after=True)]
        first = head().minimum_index
        if integration.position < first:
            if not leave_out:
                raise Conflict(
                    f"{first - integration.position:,} events are gone and cannot be sent.",
                    hint="Confirm that they are left out.",
                )
            changes.append(Change(field="position", before=integration.position, after=first))
            deliveries.withdraw(integration, timezone.now())
            integration.position = first
        integration.paused_at = integration.failing_since = integration.next_attempt_at = None
        integration.paused_code = integration.paused_reason = ""
        integration.save()
        record(_event("integration.updated", integration, actor, context, changes=changes))
    return integration


def replay(public_id: str, from_seq: int, actor: Actor, context: Context) -> Integration:
    """Send the events from `from_seq` on again, under new webhook-ids, then go on; a paused integration stays paused.

    Raises InvalidInput for a place that the log does not have, or that retention has pruned.
    """
    with recording() as record:
        integration = _locked(public_id)
        now_head, before = head(), integration.position
        if not 0 <= from_seq <= now_head.size:
            raise InvalidInput(f"the log has the events 0 to {now_head.size - 1:,}", path="start")
        if from_seq < now_head.minimum_index:
            raise InvalidInput(
                f"the events below {now_head.minimum_index:,} were pruned by the retention policy", path="start"
            )
        deliveries.withdraw(integration, timezone.now())
        integration.position = from_seq
        integration.failing_since = integration.next_attempt_at = None
        integration.save(update_fields=["position", "failing_since", "next_attempt_at"])
        metadata = {"from_seq": from_seq, "position": before}
        record(_event("integration.replayed", integration, actor, context, metadata=metadata))
    return integration


def delete_integration(public_id: str, actor: Actor, context: Context) -> Integration:
    """Delete an integration with its deliveries, and record integration.deleted. Raises NotFound."""
    with recording() as record:
        integration = _locked(public_id)
        record(_event("integration.deleted", integration, actor, context, metadata=_facts(integration)))
        integration.delete()
    return integration


def _is_readable(stored: str) -> bool:
    try:
        decrypt(stored)
    except Unavailable:
        return False
    return True


def _locked(public_id: str) -> Integration:
    found = Integration.objects.select_for_update().filter(public_id=public_id).first()
    if found is None:
        raise NotFound(f"There is no integration {public_id!r}.")
    return found


def _event(action: str, integration: Integration, actor: Actor, context: Context, **more: Any) -> Event:
    target = target_of(integration)
    return Event(action=action, outcome="success", actor=actor, targets=[target], context=context, **more)


def _facts(integration: Integration) -> dict[str, Any]:
    return {
        "kind": integration.kind,
        "url": _shown("url", integration.url),
        "query": integration.query,
        "position": integration.position,
    }


def _shown(name: str, value: Any) -> Any:
    """A value as an event tells it. Of an address only the server: paths often hold a token of the receiver's."""
    if name != "url":
        return value
    parts = urlsplit(value)
    rest = HIDDEN if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{parts.netloc}/{rest}"


def _checked(*, name: str, url: str, query: str, batch_events_max: int) -> dict[str, Any]:
    checks: dict[str, Callable[[Any], Any]] = {
        "name": _name, "url": _url, "query": _query, "batch_events_max": _batch_events_max,
    }  # fmt: skip
    given = {"name": name, "url": url, "query": query, "batch_events_max": batch_events_max}
    return {field: check(given[field]) for field, check in checks.items()}


def _name(text: str) -> str:
    text = text.strip()
    if not 1 <= len(text) <= NAME_MAX or not text.isprintable():
        raise InvalidInput(f"must be one line of 1 to {NAME_MAX} characters", path="name")
    return text


def _url(text: str) -> str:
    text = text.strip()
    if len(text) > URL_MAX or not text.isprintable():
        raise InvalidInput(f"must be one line of at most {URL_MAX:,} characters", path="url")
    try:
        outbound.check_url(text)
    except (InvalidInput, Forbidden) as error:
        raise InvalidInput(error.detail, path="url", hint=error.hint) from error
    return text


def _query(text: str) -> str:
    try:
        # A day is one of the workspace's zone; what is kept has absolute times, so that it goes on meaning the same.
        return format(parse(text, zone_named(preferences().time_zone)), absolute=True)
    except InvalidQuery as error:
        raise InvalidInput(error.detail, path="query", hint=error.hint) from error


def _batch_events_max(count: int) -> int:
    if not 1 <= count <= BATCH_EVENTS_MAX:
        raise InvalidInput(f"must lie between 1 and {BATCH_EVENTS_MAX}", path="batch_events_max")
    return count
