"""A signed request with its signature, from the reference (pushsimple.md: Version 2019-08-21)."""

from __future__ import annotations

__all__ = ["FORM", "QUERY", "SECRET", "SIGNATURE"]

QUERY = {
    "Version": "2019-08-21",
    "Action": "PushSimple",
    "Format": "JSON",
    "RegionId": "cn-hangzhou",
    "Timestamp": "2026-01-02T03:04:05Z",
    "SignatureMethod": "HMAC-SHA1",
    "SignatureType": "",
    "SignatureVersion": "1.0",
    "SignatureNonce": "nonce-1",
    "AccessKeyId": "testid",
}
FORM = {
    "AppId": "ONEX1",
    "WorkspaceId": "test",
    "Title": "标题 a+b&c*~",
    "Content": "c",
    "DeliveryType": "3",
    "TaskName": "t",
    "ExpiredSeconds": "600",
    "TargetMsgkey": '{"u1":"m1"}',
}
SECRET = "testsecret"
SIGNATURE = "j8rmznhPdD9QmXh23P14ZTnNbL4="
