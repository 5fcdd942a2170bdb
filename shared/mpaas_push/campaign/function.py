"""Handles an event of the campaigns' function: a plan, a piece, a start, or an upload that starts one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.control import Controls
from mpaas_push.campaign.errors import InvalidCampaign
from mpaas_push.campaign.model import read_document
from mpaas_push.campaign.objects import OssObjects
from mpaas_push.campaign.store import CampaignStore, store_of
from mpaas_push.campaign.tasks import PieceTask, PlanTask, TaskQueue, start_of, task_of
from mpaas_push.campaign.worker import work_on
from mpaas_push.client import PushClient
from mpaas_push.errors import Fault, UnreadablePayload
from mpaas_push.invocation import Invocation, sibling_sender
from mpaas_push.log import function_log
from mpaas_push.settings import IfDown, Settings
from mpaas_push.triggers.destination import unwrap_failed_invocation
from mpaas_push.triggers.oss import events_of
from mpaas_push.triggers.record import UnreadableElement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpaas_push.credentials import Credentials

__all__ = ["CampaignTools", "handle"]

DOCUMENT_BYTES = 1 << 20
"""Size of the largest document that is read from OSS."""
UPLOADS = "/campaigns/"
"""Folder whose uploaded documents start campaigns, at the top of the bucket or below a stage's prefix."""
_ENDINGS = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class CampaignTools:
    """The means to start and steer campaigns in one invocation.

    Attributes:
        settings: Settings of the function.
        invocation: Keys and deadline.
        function: The campaigns' function if `PUSH_CAMPAIGN_FUNCTION` is not set.
    """

    settings: Settings
    invocation: Invocation
    function: str | None = None

    @cached_property
    def store(self) -> CampaignStore:
        """The state of the campaigns, shared by their function and all that start and steer them.

        Raises:
            StoreUnavailable: no Redis is configured.
        """
        named, own = self.settings.campaign_function, self.invocation.sender
        return _shared_store(sibling_sender(own, named) if named else own)

    @cached_property
    def queue(self) -> TaskQueue:
        """The queue of the campaigns' function."""
        return TaskQueue.of(self.settings, self.invocation, self.function)

    @cached_property
    def objects(self) -> OssObjects:
        """The objects of OSS."""
        return _objects(self.invocation.credentials).within(self.invocation.deadline)

    @property
    def controls(self) -> Controls:
        """What starts and steers campaigns."""
        return Controls(self.settings, self.store, self.queue)


def handle(event: bytes, context: object) -> dict[str, Any]:
    """Handle an event.

    Raises:
        UnreadablePayload: this function does not handle such an event.
        CampaignError: a campaign cannot be started, or a piece was not finished.
    """
    # A message of the failed queue holds an event to process again.
    event, invocation = unwrap_failed_invocation(event, Invocation.of(context))
    client = _client()
    function = getattr(getattr(context, "function", None), "name", None)
    tools = CampaignTools(client.settings, invocation, function)
    task = task_of(event)
    if isinstance(task, PlanTask):
        return {"submitted": tools.controls.submit_pieces(task)}
    if isinstance(task, PieceTask):
        ended = work_on(
            task,
            client=client,
            invocation=invocation,
            store=tools.store,
            objects=tools.objects,
            queue=tools.queue,
            rate=Settings.from_env().pace,
        )
        return {"campaign": task.campaign, "piece": task.piece, "turn": task.turn, "ended": ended}
    requested = start_of(event)
    documents = [requested] if requested is not None else [*_uploaded_documents(event, tools.objects)]
    started = [tools.controls.start(document, tools.objects).stored for document in documents]
    return {"started": [stored.fields["id"] for stored in started]}


@lru_cache(maxsize=1)
def _shared_store(sender: str) -> CampaignStore:
    """Return the store of a function's campaigns, kept by this instance.

    Raises:
        StoreUnavailable: no Redis is configured.
    """
    return store_of(Settings.from_env(), sender)


@lru_cache(maxsize=1)
def _objects(credentials: Credentials) -> OssObjects:
    """Return this instance's connections to OSS, re-created when its keys change."""
    return OssObjects(Settings.from_env(), credentials)


@lru_cache(maxsize=1)
def _client() -> PushClient:
    """Return the client of this instance.

    While the ledger is down, blocks wait: without it, a repeated block would be sent twice.
    """
    settings = Settings.from_env()
    function_log(settings.log_level)
    # Each block reserves its requests before it is sent, so the client must not count them.
    return PushClient(settings.model_copy(update={"ledger_if_down": IfDown.FAIL, "pace": None}))


def _uploaded_documents(event: bytes, objects: OssObjects) -> Iterator[Any]:
    """Yield the documents that were uploaded.

    Raises:
        UnreadablePayload: the event is not one of OSS.
        InvalidCampaign: a document cannot be read, or is too long.
    """
    for entry in events_of(event):
        if isinstance(entry, UnreadableElement):
            raise UnreadablePayload(str(entry))
        try:
            bucket = str(entry.data["oss"]["bucket"]["arn"]).rpartition(":")[2]
            key = str(entry.data["oss"]["object"]["key"])
        except (KeyError, TypeError):
            raise UnreadablePayload("expected a task of a campaign, or a native event of OSS") from None
        if UPLOADS not in f"/{key}" or not key.lower().endswith(_ENDINGS):
            continue
        info = objects.info(bucket, key)
        if info.size > DOCUMENT_BYTES:
            text = f"{key} has {info.size} bytes; a campaign has at most {DOCUMENT_BYTES}"
            raise InvalidCampaign([Fault("", text)])
        yield read_document(objects.read(bucket, key, 0, info.size, info.etag))
