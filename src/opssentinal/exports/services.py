"""Ask for an export, look it up, fetch it, cancel it: what the pages, the API and the command line share.

Every export ends in exactly one `export.downloaded` event of stage `created` (with the outcome failure if no file came of
it), and each fetch is one of stage `fetched`, recorded before the first byte leaves. The file itself is made in the back
process (`exports.jobs`); what passes between the processes is the row.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from typing import BinaryIO, Literal, NamedTuple

import msgspec
from django.db import transaction
from django.db.models import QuerySet
from django.utils.timezone import now as utc_now

from opssentinal.errors import (
    Conflict,
    Forbidden,
    IntegrityError,
    InvalidInput,
    InvalidQuery,
    NotFound,
    OpsSentinalError,
    Overloaded,
    RateLimited,
)
from opssentinal.events.model import Actor, Context, Event, Outcome, Target
from opssentinal.exports.models import FORMATS, Export, exports_folder, this_server
from opssentinal.ledger import reader
from opssentinal.ledger.recording import recording
from opssentinal.query import Filter, zone_named
from opssentinal.query import format as format_query
from opssentinal.search.client import search

# How many may be waiting or running: of one principal, and in all. More would only queue up behind each other.
OPEN_PER_PRINCIPAL_MAX = 10
OPEN_MAX = 100
POLL_S = 0.05
# The back's task that makes the files, by its name in `opssentinal.back`.
TASK = "exports"

OUTSIDE = "This export holds events outside of the period that you may read."

Stage = Literal["created", "fetched"]


class Principal(NamedTuple):
    """Who is asking, as far as access needs it: an account, an API key (its public id) or an operating-system user.

    An admin sees every export, as does whoever has a shell on the server, and so its files. Every other account and an API
    key see the exports they created and cannot tell any other from one that never existed. `bounds` lies over what an
    account may take with it now: a file that was made under wider ones stays where it is.
    """

    kind: Literal["user", "api_key", "os_user"]
    id: str
    is_admin: bool = False
    bounds: Filter = Filter()

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

    @property
    def sees_all(self) -> bool:
        """Whether the exports of others are visible too."""
        return self.kind == "os_user" or (self.kind == "user" and self.is_admin)

    def may_take(self, filter: Filter) -> bool:
        """Whether every event that the filter means lies within the bounds."""
        try:
            return filter & self.bounds == filter
        except InvalidQuery:  # their times do not even meet
            return False


def create_export(
    actor: Actor,
    context: Context,
    principal: Principal,
    filter: Filter,
    format: str = "csv",
    *,
    bom: bool = False,
    tz: str = "UTC",
    now: datetime | None = None,
) -> Export:
    """Ask for a file of the events that `filter` means, among those recorded until now, and return its queued row.

    `tz` is the zone in which the query text is shown; the file's times are UTC. Raises InvalidInput for a format, zone or
    byte order mark that cannot be, RateLimited if too many of this principal are on their way, Overloaded if too many of all are.
    """
    if format not in FORMATS:
        raise InvalidInput(
            f"There is no export format “{format[:32]}”.", path="format", hint="One of csv, jsonl, parquet."
        )
    if bom and format != "csv":
        raise InvalidInput("Only CSV can begin with a byte order mark.", path="bom")
    zone = zone_named(tz, path="tz")
    now = now or utc_now()
    open_ones = Export.objects.filter(status__in=(Export.Status.QUEUED, Export.Status.RUNNING))
    with transaction.atomic():
        hint = "Wait for one to finish, or cancel one."
        if open_ones.filter(principal=str(principal)).count() >= OPEN_PER_PRINCIPAL_MAX:
            raise RateLimited("Too many exports of yours are waiting.", retry_after_s=10, hint=hint)
        if open_ones.count() >= OPEN_MAX:
            raise Overloaded("Too many exports are waiting.", retry_after_s=10, hint=hint)
        export = Export.objects.create(
            principal=str(principal),
            server=this_server(),
            actor_json=msgspec.json.encode(actor).decode(),
            context_json=msgspec.json.encode(context).decode(),
            filter_json=filter.to_json().decode(),
            query=format_query(filter, zone),
            tz=tz,
            format=format,
            bom=bom,
            head=reader.head().size,
            created_at=now,
            file_name=f"audit-log-{now:%Y-%m-%dT%H%M%SZ}.{format}",
        )
    with suppress(OpsSentinalError):  # it looks into the queue by itself before long
        search().poke(TASK)
    return export


def list_exports(principal: Principal) -> QuerySet[Export]:
    """The exports this principal may know of, newest first."""
    every = Export.objects.all()
    return every if principal.sees_all else every.filter(principal=str(principal))


def get_export(principal: Principal, public_id: str) -> Export:
    """One export. Raises NotFound, also where it is somebody else's."""
    export = list_exports(principal).filter(public_id=public_id).first() if "\0" not in public_id else None
    if export is None:
        raise NotFound("There is no such export.")
    return export


