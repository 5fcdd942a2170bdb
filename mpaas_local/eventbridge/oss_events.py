"""What happens to objects of OSS, as EventBridge tells it (fc-runtime.md: OSS through EventBridge)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpaas_local.clock import utc_text
from mpaas_local.fc.oss_trigger import bucket_arn, object_meta

if TYPE_CHECKING:
    from mpaas_local.account import Account
    from mpaas_local.fc.oss_trigger import OssUpload

__all__ = ["oss_cloud_event"]


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
                "arn": bucket_arn(upload, account),
                "virtualBucket": "",
                "ownerIdentity": account.account_id,
            },
            "ossSchemaVersion": "1.0",
            "object": {
                "size": upload.size,
                "objectMeta": object_meta(upload),
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
        "subject": f"{bucket_arn(upload, account)}/{upload.key}",
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
