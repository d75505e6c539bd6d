"""AWS CloudTrail records → events. What becomes what is docs/guide/import.md; no field of a record is lost.

Record contents: docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html,
and for who acted …/cloudtrail-event-reference-user-identity.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parseaddr
from ipaddress import ip_address
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from opssentinal.errors import InvalidEvent
from opssentinal.events.decoding import validate
from opssentinal.events.model import ACTION_PATTERN, Actor, Context, Event, Outcome
from opssentinal.imports import fitting
from opssentinal.imports.cloudtrail_targets import targets_of

SOURCE = "cloudtrail"

_DENIED = re.compile(r"AccessDenied|Unauthorized|NotAuthorized|AuthorizationError|AuthFailure|Forbidden", re.IGNORECASE)
# GetBucketACL → get_bucket_acl, DescribeDBInstances → describe_db_instances
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_API_DATE = re.compile(r"\d{8}(v\d+)?$")  # Lambda: GetFunction20150331v2 is GetFunction to everybody
_NO_WORD = re.compile(r"[^a-z0-9_-]+")

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def event_from_record(raw: bytes) -> Event:
    """Read one record. Raises InvalidEvent, whose path is that of the record's field."""
    try:
        record = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent(f"is not a JSON object: {error}", path="$") from error
    if b"\\u0000" in raw:
        # A caller can put a NUL into a user agent; refusing the record would let them hide what they did.
        record = fitting.without_nul(record)
    event = Event(
        id=_id_of(record, raw),
        action=action_of(record),
        outcome=outcome_of(record),
        occurred_at=_time_of(record),
        actor=actor_of(record),
        targets=targets_of(record),
        context=_context_of(record),
        tenant=_text(record, "recipientAccountId") or _text(_object(record, "userIdentity"), "accountId"),
        source=SOURCE,
    )
    event.metadata = _rest_of(record, event)
    return validate(fitting.fit(event), may_hold_nul=False)


def action_of(record: Mapping[str, Any]) -> str:
    """`s3.get_bucket_logging`: the service and the operation. A console sign-in is login.success or login.failure.

    Sign-ins have the log's own name for them, so that one filter, facet or alert finds those of every source.
    """
    service, name = _text(record, "eventSource"), _text(record, "eventName")
    if record.get("eventType") == "AwsCloudTrailInsight" or isinstance(record.get("insightDetails"), dict):
        return "cloudtrail.insight"
    if not service or not name:
        raise InvalidEvent("is missing", path="$.eventName" if service else "$.eventSource")
    if service == "signin.amazonaws.com" and name == "ConsoleLogin":
        return "login.success" if outcome_of(record) == "success" else "login.failure"
    words = _WORD_START.sub("_", _API_DATE.sub("", name) or name).lower()
    verb = _NO_WORD.sub("_", words).strip("_-") or "unknown"
    noun = _NO_WORD.sub("_", service.lower().removesuffix(".amazonaws.com").replace(".", "_")).strip("_-") or "unknown"
    noun = noun if noun[0].isalpha() else f"aws_{noun}"
    action = f"{noun}.{verb}"[:128]
    if re.match(ACTION_PATTERN, action) is None:
        raise InvalidEvent(f"makes no action: {action!r}", path="$.eventName")
    return action


def outcome_of(record: Mapping[str, Any]) -> Outcome:
    """denied for errors that mean a missing permission, failure for other errors, else success."""
    code = _text(record, "errorCode")
    if code:
        return "denied" if _DENIED.search(code) else "failure"
    answers = _object(record, "responseElements")
    if _text(record, "errorMessage") or "Failure" in (answers.get("ConsoleLogin"), answers.get("CheckMfa")):
        return "failure"
    return "success"