def open_export(
    principal: Principal, public_id: str, actor: Actor, context: Context, *, now: datetime | None = None
) -> tuple[Export, BinaryIO]:
    """Record that the file is fetched, then return it, open for reading; the caller closes it.

    Raises NotFound (also for a file that is gone), Forbidden if it holds more than the principal may read now, Conflict
    (code `export_not_ready`) before it is ready or if it never will be, IntegrityError if the file is not the one that was
    made.
    """
    export = get_export(principal, public_id)
    if not principal.may_take(export.filter):
        raise Forbidden(OUTSIDE)
    if export.status == Export.Status.EXPIRED or (
        export.status == Export.Status.READY and not export.is_fetchable(now or utc_now())
    ):
        raise NotFound("The file of this export has expired.", hint="Export again.", code="export_expired")
    if export.status != Export.Status.READY:
        raise Conflict(f"This export is {Export.Status(export.status).label.lower()}.", code="export_not_ready")
    try:
        file = export.path.open("rb")
    except FileNotFoundError as error:
        if export.server != this_server():
            raise NotFound(
                "The file of this export lies on another server.",
                hint="Fetch it there, where it was asked for, or export again.",
                code="export_elsewhere",
            ) from error
        raise NotFound("The file of this export is gone.", hint="Export again.", code="export_gone") from error
    try:
        if file.seek(0, 2) != export.bytes:
            raise IntegrityError("The file on disk is not the one that was exported.", hint="Export again.")
        file.seek(0)
        # Recorded first: if this fails nothing leaves, and nothing leaves unrecorded.
        with recording() as record:
            record(downloaded(export, "fetched", actor, context))
    except BaseException:
        file.close()
        raise
    return export, file


def cancel_export(
    principal: Principal, public_id: str, actor: Actor, context: Context, *, now: datetime | None = None
) -> Export:
    """Stop an export on its way; the back drops the file at its next step. Raises NotFound, Conflict if it has ended."""
    export = get_export(principal, public_id)
    # The update decides: of this and the job that finishes at the same moment, one finds the row open.
    with recording() as record:
        changed = Export.objects.filter(pk=export.pk, status__in=(Export.Status.QUEUED, Export.Status.RUNNING)).update(
            status=Export.Status.CANCELLED, finished_at=now or utc_now()
        )
        if not changed:
            raise Conflict("This export has already ended.")
        record(downloaded(export, "created", actor, context, outcome="failure", reason="cancelled"))
    export.refresh_from_db()
    return export


def wait_for(export: Export, timeout_s: float) -> Export:
    """Wait until the export has ended, at most `timeout_s` seconds; return it as it is then."""
    until = time.monotonic() + timeout_s
    while export.is_open and time.monotonic() < until:
        time.sleep(POLL_S)
        export.refresh_from_db()
    return export


def expire_exports(now: datetime) -> int:
    """Delete the files whose time is over, and files that belong to no export; the rows stay. Return how many expired."""
    with transaction.atomic():
        expired = expired_exports(now).update(status=Export.Status.EXPIRED)
    # The rows first: after a crash in between, the next run finds the file without a row that needs it. The listing before
    # the question: a file made after the listing is not in it, and no file is older than its row.
    files = list(exports_folder().glob("exp_*"))
    needed = set(
        Export.objects.filter(
            status__in=(Export.Status.QUEUED, Export.Status.RUNNING, Export.Status.READY)
        ).values_list("public_id", flat=True)
    )
    for path in files:
        if path.name.partition(".")[0] not in needed:
            path.unlink(missing_ok=True)
    return expired


def expired_exports(now: datetime) -> QuerySet[Export]:
    """The exports whose time is over and whose file is still there."""
    return Export.objects.filter(status=Export.Status.READY, expires_at__lte=now)


def downloaded(
    export: Export, stage: Stage, actor: Actor, context: Context, *, outcome: Outcome = "success", reason: str = ""
) -> Event:
    """The `export.downloaded` event of a stage: what was asked for, and the file's rows, size and SHA-256 if it has any."""
    metadata: dict[str, object] = {
        "stage": stage,
        "format": export.format,
        "query": export.query,
        "filter": msgspec.json.decode(export.filter_json),
        "head": export.head,
    }
    if export.sha256:
        metadata |= {"rows": export.rows, "bytes": export.bytes, "sha256": export.sha256}
    if reason:
        metadata["reason"] = reason[:1000]
    return Event(
        action="export.downloaded",
        actor=actor,
        context=context,
        outcome=outcome,
        targets=[Target(type="export", id=export.public_id, name=export.file_name)],
        metadata=metadata,
    )
