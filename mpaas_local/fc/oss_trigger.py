"""What happens to objects of OSS, as native triggers and EventBridge tell it
(fc-runtime.md: OSS trigger, OSS through EventBridge).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpaas_local.eventbridge.payloads import dumped, utc_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.fc.host import Account
    from project import triggers

__all__ = [
    "OssTrigger",
    "OssUpload",
    "oss_cloud_event",
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
                "arn": _arn(upload, account),
                "name": upload.bucket,
                "ownerIdentity": account.account_id,
            },
            "object": {
                "deltaSize": upload.size,
                "eTag": upload.etag,
                "key": upload.key,
                "objectMeta": _meta(upload),
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
    return dumped({"events": [event]})


def oss_cloud_event(upload: OssUpload, account: Account, moment: float, request_id: str) -> dict[str, Any]:
    """Return what EventBridge makes of an upload, on the bus `default`
    (fc-runtime.md: OSS through EventBridge).
    """
    data = {
        "eventVersion": "1.0",
        "responseElements": {"requestId": request_id},
        "eventSource": "acs:oss",
        "eventTime": utc_text(int(moment)),
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "eventName": upload.name,
        "userIdentity": {"principalId": account.account_id},
        "region": account.region,
        "oss": {
            "bucket": {
                "name": upload.bucket,
                "arn": _arn(upload, account),
                "virtualBucket": "",
                "ownerIdentity": account.account_id,
            },
            "ossSchemaVersion": "1.0",
            "object": {
                "size": upload.size,
                "objectMeta": _meta(upload),
                "deltaSize": upload.size,
                "eTag": upload.etag,
                "key": upload.key,
            },
        },
    }
    return {
        "datacontenttype": "application/json;charset=utf-8",
        "aliyunaccountid": account.account_id,
        "data": data,
        "subject": f"{_arn(upload, account)}/{upload.key}",
        "aliyunoriginalaccountid": account.account_id,
        "source": "acs.oss",
        "type": f"oss:{upload.name}",
        "aliyunpublishtime": utc_text(moment),
        "specversion": "1.0",
        "aliyuneventbusname": "default",
        "id": request_id,
        "time": utc_text(int(moment)).replace(".000Z", "Z"),
        "aliyunregionid": account.region,
    }


def _arn(upload: OssUpload, account: Account) -> str:
    return f"acs:oss:{account.region}:{account.account_id}:{upload.bucket}"


def _meta(upload: OssUpload) -> dict[str, Any]:
    return {
        "mimeType": upload.mime_type,
        **({"userMeta": dict(upload.user_meta)} if upload.user_meta else {}),
    }
