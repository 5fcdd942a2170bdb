"""Turns a message into PushSimple requests on the wire: parameters, message ids, signature.

The SDK's request class names the action and its headers; the result is byte for byte what the SDK would have
sent.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import os
import re
import time
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import to_json

from mpaas_push.errors import Fault, InvalidMessage, mask_id
from mpaas_push.json_text import is_encodable
from mpaas_push.message import PARAMETERS_2019, PushMessage
from mpaas_push.message.model import unset_fault
from mpaas_push.sdk import PushSimpleRequest, sha_hmac1
from mpaas_push.settings import ApiVersion
from mpaas_push.targets import message_ids_of, slices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mpaas_push.credentials import Credentials
    from mpaas_push.settings import Settings

__all__ = ["PushRequest", "SignedRequest", "plan"]

_FIELDS = tuple(
    (name, str(info.alias), str(info.alias)[0].upper() + str(info.alias)[1:])
    for name, info in PushMessage.model_fields.items()
    if name not in {"targets", "target_msgkey", "strategy_content"}
)
"""Attribute, documented name and wire name of each parameter that is sent unchanged."""


class SignedRequest(NamedTuple):
    """A request ready to be sent. Its repr shows nothing: the path holds key id, token and signature."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return "SignedRequest()"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest:
    """One PushSimple call: its parameters by wire name, all text, and the targets among them.

    Attributes:
        common: Form fields that all requests of the message share, in order, with the original validity.
        targets: Message id of each target, one to ten.
        message: The message that it sends to these targets.
        expires: When its validity ends, in Unix seconds. None for a timed or loop push: its validity begins
            when mPaaS sends it.
        too_late: Why it must no longer be sent, although an earlier attempt may have been.
        may_have_arrived: An earlier attempt was sent, with an unknown outcome.
    """

    common: Mapping[str, str] = field(repr=False)
    targets: Mapping[str, str] = field(repr=False)
    message: PushMessage = field(repr=False)
    expires: float | None = field(default=None, compare=False)
    too_late: tuple[Fault, ...] = field(default=(), repr=False, compare=False)
    may_have_arrived: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"PushSimple to {', '.join(map(mask_id, self.targets))}"

    @property
    def parameters(self) -> dict[str, str]:
        """All form fields. Not cached: a batch may have a hundred thousand requests."""
        # For plain strings, pydantic's encoder writes the same as `_dump_json` in a third of the time.
        return {**self.common, "TargetMsgkey": to_json(self.targets).decode()}

    @property
    def fingerprint(self) -> str:
        """A hash of the original message, independent of how its JSON is written.

        It leaves out targets, app and workspace, which identify the push, and the remaining validity.
        """
        content = f"{self.message.fingerprint} {self.common.get('TenantId')}"
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def validity_left(self) -> float:
        """Return the remaining validity in seconds, zero or less when it has ended.

        That of a timed or loop push is infinite: it begins when mPaaS sends the push.
        """
        return math.inf if self.expires is None else self.expires - time.time()

    def sign(self, credentials: Credentials, settings: Settings) -> SignedRequest:
        """Sign the request with a fresh nonce and time; every attempt needs a new signature.

        It states the remaining validity, or the original one if that has ended.
        """
        fields = self.parameters
        left = self.validity_left()
        if 0 < left <= self.message.expired_seconds - 1:
            fields["ExpiredSeconds"] = str(math.ceil(left))
        version = settings.api_version.value
        query = {"SecurityToken": _encode(credentials.security_token)} if credentials.security_token else {}
        query |= _constant_query(version, settings.region_id)
        query["Timestamp"] = _timestamp(int(time.time()))
        query["SignatureNonce"] = _nonce()
        query["AccessKeyId"] = _encode(credentials.access_key_id)
        path, body = _sign(query, fields, credentials.access_key_secret)
        return SignedRequest(path=path, headers=_headers(version), body=body)


@cache
def _constant_query(version: str, region_id: str) -> dict[str, str]:
    """Return the query of all requests, encoded, in the SDK's order; values that differ are empty."""
    query = {
        "Version": version,
        "Action": PushSimpleRequest().get_action_name(),
        "Format": "JSON",
        "RegionId": region_id,
        "Timestamp": "",
        "SignatureMethod": sha_hmac1.get_signer_name(),
        "SignatureType": sha_hmac1.get_signer_type(),
        "SignatureVersion": sha_hmac1.get_signer_version(),
        "SignatureNonce": "",
        "AccessKeyId": "",
    }
    return {name: _encode(text) for name, text in query.items()}


@cache
def _headers(version: str) -> Mapping[str, str]:
    request = PushSimpleRequest()
    request.set_version(version)
    return {
        **request.get_signed_header(),
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept-Encoding": "identity",
        "User-Agent": "mpaas-push",
    }


