"""CloudTrail records as events: who, what, how it ended, and nothing of the record lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opssentinal.errors import InvalidEvent
from opssentinal.events.decoding import decode_event
from opssentinal.events.model import EVENT_BYTES_MAX, Actor, Event
from opssentinal.imports.cloudtrail import event_from_record
from opssentinal.imports.fitting import NUL_SIGN, PACKED, unpack
from opssentinal.imports.reading import Record, read_records

SAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "cloudtrail-sample.json"
_ACCOUNT = "111122223333"


def _record(**fields: Any) -> dict[str, Any]:
    record: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": {"type": "IAMUser", "arn": f"arn:aws:iam::{_ACCOUNT}:user/alice", "userName": "alice"},
        "eventTime": "2026-09-14T08:00:00Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": "GetBucketLogging",
        "sourceIPAddress": "203.0.113.9",
        "userAgent": "aws-cli/2.31",
        "eventID": "875240ac-e821-4fc6-a311-8c352a1d20f5",
        "recipientAccountId": _ACCOUNT,
    }
    return {key: value for key, value in (record | fields).items() if value is not ...}


def _event(**fields: Any) -> Event:
    return event_from_record(json.dumps(_record(**fields)).encode())


def test_the_whole_of_one_record() -> None:
    """A plain record becomes exactly this event."""
    assert _event(requestID="R1", awsRegion="eu-central-1", requestParameters={"bucketName": "logs"}) == decode_event(
        json.dumps(
            {
                "id": "875240ac-e821-4fc6-a311-8c352a1d20f5",
                "action": "s3.get_bucket_logging",
                "outcome": "success",
                "occurred_at": "2026-09-14T08:00:00Z",
                "actor": {"type": "iam_user", "id": f"arn:aws:iam::{_ACCOUNT}:user/alice", "name": "alice"},
                "targets": [{"type": "bucket", "id": "logs"}],
                "context": {"ip": "203.0.113.9", "user_agent": "aws-cli/2.31", "request_id": "R1"},
                "tenant": _ACCOUNT,
                "source": "cloudtrail",
                "metadata": {
                    "eventVersion": "1.11",
                    "userIdentity": {"type": "IAMUser"},
                    "eventSource": "s3.amazonaws.com",
                    "eventName": "GetBucketLogging",
                    "awsRegion": "eu-central-1",
                    "requestParameters": {"bucketName": "logs"},
                },
            }
        ).encode()
    )


@pytest.mark.parametrize(
    ("source", "name", "action"),
    [
        ("s3", "GetBucketLogging", "s3.get_bucket_logging"),
        ("rds", "DescribeDBInstances", "rds.describe_db_instances"),
        ("iam", "ListMFADevices", "iam.list_mfa_devices"),
        ("iam", "ListSSHPublicKeys", "iam.list_ssh_public_keys"),
        ("ec2", "AssignIpv6Addresses", "ec2.assign_ipv6_addresses"),
        ("lambda", "GetFunction20150331v2", "lambda.get_function"),
        ("lambda", "CreateFunction20150331", "lambda.create_function"),
        ("resource-explorer-2", "ListIndexes", "resource-explorer-2.list_indexes"),
        ("states", "Start Execution!", "states.start_execution"),
        ("signin", "CheckMfa", "signin.check_mfa"),
    ],
)
def test_actions(source: str, name: str, action: str) -> None:
    """An action is the service and the operation in words, as AWS's own tools spell them."""
    assert _event(eventSource=f"{source}.amazonaws.com", eventName=name).action == action