def actor_of(record: Mapping[str, Any]) -> Actor:
    """Who acted, from `userIdentity` in each of its forms; a service where there is only `invokedBy`."""
    identity = _object(record, "userIdentity")
    kind = _text(identity, "type")
    service = _text(identity, "invokedBy")
    if kind is None:
        if service:
            return Actor(type="aws_service", id=_name(service))
        kind = "AWSService" if "insightDetails" in record else "Unknown"
    by_id = _text(identity, "arn") or _text(identity, "principalId") or _text(identity, "userId")
    if kind == "AWSService":
        return Actor(type="aws_service", id=_name(service or by_id or "cloudtrail.amazonaws.com"))
    if kind == "Root":
        by_id = by_id or _text(identity, "accountId")
        return Actor(type="root", id=_name(by_id or "root"), name=_name(_text(identity, "userName") or "root"))
    name = _text(identity, "userName") or _tail(_text(identity, "arn"))
    if kind == "AssumedRole":
        name = _tail(_text(identity, "arn")) or name  # the session; userName, if any, is the role's
    on_behalf = _text(_object(identity, "onBehalfOf"), "userId")
    by_id = by_id or on_behalf or _text(identity, "accountId") or _text(identity, "accessKeyId") or name or "unknown"
    type_ = _WORD_START.sub("_", kind).lower()
    return Actor(type=type_[:64], id=_name(by_id), name=_name(name) if name else None, email=_email(name))


def _context_of(record: Mapping[str, Any]) -> Context:
    identity = _object(record, "userIdentity")
    key = _text(identity, "accessKeyId") or ""
    agent = _text(record, "userAgent")
    request = _text(record, "requestID") or _text(record, "sharedEventID")
    return Context(
        ip=_address(record),
        user_agent=agent[:2048] if agent else None,
        # Keys that begin so are temporary: one per session. Those of a user, AKIA…, live on for years.
        session_id=key if key.startswith("ASIA") and len(key) <= 256 else None,
        request_id=request if request and len(request) <= 256 else None,
    )


def _rest_of(record: Mapping[str, Any], event: Event) -> dict[str, Any]:
    """The record without what the event says elsewhere, letter for letter; fields that say nothing are left out."""
    rest = {key: value for key, value in record.items() if value is not None}
    said = {
        "eventID": str(event.id),
        "recipientAccountId": event.tenant,
        "sourceIPAddress": event.context.ip,
        "userAgent": event.context.user_agent,
        "requestID": event.context.request_id,
    }
    for key, value in said.items():
        if value is not None and rest.get(key) == value:
            del rest[key]
    rest.pop("eventTime", None)
    if isinstance(identity := rest.get("userIdentity"), dict):
        told = {
            "arn": event.actor.id,
            "principalId": event.actor.id,
            "userName": event.actor.name,
            "invokedBy": event.actor.id,
            "accessKeyId": event.context.session_id,
        }
        rest["userIdentity"] = {key: value for key, value in identity.items() if value != told.get(key, _NOTHING)}
    return rest


_NOTHING = object()


def _id_of(record: Mapping[str, Any], raw: bytes) -> UUID:
    """The record's eventID; where that is no UUID, one made from it or from the record, the same each time."""
    text = _text(record, "eventID")
    try:
        return UUID(text or "")
    except ValueError:
        return uuid5(NAMESPACE_URL, f"cloudtrail:{text}" if text else f"cloudtrail record:{raw!r}")


def _time_of(record: Mapping[str, Any]) -> datetime:
    text = _text(record, "eventTime")
    if text is None:
        raise InvalidEvent("is missing", path="$.eventTime")
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError as error:
        raise InvalidEvent(f"{text[:64]!r} is not a time", path="$.eventTime") from error
    if moment.tzinfo is None:
        raise InvalidEvent(f"{text[:64]!r} has no zone", path="$.eventTime")
    return moment


def _address(record: Mapping[str, Any]) -> str | None:
    """The address, if it is one: calls that AWS makes name a service there, which stays in the metadata."""
    try:
        return str(ip_address(_text(record, "sourceIPAddress") or ""))
    except ValueError:
        return None


def _text(of: Mapping[str, Any], key: str) -> str | None:
    value = of.get(key)
    return value if isinstance(value, str) and value else None


def _object(of: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = of.get(key)
    return value if isinstance(value, dict) else {}


def _tail(arn: str | None) -> str | None:
    """The last part of an ARN as people know it: `user/alice` is alice, `assumed-role/deploy/i-0abc` is deploy/i-0abc."""
    if arn is None or arn.count(":") < 5:
        return None
    kind, slash, rest = arn.split(":", 5)[5].partition("/")
    return (rest if kind == "assumed-role" else rest.rpartition("/")[2]) if slash else kind


def _name(text: str) -> str:
    return text[:256]


def _email(name: str | None) -> str | None:
    """The address of a session that is named after one, as single sign-on does."""
    last = (name or "").rpartition("/")[2]
    return last if "@" in last and len(last) <= 320 and parseaddr(last)[1] == last else None