@lru_cache(maxsize=1)
def _timestamp(now: int) -> str:
    return _encode(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def _nonce() -> str:
    # The SDK's nonce uses `random`, whose state is the same in all instances started from one snapshot.
    return os.urandom(16).hex()


def _sign(query: Mapping[str, str], fields: Mapping[str, str], secret: str) -> tuple[str, bytes]:
    """Return path and body with RPC signature version 1 (pushsimple.md: Version 2019-08-21).

    The SDK's composer does the same but encodes each text four times; here each is encoded once. Encoded text
    has only unreserved characters and `%`, so encoding it again takes three replacements.

    Args:
        query: Parameters of the query, encoded.
        fields: Parameters of the body, not encoded.
        secret: The AccessKey's secret.
    """
    encoded = [(name, _encode(text)) for name, text in fields.items()]
    canonical = _join(sorted([*query.items(), *encoded]))
    to_sign = "POST&%2F&" + canonical.replace("%", "%25").replace("=", "%3D").replace("&", "%26")
    signature = base64.b64encode(hmac.digest(f"{secret}&".encode(), to_sign.encode(), "sha1")).decode()
    body = _join(encoded).replace("%20", "+").encode("ascii")
    return f"/?{_join(query.items())}&Signature={_encode(signature)}", body


def _encode(text: str) -> str:
    """Percent-encode all but unreserved characters, as `urllib.parse.quote` does byte by byte."""
    if text.isalnum() and text.isascii():
        return text
    return _RESERVED.sub(_percent, text).replace(" ", "%20")


def _percent(match: re.Match[str]) -> str:
    return "%" + match[0].encode().hex("%").upper()


_RESERVED = re.compile(r"[^A-Za-z0-9_.~ -]+")
"""Reserved characters except the space: spaces are frequent and single, and `str.replace` is faster."""


def _join(pairs: Iterable[tuple[str, str]]) -> str:
    return "&".join([f"{name}={text}" for name, text in pairs])


def plan(
    message: PushMessage | InvalidMessage,
    settings: Settings,
    scope: str,
    index: int = 0,
    *,
    first_moment: float | None = None,
    too_late: tuple[Fault, ...] = (),
    may_have_arrived: bool = False,
) -> tuple[PushRequest, ...] | InvalidMessage:
    """Return the requests of a message, or its faults; never raises. Nothing is sent.

    Each request has at most ten targets, in the order of `targets.message_ids_of`. A message has faults if
    neither it nor the settings name the app or workspace, or if the API version of the settings lacks one of
    its parameters.

    Args:
        message: The message, or why it could not be read; if it names no app, workspace or tenant, those of
            the settings are used.
        settings: Defaults and API version.
        scope: Basis of the message ids (see `targets.message_ids_of`).
        index: Index of the message among those of the same event.
        first_moment: When the push was requested, in Unix seconds; now by default. Its validity began then.
        too_late: As in `PushRequest`.
        may_have_arrived: As in `PushRequest`.
    """
    if isinstance(message, InvalidMessage):
        return message
    try:
        common = _parameters(message, settings)
        if settings.api_version is ApiVersion.V2019_08_21:
            common = _restrict_to_2019(common)
    except InvalidMessage as error:
        return InvalidMessage(error.faults, message.recipients)
    expires = None
    if not message.strategy_type:
        expires = (time.time() if first_moment is None else first_moment) + message.expired_seconds
    return tuple(
        PushRequest(
            common=common,
            targets=portion,
            message=message,
            expires=expires,
            too_late=too_late,
            may_have_arrived=may_have_arrived,
        )
        for portion in slices(message_ids_of(message, scope, index))
    )


def _parameters(message: PushMessage, settings: Settings) -> dict[str, str]:
    defaults = settings.defaults
    parameters: dict[str, str] = {}
    faults = []
    given = message.model_fields_set | _WITH_DEFAULT
    for name, alias, wire_name in _FIELDS:
        if name not in given:
            continue
        value = getattr(message, name)
        if value is None:
            value = defaults.get(alias)
        if value is None:
            if alias in _REQUIRED:
                faults.append(unset_fault(alias))
        elif value != "":  # an empty tenant means none, regardless of the settings
            parameters[wire_name] = _text(value)
    if not is_encodable("".join(parameters.values())):
        faults += [
            Fault(alias, "contains an unpaired surrogate, which is not a character")
            for _, alias, wire_name in _FIELDS
            if not is_encodable(parameters.get(wire_name, ""))
        ]
    if faults:
        raise InvalidMessage(faults)
    if message.strategy_type and message.strategy_content is not None:
        parameters["StrategyContent"] = _dump_json(
            message.strategy_content.used_fields(message.strategy_type)
        )
    return parameters


_REQUIRED = {"appId", "workspaceId"}
_WITH_DEFAULT = {"push_style", "app_id", "workspace_id", "tenant_id"}
"""Attributes with a default, documented or from the settings."""


def _restrict_to_2019(parameters: dict[str, str]) -> dict[str, str]:
    old, faults = {}, []
    for wire_name, text in parameters.items():
        alias = wire_name[0].lower() + wire_name[1:]
        if alias in PARAMETERS_2019:
            old[wire_name] = text
        # pushStyle is documented as required, with default 0: omitting 0 changes nothing.
        elif (alias, text) != ("pushStyle", "0"):
            faults.append(
                Fault(alias, "is not supported by API version 2019-08-21: set MPAAS_API_VERSION=2020-10-28")
            )
    if faults:
        raise InvalidMessage(faults)
    return old


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(int(value))
    return _dump_json(value)


def _dump_json(value: Any) -> str:
    """Write JSON as both SDKs do: compact, non-ASCII kept (pushsimple.md: Version 2020-10-28)."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
