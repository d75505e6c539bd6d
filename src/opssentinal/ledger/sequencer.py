"""The sequencer: group commit. Whatever waits is appended in one transaction, so one fsync serves many callers."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from django.db import Error as DatabaseFault
from django.db import connection, transaction

from opssentinal.errors import IntegrityError, OpsSentinalError, Overloaded, Unavailable
from opssentinal.events.encoding import Drafts, draft, joined
from opssentinal.events.model import Event
from opssentinal.ledger.append import append
from opssentinal.ledger.head import lock_head
from opssentinal.ledger.outcome import disk_full, is_disk_full, write_nothing
from opssentinal.ledger.reader import read_events
from opssentinal.ledger.receipts import Receipt

log = logging.getLogger(__name__)

_READ_BACK_PAUSES_S = (0.0, 0.2, 1.0, 2.0)
_READ_BACK_LOCK_S = 5
# While the database refuses to write, it is asked this often whether it does again, also where nobody submits anything.
_PROBE_EVERY_S = 1.0
_running: Sequencer | None = None


def running() -> Sequencer | None:
    """The sequencer of this process; None where there is none, as in a command."""
    return _running


@dataclass(slots=True)
class _Submission:
    events: Sequence[Event] | Drafts
    text_bytes: int
    receipts: Future[list[Receipt]] = field(default_factory=Future)


class SequencerHealth(NamedTuple):
    """`damage` says why appending has stopped for good, `failure` why the last attempt to write came to nothing, if so."""

    is_running: bool
    waiting_events: int
    damage: str | None
    failure: str | None


class Sequencer:
    """One thread that appends what callers submit, in the order of submission.

    Durability: a future gets its receipts after the commit has returned, which is after fsync. A future that gets
    `Unavailable` says that its events are not in the log, unless its code is `outcome_unknown`: then the database could not
    be asked, and the caller sends the same events again under the same ids to learn it.
    Concurrency: `submit` may be called from any thread. Submissions are never split between commits.
    Bounds: at most `queue_events_max` events wait; a commit takes at most COMMIT_EVENTS_MAX events or COMMIT_BYTES_MAX of
    submitted text (a single larger submission goes alone).
    After an IntegrityError nothing is appended any more: every later submission is refused with it. After any other failure
    the next submission is tried like the first, and meanwhile the thread asks by itself whether writing is possible again.
    """

    COMMIT_EVENTS_MAX: ClassVar[int] = 4_096
    COMMIT_BYTES_MAX: ClassVar[int] = 8 << 20

    def __init__(self, queue_events_max: int = 50_000) -> None:
        self._queue_events_max = queue_events_max
        self._waiting: deque[_Submission] = deque()
        self._waiting_events = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._damage: IntegrityError | None = None
        self._failure: OpsSentinalError | None = None
        self._thread = threading.Thread(target=self._run, name="sequencer")

    def start(self) -> None:
        """Begin to append. Call once."""
        global _running
        self._thread.start()
        _running = self

    def stop(self) -> None:
        """Append what waits, refuse what comes, and return when the thread has ended."""
        global _running
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if _running is self:
            _running = None
        if self._thread.ident is not None:
            self._thread.join()

    def submit(self, events: Sequence[Event] | Drafts, text_bytes: int = 0) -> Future[list[Receipt]]:
        """Queue validated events with their `source`; `text_bytes` is what they came as. Receipts come in the same order.

        Raises Overloaded when the queue is full or the sequencer stops, IntegrityError once the ledger was found damaged.
        """
        submission = _Submission(events, text_bytes)
        with self._changed:
            self.require_room(len(events))
            self._waiting.append(submission)
            self._waiting_events += len(events)
            self._changed.notify()
        return submission.receipts

    def require_room(self, count: int, before: int = 0) -> None:
        """Raise what `submit` would raise for so many events at this moment, had it got so many others before."""
        if self._damage is not None:
            # A new one each time: an error that is raised again and again keeps all that it has passed through.
            raise IntegrityError(self._damage.detail, hint=self._damage.hint)
        if self._stopping:
            raise Overloaded("The server is shutting down.", retry_after_s=5)
        waiting = self._waiting_events + before
        if waiting and waiting + count > self._queue_events_max:
            raise Overloaded("More events are waiting to be written than the queue may hold.", retry_after_s=1)

    def health(self) -> SequencerHealth:
        """Whether it can keep its promises."""
        damage = str(self._damage) if self._damage is not None else None
        failure = self._failure.detail if self._failure is not None else None
        return SequencerHealth(self._thread.is_alive() and not self._stopping, self._waiting_events, damage, failure)

    def _run(self) -> None:
        batch: list[_Submission] | None = []
        try:
            while (batch := self._next_batch()) is not None:
                if batch:
                    self._commit(batch)
                else:
                    self._probe()
        except BaseException as error:
            # Nobody may wait for a thread that is gone: whatever is queued, and whatever would be, is refused.
            log.critical("The sequencer ended", exc_info=True)
            damage = IntegrityError(f"The sequencer ended: {type(error).__name__}.", hint="Restart the server.")
            with self._changed:
                self._damage = damage
                refused = [*(batch or ()), *self._waiting]
                self._waiting.clear()
            self._refuse(refused, damage)
        finally:
            connection.close()

    def _next_batch(self) -> list[_Submission] | None:
        """Wait for work and take as much as one commit may hold; None when there is none left and we are stopping.

        Empty when it is time to ask whether the database can write again.
        """
        with self._changed:
            while not self._waiting and not self._stopping:
                if not self._changed.wait(_PROBE_EVERY_S if self._failure is not None else None):
                    return []
            if not self._waiting:
                return None
            batch: list[_Submission] = []
            events = text_bytes = 0
            while self._waiting:
                next_ = self._waiting[0]
                events += len(next_.events)
                text_bytes += next_.text_bytes
                if batch and (events > self.COMMIT_EVENTS_MAX or text_bytes > self.COMMIT_BYTES_MAX):
                    break
                batch.append(self._waiting.popleft())
                self._waiting_events -= len(next_.events)
            return batch

    def _commit(self, batch: list[_Submission]) -> None:
        receipts: list[Receipt] = []
        count = sum(len(submission.events) for submission in batch)
        try:
            events = _drafts_of(batch)
            try:
                with transaction.atomic(durable=True):
                    receipts = append(events)
            except DatabaseFault as error:
                log.error("A commit of %d events failed: %s", count, error)
                connection.close()
                if not self._did_happen(receipts, error):
                    raise _cannot_write(error) from error
        except OpsSentinalError as error:
            self._note(error)
            self._refuse(batch, error)
            return
        except Exception as error:
            # A fault of ours in one batch must not end the thread, on which every caller waits.
            log.exception("A commit of %d events failed", count)
            code = "outcome_unknown" if receipts else None
            self._refuse(batch, Unavailable(f"The events could not be written: {type(error).__name__}.", code=code))
            return
        self._failure = None
        at = 0
        for submission in batch:
            _settle(submission.receipts, receipts[at : at + len(submission.events)])
            at += len(submission.events)

    def _note(self, error: OpsSentinalError) -> None:
        """Remember why nothing was written: for good, or until something is."""
        if not isinstance(error, IntegrityError):
            self._failure = error
            return
        log.critical("Appending stops: %s", error)
        with self._changed:
            self._damage = error

    def _probe(self) -> None:
        """Ask with a write that changes nothing whether the database can write again."""
        try:
            with transaction.atomic(durable=True), connection.cursor() as cursor:
                lock_head(cursor)
                write_nothing(cursor)
        except DatabaseFault as error:
            connection.close()
            self._failure = _cannot_write(error)
        except IntegrityError as error:
            self._note(error)
        else:
            log.warning("The ledger can be written again")
            self._failure = None

    def _did_happen(self, receipts: list[Receipt], error: DatabaseFault) -> bool:
        """After a commit whose answer was lost: look whether the first event it accepted stands at its place.

        Receipts exist only if append() had finished, so an error before that is a plain failure. The head is locked for the
        look, which waits until the database has finished with the lost transaction, one way or the other. Raises Unavailable
        with the code outcome_unknown where the database does not answer in time.
        """
        if not receipts or is_disk_full(error):
            return False
        accepted = next((receipt for receipt in receipts if receipt.status == "accepted"), None)
        if accepted is None:
            return True  # nothing was to be written, and what the receipts say was read
        for pause_s in _READ_BACK_PAUSES_S:
            time.sleep(pause_s)
            try:
                with transaction.atomic(durable=True), connection.cursor() as cursor:
                    if connection.vendor == "postgresql":
                        cursor.execute(f"SET LOCAL lock_timeout = '{_READ_BACK_LOCK_S}s'")
                    lock_head(cursor)
                    found = read_events([accepted.seq]).get(accepted.seq)
                    did_happen = found is not None and str(found.id) == accepted.id
                    if not did_happen:
                        write_nothing(cursor)
                return did_happen
            except DatabaseFault as lost:
                log.error("Whether the commit happened cannot be settled: %s", lost)
                connection.close()
        raise Unavailable(
            "The database failed while the events were written, and cannot say whether they are.",
            hint="Send the same events again with the same ids: what is recorded already is answered as a duplicate.",
            code="outcome_unknown",
        )

    @staticmethod
    def _refuse(batch: list[_Submission], error: OpsSentinalError) -> None:
        for submission in batch:
            try:
                submission.receipts.set_exception(error)
            except InvalidStateError:
                continue  # its caller has gone; nothing was appended


def _drafts_of(batch: Sequence[_Submission]) -> Drafts:
    """All events of a commit, in order; those of small submissions are encoded here, together, which costs less than one by one."""
    parts: list[Drafts] = []
    small: list[Event] = []
    for submission in batch:
        if isinstance(submission.events, Drafts):
            parts += (draft(small), submission.events)
            small = []
        else:
            small += submission.events
    parts.append(draft(small))
    return joined(parts)


def _settle(future: Future[list[Receipt]], receipts: list[Receipt]) -> None:
    try:
        future.set_result(receipts)
    except InvalidStateError:
        # The caller went away while we wrote. The events are recorded; it will learn so when it sends them again.
        log.info("A caller left before its %d receipts were ready", len(receipts))


def _cannot_write(error: DatabaseFault) -> Unavailable:
    return disk_full() if is_disk_full(error) else Unavailable(f"The ledger cannot be written: {_first_line(error)}.")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
