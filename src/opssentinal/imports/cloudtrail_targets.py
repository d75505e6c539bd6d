"""What a CloudTrail record was done to: its resources, and the names of things among its parameters.

CloudTrail lists resources for few services only; for the others the parameters name them, each service in its own way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from opssentinal.events.model import TARGETS_MAX, Target

# Parameter → kind of thing, compared without case. Names that mean different things to different services, such as
# `name`, stand with their service.
_PARAMETERS = {
    "bucketname": "bucket", "instanceid": "instance", "username": "user", "rolename": "role", "rolearn": "role",
    "groupname": "group", "policyarn": "policy", "policyname": "policy", "instanceprofilename": "instance_profile",
    "accesskeyid": "access_key", "secretid": "secret", "functionname": "function", "keyid": "key", "targetkeyid": "key",
    "vpcid": "vpc", "subnetid": "subnet", "routetableid": "route_table", "groupid": "security_group",
    "internetgatewayid": "internet_gateway", "natgatewayid": "nat_gateway", "networkinterfaceid": "network_interface",
    "networkaclid": "network_acl", "allocationid": "elastic_ip", "volumeid": "volume", "snapshotid": "snapshot",
    "imageid": "image", "keyname": "key_pair", "launchtemplateid": "launch_template", "vpcendpointid": "vpc_endpoint",
    "dbinstanceidentifier": "db_instance", "dbsnapshotidentifier": "db_snapshot", "dbclusteridentifier": "db_cluster",
    "dbsubnetgroupname": "db_subnet_group", "trailname": "trail", "loggroupname": "log_group", "tablename": "table",
    "queueurl": "queue", "topicarn": "topic", "stackname": "stack", "clustername": "cluster", "repositoryname": "repository",
    "hostedzoneid": "hosted_zone", "streamname": "stream", "alarmname": "alarm", "detectorid": "detector",
    "trustanchorid": "trust_anchor", "serialnumber": "mfa_device", "certificatearn": "certificate", "flowlogid": "flow_log",
    "documentname": "document", "distributionid": "distribution", "loadbalancerarn": "load_balancer",
}  # fmt: skip
_BY_SERVICE = {
    ("ssm", "name"): "parameter", ("ssm", "resourceid"): "parameter", ("cloudtrail", "name"): "trail",
    ("secretsmanager", "name"): "secret", ("iam", "groupname"): "group", ("ec2", "groupname"): "security_group",
    ("ssm", "names"): "parameter", ("rds", "resourcename"): "db_instance", ("rolesanywhere", "name"): "trust_anchor",
}  # fmt: skip
_MAKES = ("Create", "Run", "Allocate", "Import", "Copy", "Register", "Request")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_DEPTH_MAX = 6


def targets_of(record: Mapping[str, Any]) -> list[Target]:
    """At most TARGETS_MAX targets, the named resources first; whatever else there is stays in the metadata."""
    service = str(record.get("eventSource") or "").partition(".")[0]
    found: dict[tuple[str, str], Target] = {}
    for target in _all(record, service):
        # The same thing by its ARN and by its name is one thing.
        found.setdefault((target.type, (target.name or target.id).strip("/")), target)
        if len(found) == TARGETS_MAX:
            break
    return list(found.values())


def _all(record: Mapping[str, Any], service: str) -> Iterator[Target]:
    yield from _resources(record)
    parameters = record.get("requestParameters")
    if service == "s3" and isinstance(parameters, dict):
        yield from _object_in_bucket(parameters)
    yield from _named(parameters, service, 0)
    name = str(record.get("eventName") or "")
    if name.startswith(_MAKES):
        # What was made has its id only in the answer, among others that merely belong to it: a new instance's network.
        made = _WORD_START.sub("_", name).lower()
        for target in _named(record.get("responseElements"), service, 0):
            if f"_{target.type}" in made:
                yield target
    for key in ("serviceEventDetails", "additionalEventData"):
        yield from _named(record.get(key), service, 0)


def _resources(record: Mapping[str, Any]) -> Iterator[Target]:
    resources = record.get("resources")
    for resource in resources if isinstance(resources, list) else []:
        if not isinstance(resource, dict):
            continue
        arn = resource.get("ARN") or resource.get("ARNPrefix")
        if isinstance(arn, str) and arn:
            kind = resource.get("type")
            yield _from_arn(
                arn, _WORD_START.sub("_", kind.rpartition("::")[2]).lower() if isinstance(kind, str) else ""
            )


def _object_in_bucket(parameters: Mapping[str, Any]) -> Iterator[Target]:
    bucket, key = parameters.get("bucketName"), parameters.get("key")
    if isinstance(bucket, str) and isinstance(key, str) and key:
        yield Target(type="object", id=f"{bucket}/{key}"[:256], name=key[:256])


def _named(value: Any, service: str, depth: int) -> Iterator[Target]:
    """Every thing that a parameter names, at whatever place: EC2 hides ids in `instancesSet.items[].instanceId`."""
    if depth > _DEPTH_MAX:
        return
    if isinstance(value, list):
        for item in value:
            yield from _named(item, service, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            kind = _BY_SERVICE.get((service, key.lower())) or _PARAMETERS.get(key.lower())
            texts = item if isinstance(item, list) and key.endswith("s") else [item]
            for text in texts:
                if key in ("ARN", "arn") and isinstance(text, str) and text.startswith("arn:"):
                    yield _from_arn(text, "")
                elif kind and isinstance(text, str) and text:
                    yield _from_arn(text, kind) if text.startswith("arn:") else Target(type=kind, id=text[:256])
                elif isinstance(text, (dict, list)):
                    yield from _named(text, service, depth + 1)


def _from_arn(arn: str, kind: str) -> Target:
    """`arn:partition:service:region:account:resource`, whose resource is `name`, `kind/name` or `kind:name`."""
    parts = arn.split(":", 5)
    if len(parts) < 6 or not parts[5]:
        return Target(type=kind or "resource", id=arn[:256])
    service, resource = parts[2], parts[5]
    if service == "s3":
        own, name = ("object" if "/" in resource else "bucket"), resource
    else:
        at = min((resource.find(mark) for mark in "/:" if mark in resource), default=-1)
        own, name = (resource[:at], resource[at + 1 :]) if at > 0 else (service, resource)
    if service == "secretsmanager" and name[-7:-6] == "-":
        name = name[:-7]  # AWS ends the ARN of a secret in a hyphen and six random characters
    own = re.sub(r"[^a-z0-9]+", "_", own.lower()).strip("_")
    return Target(type=(kind or own or "resource")[:64], id=arn[:256], name=name[:256] or None)