@pytest.mark.parametrize(
    ("identity", "actor"),
    [
        (
            {"type": "IAMUser", "arn": "arn:aws:iam::1:user/team/bob", "userName": "bob", "principalId": "AIDA"},
            Actor("iam_user", "arn:aws:iam::1:user/team/bob", "bob"),
        ),
        ({"type": "IAMUser", "principalId": "AIDA", "userName": "bob"}, Actor("iam_user", "AIDA", "bob")),
        (
            {
                "type": "AssumedRole",
                "arn": "arn:aws:sts::1:assumed-role/admin/carol@example.com",
                "sessionContext": {"sessionIssuer": {"type": "Role", "userName": "admin"}},
            },
            Actor(
                "assumed_role",
                "arn:aws:sts::1:assumed-role/admin/carol@example.com",
                "admin/carol@example.com",
                "carol@example.com",
            ),
        ),
        (
            {"type": "Root", "arn": "arn:aws:iam::1:root", "accountId": "1"},
            Actor("root", "arn:aws:iam::1:root", "root"),
        ),
        ({"type": "AWSService", "invokedBy": "kms.amazonaws.com"}, Actor("aws_service", "kms.amazonaws.com")),
        ({"accountId": "1", "invokedBy": "rds.amazonaws.com"}, Actor("aws_service", "rds.amazonaws.com")),
        ({"type": "AWSAccount", "accountId": "444455556666", "principalId": "AIDX"}, Actor("aws_account", "AIDX")),
        ({"type": "AWSAccount", "accountId": "444455556666"}, Actor("aws_account", "444455556666")),
        (
            {"type": "FederatedUser", "arn": "arn:aws:sts::1:federated-user/dave"},
            Actor("federated_user", "arn:aws:sts::1:federated-user/dave", "dave"),
        ),
        (
            {"type": "WebIdentityUser", "principalId": "accounts.example.com:app:7", "userName": "7"},
            Actor("web_identity_user", "accounts.example.com:app:7", "7"),
        ),
        ({"type": "SAMLUser", "principalId": "abc:erin", "userName": "erin"}, Actor("saml_user", "abc:erin", "erin")),
        (
            {"type": "IdentityCenterUser", "onBehalfOf": {"userId": "d-1/u-2"}},
            Actor("identity_center_user", "d-1/u-2"),
        ),
        ({"type": "Unknown"}, Actor("unknown", "unknown")),
        ({}, Actor("unknown", "unknown")),
        (None, Actor("unknown", "unknown")),
    ],
)
def test_actors(identity: Any, actor: Actor) -> None:
    """Each form that an identity has names an actor; none makes a record be refused."""
    assert _event(userIdentity=identity).actor == actor


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({}, "success"),
        ({"errorCode": "AccessDenied"}, "denied"),
        ({"errorCode": "AccessDeniedException"}, "denied"),
        ({"errorCode": "Client.UnauthorizedOperation"}, "denied"),
        ({"errorCode": "NotAuthorizedException"}, "denied"),
        ({"errorCode": "ThrottlingException"}, "failure"),
        ({"errorCode": "Client.InvalidVolume.NotFound"}, "failure"),
        ({"errorMessage": "Failed authentication"}, "failure"),
        ({"responseElements": {"CheckMfa": "Failure"}}, "failure"),
    ],
)
def test_outcomes(fields: dict[str, Any], outcome: str) -> None:
    """A missing permission is a denial, every other error a failure."""
    assert _event(**fields).outcome == outcome


@pytest.mark.parametrize(("answer", "action"), [("Success", "login.success"), ("Failure", "login.failure")])
def test_console_sign_ins_are_sign_ins(answer: str, action: str) -> None:
    """A sign-in to the console has the catalogue's action, and AWS's name for it stays."""
    event = _event(
        eventSource="signin.amazonaws.com", eventName="ConsoleLogin", responseElements={"ConsoleLogin": answer}
    )
    assert (event.action, event.metadata["eventName"]) == (action, "ConsoleLogin")


def test_a_service_is_no_address() -> None:
    """Where AWS itself calls, the name in the place of the address goes to the metadata."""
    event = _event(sourceIPAddress="AWS Internal")
    assert event.context.ip is None
    assert event.metadata["sourceIPAddress"] == "AWS Internal"


def test_a_temporary_key_is_a_session() -> None:
    """Temporary keys tell sessions apart; the long-lived key of a user does not."""
    identity = {"type": "AssumedRole", "arn": "arn:aws:sts::1:assumed-role/a/b", "accessKeyId": "ASIAEXAMPLE"}
    assert _event(userIdentity=identity).context.session_id == "ASIAEXAMPLE"
    assert _event(userIdentity=identity | {"accessKeyId": "AKIAEXAMPLE"}).context.session_id is None


def test_targets_of_hidden_places() -> None:
    """Ids inside EC2's sets are found, what was made is found in the answer, and what merely belongs to it is not."""
    event = _event(
        eventSource="ec2.amazonaws.com",
        eventName="RunInstances",
        requestParameters={"instancesSet": {"items": [{"imageId": "ami-1"}]}},
        responseElements={"instancesSet": {"items": [{"instanceId": "i-1", "subnetId": "subnet-1"}]}},
    )
    assert [(target.type, target.id) for target in event.targets] == [("image", "ami-1"), ("instance", "i-1")]


def test_one_thing_is_one_target() -> None:
    """A bucket that stands among the resources and among the parameters is named once, by its ARN."""
    event = _event(
        requestParameters={"bucketName": "logs", "key": "2026/a.gz"},
        resources=[{"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::logs", "accountId": _ACCOUNT}],
    )
    assert [(target.type, target.id, target.name) for target in event.targets] == [
        ("bucket", "arn:aws:s3:::logs", "logs"),
        ("object", "logs/2026/a.gz", "2026/a.gz"),
    ]


def test_at_most_ten_targets() -> None:
    """A call about a hundred things names ten of them; all hundred are in the metadata."""
    items = {"items": [{"instanceId": f"i-{number}"} for number in range(100)]}
    event = _event(eventSource="ec2.amazonaws.com", requestParameters={"instancesSet": items})
    assert len(event.targets) == 10
    assert event.metadata["requestParameters"]["instancesSet"] == items


def test_insights_have_an_event_too() -> None:
    """A record of CloudTrail Insights, which has no operation and nobody who acted, is taken as well."""
    event = _event(
        userIdentity=...,
        eventSource=...,
        eventName=...,
        eventType="AwsCloudTrailInsight",
        insightDetails={"state": "Start"},
    )
    assert (event.action, event.actor.type) == ("cloudtrail.insight", "aws_service")


