"""Creates the queues and the topic of a stage, and writes its policies, before the first deployment.

`python -m deploy.prepare --stage staging` writes the two policies and the role's trust policy with the names
of the stage, ready for RAM. It reads the AccessKey of an administrator from the environment. Existing queues
and topics are not changed, except that a visibility timeout shorter than a function may run is raised.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mns.mns_exception import MNSClientNetworkException, MNSExceptionBase
from mns.queue import QueueMeta
from mns.topic import TopicMeta

from deploy.layer import ROOT
from deploy.stage import read_stage
from mpaas_push.errors import Misconfigured, PushError
from project.policies import TRUST_POLICY, substitute
from project.wiring import WEEK_SECONDS, mns_queues, mns_topics, visibility_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mns.queue import Queue
    from mns.topic import Topic

    from deploy.stage import Stage

__all__ = ["filled_policies"]


def filled_policies(stage: str, env: Mapping[str, str], folder: Path = ROOT) -> dict[str, Any]:
    """Return the policies of functions and deployer, and the role's trust policy, with the stage's names."""
    values = {
        "ALIYUN::Region": env["ALIBABA_CLOUD_REGION_ID"],
        "ALIYUN::AccountId": env["ALIBABA_CLOUD_ACCOUNT_ID"],
        "AppId": env["MPAAS_APP_ID"],
        "Stage": stage,
        "UploadsBucket": env.get("UPLOADS_BUCKET") or "uploads",
    }
    files = {name: folder / "deploy" / "policies" / f"{name}.json" for name in ("function", "deployer")}
    return {name: substitute(json.loads(file.read_text("utf-8")), values) for name, file in files.items()} | {
        "trust": TRUST_POLICY
    }


def _write_policies(stage: Stage, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, policy in filled_policies(stage.name, stage.env, stage.folder).items():
        path = folder / f"{stage.name}-{name}.json"
        path.write_text(json.dumps(policy, indent=2) + "\n", "utf-8")
        print(f"policy  {path}")


def _create_queues_and_topics(stage: Stage) -> bool:
    """Create queues and topics until one fails; True if all exist now."""
    mns, functions = stage.queue_service(), stage.functions.values()
    queues, topics = mns_queues(functions), mns_topics(functions)
    hidden = visibility_seconds(functions)
    steps = [
        *(("queue", name, partial(_queue, mns.get_queue(name), hidden)) for name in sorted(queues)),
        *(("topic", name, partial(_topic, mns.get_topic(name))) for name in sorted(topics)),
    ]
    for kind, name, create in steps:
        try:
            print(f"{kind}   {name}{create()}")
        except MNSExceptionBase as error:
            text = f"{kind}   {name}: {error.type} at {stage.queue_endpoint}: {_advice(error)}"
            print(f"{text}\nnothing more was created", file=sys.stderr)
            return False
    return True


def _queue(queue: Queue, hidden: int) -> str:
    """Create a queue with a visibility timeout, or raise that of an existing one; return a note."""
    try:
        queue.create(QueueMeta(vis_timeout=hidden, msg_ttl=WEEK_SECONDS))
    except MNSExceptionBase as error:
        if not str(error.type).endswith("AlreadyExist"):
            raise
        before = queue.get_attributes().visibility_timeout
        if before >= hidden:
            return " exists with other attributes; not changed"
        queue.set_attributes(QueueMeta(vis_timeout=hidden))
        return (
            f" exists; visibility timeout raised from {before} s to {hidden} s, longer than a function runs"
        )
    return ""


def _topic(topic: Topic) -> str:
    try:
        topic.create(TopicMeta())
    except MNSExceptionBase as error:
        if not str(error.type).endswith("AlreadyExist"):
            raise
        return " exists with other attributes; not changed"
    return ""


def _advice(error: MNSExceptionBase) -> str:
    if isinstance(error, MNSClientNetworkException):
        return (
            "no response; check the network, ALIBABA_CLOUD_ACCOUNT_ID and ALIBABA_CLOUD_REGION_ID, which form"
            " the address, or PUSH_MNS_ENDPOINT"
        )
    return _ADVICE.get(str(error.type), "see the code in the manual of Simple Message Queue")


_ADVICE = {
    "AccessDenied": "the AccessKey lacks permission; use an administrator's, with its security token if any",
    "InvalidAccessKeyId": "the AccessKey does not exist; check ALIBABA_CLOUD_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check ALIBABA_CLOUD_ACCESS_KEY_SECRET: it does not match the AccessKey",
    "TimeExpired": "check the clock of this machine",
}


def main() -> int:
    """Prepare a stage; return 0, 1 if something could not be created, 2 if a setting is missing."""
    parser = argparse.ArgumentParser(prog="python -m deploy.prepare", description=__doc__)
    parser.add_argument("--stage", default="dev")
    parser.add_argument(
        "--folder", type=Path, default=ROOT, help="the project's folder; default: this repository"
    )
    parser.add_argument("--policies", type=Path, help="folder for the policies; default: build/policies")
    options = parser.parse_args()
    try:
        stage = read_stage(options.stage, options.folder.resolve())
        if faults := stage.setting_faults():
            raise Misconfigured("\n".join(["", *(f"  - {fault}" for fault in faults)]))
    except PushError as error:
        print(f"cannot prepare; nothing was created: {error}", file=sys.stderr)
        return 2
    _write_policies(stage, options.policies or stage.folder / "build" / "policies")
    try:
        return 0 if _create_queues_and_topics(stage) else 1
    except PushError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
