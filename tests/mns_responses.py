"""Responses of MNS for the scripted servers: a batch accepted, accepted in part, or refused."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from tests.servers import Answer, Exchange, Received, reply

if TYPE_CHECKING:
    from collections.abc import Collection


def error(code: str, words: str = "no") -> bytes:
    """How MNS refuses a whole request."""
    return (
        f'<?xml version="1.0"?><Error xmlns="http://mns.aliyuncs.com/doc/v1/"><Code>{code}</Code>'
        f"<Message>{words}</Message><RequestId>1</RequestId><HostId>h</HostId></Error>"
    ).encode()


def bodies(request: Received) -> list[str]:
    texts = re.findall(rb"<MessageBody>(.*?)</MessageBody>", request.body)
    return [base64.b64decode(text).decode() for text in texts]


def taking(
    failing: Collection[int] = (),
    *,
    entries: int | None = None,
    status: int = 201,
    code: str = "InternalError",
) -> Answer:
    """Take the messages of a request but those at some of its indexes."""

    def answer(exchange: Exchange) -> bool:
        count = len(bodies(exchange.request)) if entries is None else entries
        told = "".join(
            f"<Message><ErrorCode>{code}</ErrorCode><ErrorMessage>no</ErrorMessage></Message>"
            if index in failing
            else "<Message><MessageId>1</MessageId><MessageBodyMD5>2</MessageBodyMD5></Message>"
            for index in range(count)
        )
        document = f'<?xml version="1.0"?><Messages xmlns="http://mns.aliyuncs.com/doc/v1/">{told}</Messages>'
        return reply(document.encode(), status)(exchange)

    return answer
