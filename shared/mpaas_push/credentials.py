"""The AccessKey, looked up in every invocation, since the STS keys of a function's role rotate."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Misconfigured
from mpaas_push.invisible import invisible_character

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Credentials", "stray_characters"]


@dataclass(frozen=True)
class Credentials:
    """An AccessKey, with the STS token of a temporary one. Its repr shows none of the three.

    Attributes:
        source: Where it was found: ``MPAAS_AK_ENV``, ``context.credentials`` or
            ``ALIBABA_CLOUD_ACCESS_KEY_ID``.
    """

    access_key_id: str = field(repr=False)
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    source: str = ""

    @classmethod
    def resolve(cls, context: object = None, env: Mapping[str, str] | None = None) -> Credentials:
        """Return the first complete AccessKey of the three sources.

        In this order: ``MPAAS_AK_ENV`` and ``MPAAS_SK_ENV``; ``context.credentials``, which Function
        Compute provides up to Python 3.10; ``ALIBABA_CLOUD_ACCESS_KEY_ID``, ``…_SECRET`` and
        ``ALIBABA_CLOUD_SECURITY_TOKEN``, which it also provides on Python 3.12.

        Args:
            context: The context of the invocation, or None outside Function Compute.
            env: The environment; the process's own by default.

        Raises:
            Misconfigured: no source has a key, or one has only half of it; the text names the variable.
        """
        env = os.environ if env is None else env
        return (
            cls._pair(
                ("MPAAS_AK_ENV", env.get("MPAAS_AK_ENV")),
                ("MPAAS_SK_ENV", env.get("MPAAS_SK_ENV")),
                None,
            )
            or cls._of_context(getattr(context, "credentials", None))
            or cls._pair(
                ("ALIBABA_CLOUD_ACCESS_KEY_ID", env.get("ALIBABA_CLOUD_ACCESS_KEY_ID")),
                ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", env.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")),
                env.get("ALIBABA_CLOUD_SECURITY_TOKEN"),
            )
            or _raise_not_found()
        )

    @classmethod
    def _of_context(cls, keys: Any) -> Credentials | None:
        def attribute(name: str) -> str | None:
            return getattr(keys, name, None) or None

        pair = cls._pair(
            ("context.credentials.access_key_id", attribute("access_key_id")),
            ("context.credentials.access_key_secret", attribute("access_key_secret")),
            attribute("security_token"),
        )
        return pair and Credentials(
            pair.access_key_id, pair.access_key_secret, pair.security_token, "context.credentials"
        )

    @classmethod
    def _pair(
        cls, key_id: tuple[str, str | None], secret: tuple[str, str | None], token: str | None
    ) -> Credentials | None:
        """Return the key of one source, or None if the source is empty; raise if only half of it is set."""
        if key_id[1] and secret[1]:
            for name, text in (key_id, secret, ("ALIBABA_CLOUD_SECURITY_TOKEN", token)):
                if text and (flaw := stray_characters(text)):
                    raise Misconfigured(f"{name}: {flaw}", setting=name)
                if text and not text.isascii():
                    raise Misconfigured(f"{name} has characters that an AccessKey cannot have", setting=name)
            return cls(key_id[1], secret[1], token or None, key_id[0])
        if key_id[1] or secret[1]:
            present, missing = (key_id[0], secret[0]) if key_id[1] else (secret[0], key_id[0])
            raise Misconfigured(
                f"{missing} is missing but {present} is set: set both or neither", setting=missing
            )
        return None


def stray_characters(text: str) -> str | None:
    """Describe stray characters that were copied with a value; None if there are none."""
    if text.isascii() and text.isprintable() and text[:1] != " " != text[-1:]:
        return None
    if text != text.strip():
        return "begins or ends with a space or a line break: remove it"
    if not _CONTROL.isdisjoint(text):
        return "has a line break or another control character: remove it"
    if hidden := invisible_character(text):
        return f"has an invisible character ({hidden}): remove it"
    return None


_CONTROL = frozenset(map(chr, (*range(32), 127)))


def _raise_not_found() -> Credentials:
    raise Misconfigured(
        "no AccessKey found: set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET,"
        " or MPAAS_AK_ENV and MPAAS_SK_ENV; a deployed function needs a RAM role or these",
        setting="MPAAS_AK_ENV",
    )
