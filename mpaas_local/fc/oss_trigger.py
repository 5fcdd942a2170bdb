"""What happens to objects of OSS, as native triggers tell it (fc-runtime.md: OSS trigger)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpaas_local.clock import utc_text
from mpaas_local.compact_json import compact_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.account import Account
    from project import triggers

__all__ = [
    "OssTrigger",
    "OssUpload",
    "bucket_arn",
    "object_meta",
    "oss_event",
    "oss_trigger_of",
]


@dataclass(frozen=True)
class OssUpload:
    """What happened to one object.

    Attributes:
        bucket: Name of the bucket.
        key: Name of the object, not URL-encoded.
        name: `eventName`, without `oss:`.
        size: Bytes.
        etag: Of the content.
        mime_type: `objectMeta.mimeType`.
        user_meta: `objectMeta.userMeta`.
    """

    bucket: str
    key: str
    name: str = "ObjectCreated:PutObject"
    size: int = 0
    etag: str = "D41D8CD98F00B204E9800998ECF8427E"
    mime_type: str = "application/octet-stream"
    user_meta: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
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

    def wants(self, upload: OssUpload) -> bool:
        """Whether this happened to an object of this trigger."""
        group = upload.name.partition(":")[0]
        return (
            upload.bucket == self.bucket
            and upload.key.startswith(self.prefix)
            and upload.key.endswith(self.suffix)
            and any(event in self.events for event in (f"oss:{upload.name}", f"oss:{group}:*"))
        )

    @property
    def rule_id(self) -> str:
        """`ruleId` of its events: 40 hexadecimal digits, always the same."""
        return hashlib.sha256(f"{self.function}/{self.name}".encode()).hexdigest()[:40]


def oss_trigger_of(trigger: triggers.Oss, function: str) -> OssTrigger:
    """Return the OSS trigger of a function, from that of `s.yaml`."""
    config = trigger.trigger_config
    key = config.filter.key
    return OssTrigger(
        function, trigger.trigger_name, trigger.bucket, tuple(config.events), key.prefix, key.suffix
    )


def oss_event(upload: OssUpload, rule_id: str, account: Account, moment: float, request_id: str) -> bytes:
    """Return the native event of an upload (fc-runtime.md: OSS trigger)."""
    event = {
        "eventName": upload.name,
        "eventSource": "acs:oss",
        "eventTime": utc_text(int(moment)),
        "eventVersion": "1.0",
        "oss": {
            "bucket": {
                "arn": bucket_arn(upload, account),
                "name": upload.bucket,
                "ownerIdentity": account.account_id,
            },
            "object": {
                "deltaSize": upload.size,
                "eTag": upload.etag,
                "key": upload.key,
                "objectMeta": object_meta(upload),
                "size": upload.size,
            },
            "ossSchemaVersion": "1.0",
            "ruleId": rule_id,
        },
        "region": account.region,
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"requestId": request_id},
        "userIdentity": {"principalId": account.account_id},
    }
    return compact_json({"events": [event]})


def bucket_arn(upload: OssUpload, account: Account) -> str:
    """Return the ARN of an upload's bucket."""
    return f"acs:oss:{account.region}:{account.account_id}:{upload.bucket}"


def object_meta(upload: OssUpload) -> dict[str, Any]:
    """Return `objectMeta` of an upload."""
    return {
        "mimeType": upload.mime_type,
        **({"userMeta": dict(upload.user_meta)} if upload.user_meta else {}),
    }
