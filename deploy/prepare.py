"""Makes what a stage needs before it is deployed, as far as a command can make it.

`python -m deploy.prepare --stage staging` creates the queues and the topic that the descriptor names, and
writes the two policies and the role's trust with the stage's names filled in, ready for RAM. It takes the
AccessKey of an administrator from the environment. What is there already stays as it is, but for queues that
hand a message out again while a function may still be at work on it.
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
from project.policies import TRUST, substituted
from project.wiring import mns_queues, mns_topics, visibility_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mns.queue import Queue
    from mns.topic import Topic

    from deploy.stage import Stage

__all__ = ["filled_policies"]

WEEK_SECONDS = 7 * 24 * 3600
TIMEOUT_SECONDS = 10.0
"""Longest wait for the queue service."""


def filled_policies(stage: str, env: Mapping[str, str], folder: Path = ROOT) -> dict[str, Any]:
    """Return the policies of functions and deployer, and the trust of the role, with the stage's names."""
    values = {
        "ALIYUN::Region": env["ALIBABA_CLOUD_REGION_ID"],
        "ALIYUN::AccountId": env["ALIBABA_CLOUD_ACCOUNT_ID"],
        "AppId": env["MPAAS_APP_ID"],
        "Stage": stage,
        "UploadsBucket": env.get("UPLOADS_BUCKET") or "uploads",
    }
    files = {name: folder / "deploy" / "policies" / f"{name}.json" for name in ("function", "deployer")}
    return {
        name: substituted(json.loads(file.read_text("utf-8")), values) for name, file in files.items()
    } | {"trust": TRUST}


def _written(stage: Stage, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, policy in filled_policies(stage.name, stage.env, stage.folder).items():
        path = folder / f"{stage.name}-{name}.json"
        path.write_text(json.dumps(policy, indent=2) + "\n", "utf-8")
        print(f"policy  {path}")


def _created(stage: Stage) -> bool:
    """Create queues and topics up to the first that cannot be; say whether all are there now."""
    mns, functions = stage.queue_service(), stage.functions.values()
    queues, topics = mns_queues(functions), mns_topics(functions)
    hidden = visibility_seconds(functions)
    steps = [
        *(("queue", name, partial(_queue, mns.get_queue(name), hidden)) for name in sorted(queues)),
        *(("topic", name, partial(_topic, mns.get_topic(name))) for name in sorted(topics)),
    ]
    for kind, name, make in steps:
        try:
            print(f"{kind}   {name}{make()}")
        except MNSExceptionBase as error:
            told = f"{kind}   {name}: {error.type} at {stage.queue_endpoint}: {_advice(error)}"
            print(f"{told}\nnothing more was made", file=sys.stderr)
            return False
    return True


def _queue(queue: Queue, hidden: int) -> str:
    """Create a queue that hides a message for some seconds, or make one that is there do so; say what was."""
    try:
        queue.create(QueueMeta(vis_timeout=hidden, msg_ttl=WEEK_SECONDS))
    except MNSExceptionBase as error:
        if not str(error.type).endswith("AlreadyExist"):
            raise
        found = queue.get_attributes().visibility_timeout
        if found >= hidden:
            return " is there, with other attributes; left as it is"
        queue.set_attributes(QueueMeta(vis_timeout=hidden))
        return f" is there; it hid a message for {found} s, now for {hidden} s, longer than a function runs"
    return ""


def _topic(topic: Topic) -> str:
    try:
        topic.create(TopicMeta())
    except MNSExceptionBase as error:
        if not str(error.type).endswith("AlreadyExist"):
            raise
        return " is there, with other attributes; left as it is"
    return ""


def _advice(error: MNSExceptionBase) -> str:
    if isinstance(error, MNSClientNetworkException):
        return (
            "it does not answer; check the network, and ALIBABA_CLOUD_ACCOUNT_ID and ALIBABA_CLOUD_REGION_ID,"
            " of which the address is made, or PUSH_MNS_ENDPOINT"
        )
    return _ADVICE.get(str(error.type), "look the code up in the manual of Simple Message Queue")


_ADVICE = {
    "AccessDenied": "the AccessKey may not do this; take an administrator's, and its security token if any",
    "InvalidAccessKeyId": "there is no such AccessKey; check ALIBABA_CLOUD_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check ALIBABA_CLOUD_ACCESS_KEY_SECRET: it is not that of the AccessKey",
    "TimeExpired": "check the clock of this machine",
}


def main() -> int:
    """Do it: 0 all is there; 1 something could not be made; 2 a setting is missing, nothing was made."""
    parser = argparse.ArgumentParser(prog="python -m deploy.prepare", description=__doc__)
    parser.add_argument("--stage", default="dev")
    parser.add_argument("--folder", type=Path, default=ROOT, help="the project; this one by default")
    parser.add_argument("--policies", type=Path, help="where the policies go; build/policies by default")
    options = parser.parse_args()
    try:
        stage = read_stage(options.stage, options.folder.resolve())
        if lacks := stage.lacking():
            raise Misconfigured("\n".join(["", *(f"  - {lack}" for lack in lacks)]))
    except PushError as error:
        print(f"cannot prepare; nothing was made: {error}", file=sys.stderr)
        return 2
    _written(stage, options.policies or stage.folder / "build" / "policies")
    try:
        return 0 if _created(stage) else 1
    except PushError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
