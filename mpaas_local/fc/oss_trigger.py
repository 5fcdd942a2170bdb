"""Native OSS triggers and their events (fc-runtime.md: OSS trigger)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpaas_local.clock import utc_second_text
from mpaas_local.compact_json import compact_json

if TYPE_CHECKING:
    from mpaas_local.account import Account
    from mpaas_local.oss import ObjectEvent
    from project import triggers

__all__ = [
    "OssTrigger",
    "bucket_arn",
    "object_meta",
    "oss_event",
    "oss_trigger_of",
]


@dataclass(frozen=True, kw_only=True)
class OssTrigger:
    """A native trigger of type `oss` (fc-runtime.md: OSS trigger); always asynchronous.

    Attributes:
        function: Name of the function.
        name: `triggerName`.
        bucket: Last part of `sourceArn`.
        events: `events`, such as `oss:ObjectCreated:*`.
        prefix: `filter.key.prefix`.
        suffix: `filter.key.suffix`.
    """

    function: str
    name: str
    bucket: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""

    def matches(self, event: ObjectEvent) -> bool:
        """Whether an event matches this trigger."""
        group = event.name.partition(":")[0]
        return (
            event.bucket == self.bucket
            and event.key.startswith(self.prefix)
            and event.key.endswith(self.suffix)
            and any(name in self.events for name in (f"oss:{event.name}", f"oss:{group}:*"))
        )

    @property
    def rule_id(self) -> str:
        """`ruleId` of its events: 40 hexadecimal digits, constant for a trigger."""
        return hashlib.sha256(f"{self.function}/{self.name}".encode()).hexdigest()[:40]


def oss_trigger_of(trigger: triggers.Oss, function: str) -> OssTrigger:
    """Return the OSS trigger of a function, from `s.yaml`."""
    config = trigger.trigger_config
    key = config.filter.key
    return OssTrigger(
        function=function,
        name=trigger.trigger_name,
        bucket=trigger.bucket,
        events=tuple(config.events),
        prefix=key.prefix,
        suffix=key.suffix,
    )


def oss_event(event: ObjectEvent, rule_id: str, account: Account, moment: float) -> bytes:
    """Return the payload of a native trigger for an event (fc-runtime.md: OSS trigger)."""
    document = {
        "eventName": event.name,
        "eventSource": "acs:oss",
        "eventTime": utc_second_text(moment),
        "eventVersion": "1.0",
        "oss": {
            "bucket": {
                "arn": bucket_arn(event, account),
                "name": event.bucket,
                "ownerIdentity": account.account_id,
            },
            "object": {
                "deltaSize": event.delta,
                "eTag": event.etag,
                "key": event.key,
                "objectMeta": object_meta(event),
                "size": event.size,
            },
            "ossSchemaVersion": "1.0",
            "ruleId": rule_id,
        },
        "region": account.region,
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"requestId": event.request_id},
        "userIdentity": {"principalId": account.account_id},
    }
    return compact_json({"events": [document]})


def bucket_arn(event: ObjectEvent, account: Account) -> str:
    """Return the ARN of the bucket."""
    return f"acs:oss:{account.region}:{account.account_id}:{event.bucket}"


def object_meta(event: ObjectEvent) -> dict[str, Any]:
    """Return `objectMeta`."""
    return {
        "mimeType": event.mime_type,
        **({"userMeta": dict(event.user_meta)} if event.user_meta else {}),
    }