@pytest.mark.parametrize("event_id", ["not-a-uuid", ..., "", None])
def test_a_record_without_a_uuid_keeps_one_id(event_id: Any) -> None:
    """Without a UUID of its own a record gets one made from it, the same each time and another for another record."""
    first, again = _event(eventID=event_id), _event(eventID=event_id)
    assert isinstance(first.id, UUID)
    assert first.id == again.id
    assert first.id != _event(eventID="another").id


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"[]", "$"),
        (b"{oops", "$"),
        (b'{"a": "\xff"}', "$"),
        (json.dumps(_record(eventTime="yesterday")).encode(), "$.eventTime"),
        (json.dumps(_record(eventTime="2026-09-14T08:00:00")).encode(), "$.eventTime"),
        (json.dumps(_record(eventTime=...)).encode(), "$.eventTime"),
        (json.dumps(_record(eventName=...)).encode(), "$.eventName"),
    ],
)
def test_what_is_no_record_is_refused_with_its_place(raw: bytes, path: str) -> None:
    """A record without a time or an operation, or that is not JSON, is refused and the field is named."""
    with pytest.raises(InvalidEvent) as caught:
        event_from_record(raw)
    assert caught.value.path == path


def _restored(event: Event) -> dict[str, Any]:
    """The record, from nothing but the event."""
    rest = {key: unpack(value) if _is_packed(value) else value for key, value in event.metadata.items()}
    assert event.occurred_at is not None
    said = {
        "eventID": str(event.id),
        "eventTime": event.occurred_at.isoformat().replace("+00:00", "Z"),
        "recipientAccountId": event.tenant,
        "sourceIPAddress": event.context.ip,
        "userAgent": event.context.user_agent,
    }
    identity = {"arn": event.actor.id, "userName": event.actor.name} | rest["userIdentity"]
    return {key: value for key, value in (said | rest | {"userIdentity": identity}).items() if value is not None}


def _is_packed(value: Any) -> bool:
    return isinstance(value, dict) and value.get("encoding") == PACKED


_any = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_characters="\0", codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(min_codepoint=1, codec="utf-8")), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(
    parameters=st.dictionaries(st.sampled_from(["bucketName", "key", "tagSet", "userName", "x"]), _any),
    answers=st.dictionaries(st.text(st.characters(min_codepoint=1, codec="utf-8")), _any, max_size=3),
    agent=st.text(st.characters(min_codepoint=1, codec="utf-8"), min_size=1, max_size=3000),
    address=st.sampled_from(["203.0.113.9", "2001:DB8::1", "rds.amazonaws.com", "AWS Internal"]),
)
def test_no_field_of_a_record_is_lost(parameters: Any, answers: Any, agent: str, address: str) -> None:
    """Whatever is in a record, the event holds all of it: the record can be put together again."""
    record = _record(
        requestParameters=parameters,
        responseElements=answers,
        userAgent=agent,
        sourceIPAddress=address,
        surplus=[1, {"a": 2}],
    )
    event = event_from_record(json.dumps(record).encode())
    assert _restored(event) == record
    assert decode_event(msgspec.json.encode(event)) == event


def test_a_record_that_is_too_large_is_packed_and_whole() -> None:
    """A record of four times the size of an event fits, and what was packed can be read again."""
    record = _record(requestParameters={"text": "wörd " * 40_000}, responseElements={"small": 1})
    event = event_from_record(json.dumps(record).encode())
    assert len(msgspec.json.encode(event)) <= EVENT_BYTES_MAX
    assert event.metadata["responseElements"] == {"small": 1}
    assert _restored(event) == record


def test_what_is_too_deep_becomes_text() -> None:
    """A record nested deeper than an event may be keeps its depths as JSON text."""
    deep: Any = "bottom"
    for _ in range(40):
        deep = {"in": deep}
    event = _event(requestParameters=deep)
    decode_event(msgspec.json.encode(event))
    found: Any = event.metadata["requestParameters"]
    while isinstance(found, dict):
        found = found["in"]
    while found != "bottom":
        found = json.loads(found)
        while isinstance(found, dict):
            found = found["in"]


def test_a_nul_hides_nothing() -> None:
    """A NUL in a user agent neither keeps the record out of the log nor reaches the store."""
    assert _event(userAgent="curl\0/8").context.user_agent == f"curl{NUL_SIGN}/8"


def test_every_record_of_the_sample_is_an_event() -> None:
    """The sample of the tour is taken whole, and its story is there."""
    events = [event_from_record(item.raw) for item in read_records(SAMPLE) if isinstance(item, Record)]
    assert len(events) == 36
    actions = [event.action for event in events]
    assert actions.count("login.failure") == 5
    assert {"iam.create_user", "cloudtrail.stop_logging", "login.success"} <= set(actions)
    assert {event.outcome for event in events} == {"success", "failure", "denied"}
