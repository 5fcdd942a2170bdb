"""A block: rows of a piece that are sent, and accounted for, together.

Rows enter; requests of at most ten targets with equal content leave, and the fate of every other row. The
same rows always become the same requests, so the ledger recognises each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.audience import InvalidRow
from mpaas_push.campaign.rendering import MissingValue, render
from mpaas_push.campaign.seen import SeenTargets
from mpaas_push.errors import InvalidMessage
from mpaas_push.message.reading import message_of
from mpaas_push.targets import TARGETS_PER_REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpaas_push.campaign.audience import Row
    from mpaas_push.campaign.model import Campaign
    from mpaas_push.message import PushMessage
    from mpaas_push.settings import Settings

__all__ = ["Block", "BlockRequest", "Composer", "Fate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one row.

    Attributes:
        start: Byte offset of its line.
        target: Its target id; empty where it could not be read.
        name: `accepted`, `refused`, `unknown`, `expired`, `invalid`, `duplicate`, `cancelled` or `failed`.
        code: Result code of mPaaS or of this library.
        text: What is wrong.
        message_id: Message id of its push, if one was sent.
    """

    start: int
    target: str
    name: str
    code: str = ""
    text: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """One request: a message to at most ten targets, and the rows that they come from.

    Attributes:
        group: The message to all rows of the block with its content.
        rows: Some of these rows, one to ten.
    """

    group: PushMessage
    rows: tuple[Row, ...]

    @property
    def message(self) -> PushMessage:
        """The message to these rows only: the content of the request."""
        return self.group.model_copy(update={"targets": tuple(row.target for row in self.rows)})


@dataclass
class Block:
    """Rows that are sent and committed together.

    Attributes:
        rows: Number of rows, including invalid ones.
        end: Byte offset of the first line after it.
        requests: The requests to send.
        fates: Fates of the rows that are in no request.
    """

    rows: int = 0
    end: int = 0
    requests: list[BlockRequest] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)

    @property
    def targets(self) -> int:
        """Number of pushes."""
        return sum(len(request.rows) for request in self.requests)


class Composer:
    """Composes rows into blocks; remembers the earlier targets of its piece."""

    def __init__(self, campaign: Campaign, settings: Settings) -> None:
        """Start without rows."""
        self._campaign = campaign
        self._settings = settings
        self._columns = sorted(campaign.placeholders | ({campaign.texts["by"]} if campaign.texts else set()))
        self._seen = SeenTargets()

    def skip(self, row: Row) -> None:
        """Record the target of a row that is already accounted for."""
        self._seen.add(row.target)

    def compose(self, rows: Sequence[Row | InvalidRow], end: int) -> Block:
        """Compose a block.

        Args:
            rows: Its rows, in the order of the file.
            end: Byte offset of the first line after them.
        """
        block = Block(rows=len(rows), end=end)
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            if isinstance(row, InvalidRow):
                block.fates.append(
                    Fate(
                        start=row.start, target=row.target, name="invalid", code="InvalidRow", text=row.reason
                    )
                )
                continue
            if not self._seen.add(row.target):
                block.fates.append(Fate(start=row.start, target=row.target, name="duplicate"))
                continue
            groups.setdefault(tuple(row.values.get(name, "") for name in self._columns), []).append(row)
        for group in self._requests_of(groups.values(), block):
            block.requests += group
        return block

    def _requests_of(self, groups: Iterable[list[Row]], block: Block) -> Iterable[list[BlockRequest]]:
        """Yield the requests for each content; rows that cannot be sent get their fate in the block."""
        contents: dict[str, tuple[Any, list[Row]]] = {}
        for rows in groups:
            try:
                payload = render(self._campaign.template_of(rows[0].values), rows[0].values)
            except MissingValue as error:
                text = f"column `{error.column}` is empty"
                block.fates += [
                    Fate(start=row.start, target=row.target, name="invalid", code="MissingValue", text=text)
                    for row in rows
                ]
                continue
            # Rows with different values have equal content if their variant uses none of these columns.
            contents.setdefault(repr(payload), (payload, []))[1].extend(rows)
        for payload, rows in contents.values():
            message = message_of({**payload, "targets": [row.target for row in rows]}, self._settings)
            if isinstance(message, InvalidMessage):
                text = str(message)[:300]
                block.fates += [
                    Fate(start=row.start, target=row.target, name="invalid", code="InvalidMessage", text=text)
                    for row in rows
                ]
                continue
            yield [BlockRequest(message, tuple(part)) for part in _tens(rows)]


def _tens(rows: Sequence[Row]) -> Iterable[Sequence[Row]]:
    for start in range(0, len(rows), TARGETS_PER_REQUEST):
        yield rows[start : start + TARGETS_PER_REQUEST]
