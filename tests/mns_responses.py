"""Responses of MNS for the scripted servers: a batch accepted, accepted in part, or refused."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from tests.servers import Exchange, Received, Responder, reply

if TYPE_CHECKING:
    from collections.abc import Collection


def error(code: str, message: str = "no") -> bytes:
    """Return the response of MNS that refuses a complete request."""
    return (
        f'<?xml version="1.0"?><Error xmlns="http://mns.aliyuncs.com/doc/v1/"><Code>{code}</Code>'
        f"<Message>{message}</Message><RequestId>1</RequestId><HostId>h</HostId></Error>"
    ).encode()


def bodies(request: Received) -> list[str]:
    texts = re.findall(rb"<MessageBody>(.*?)</MessageBody>", request.body)
    return [base64.b64decode(text).decode() for text in texts]


def accepting(
    failing: Collection[int] = (),
    *,
    entries: int | None = None,
    status: int = 201,
    code: str = "InternalError",
) -> Responder:
    """Return a responder that accepts the messages of a request except those at the failing indexes."""

    def respond(exchange: Exchange) -> bool:
        count = len(bodies(exchange.request)) if entries is None else entries
        entries_xml = "".join(
            f"<Message><ErrorCode>{code}</ErrorCode><ErrorMessage>no</ErrorMessage></Message>"
            if index in failing
            else "<Message><MessageId>1</MessageId><MessageBodyMD5>2</MessageBodyMD5></Message>"
            for index in range(count)
        )
        document = (
            f'<?xml version="1.0"?><Messages xmlns="http://mns.aliyuncs.com/doc/v1/">{entries_xml}</Messages>'
        )
        return reply(document.encode(), status)(exchange)

    return respond
