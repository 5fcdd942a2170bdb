"""`s` with component fc3 0.1.22, as it behaves against the API (docs/reference/deploy-component.md).

Kept are its ways that a deployment has to reckon with: it masks the account in what it prints of an unchanged
layer, passes over every trigger behind an unchanged one of EventBridge, never updates a topic trigger, prints
each function with its environment, keeps that in a log file, and ends with 0 although a removal was refused.
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from deploy.archive import crc64

CLOUD = os.environ["DEPLOY_CLOUD"]
CONFIGURATION = {"triggers", "asyncInvokeConfig", "concurrencyConfig", "code", "region"}


def call(method: str, path: str, body: Any = None) -> dict[str, Any] | None:
    """Call the API; None where there is no such thing."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(f"{CLOUD}/2023-03-30/{path}", data, method=method)) as answer:
            text = answer.read()
            return json.loads(text) if text else {}
    except HTTPError as error:
        if error.code == 404:
            return None
        raise


def say(text: str) -> None:
    print(text)
    with (Path(os.environ["HOME"]) / ".s" / "logs" / "s.log").open("a") as log:
        log.write(text + "\n")


def publish(arguments: list[str]) -> None:
    given = dict(zip(arguments[4::2], arguments[5::2], strict=False))
    layer, package = given["--layer-name"], Path(given["--code"]).read_bytes()
    versions = (call("GET", f"layers/{layer}/versions") or {})["layers"]
    if versions and versions[-1]["codeChecksum"] == crc64(package):
        account = versions[-1]["layerVersionArn"].split(":")[3]
        say(versions[-1]["layerVersionArn"].replace(account, account[:3] + "******" + account[-3:]))
        return
    code = {"zipFile": base64.b64encode(package).decode()}
    say(json.dumps(call("POST", f"layers/{layer}/versions", {"code": code})))


def zipped(folder: Path) -> str:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as package:
        for path in sorted(folder.rglob("*.*")):
            package.write(path, path.relative_to(folder))
    return base64.b64encode(held.getvalue()).decode()


def deploy(props: dict[str, Any], only: str | None) -> None:
    name = props["functionName"]
    if only is None:
        function = {key: value for key, value in props.items() if key not in CONFIGURATION}
        body = {**function, "code": {"zipFile": zipped(Path(props["code"]))}}
        if call("GET", f"functions/{name}") is None:
            call("POST", "functions", body)
        else:
            call("PUT", f"functions/{name}", body)
        say(json.dumps(function))
    remote = {
        each["triggerName"]: each for each in (call("GET", f"functions/{name}/triggers") or {})["triggers"]
    }
    for trigger in props.get("triggers", []):
        if only is not None and trigger["triggerName"] != only:
            continue
        body = trigger | {"triggerConfig": json.dumps(trigger["triggerConfig"])}
        there = remote.get(trigger["triggerName"])
        if there is None:
            call("POST", f"functions/{name}/triggers", body)
        elif trigger["triggerType"] == "mns_topic":
            continue
        elif (
            trigger["triggerType"] == "eventbridge"
            and json.loads(there["triggerConfig"]) == trigger["triggerConfig"]
        ):
            say(f"Skipping the deployment of the eventbridge trigger {trigger['triggerName']}")
            break
        else:
            call("PUT", f"functions/{name}/triggers/{trigger['triggerName']}", body)
    if only is None:
        call("PUT", f"functions/{name}/async-invoke-config", props["asyncInvokeConfig"])
        if "concurrencyConfig" in props:
            call("PUT", f"functions/{name}/concurrency", props["concurrencyConfig"])


def remove(name: str) -> None:
    try:
        for trigger in ((call("GET", f"functions/{name}/triggers") or {}).get("triggers")) or ():
            call("DELETE", f"functions/{name}/triggers/{trigger['triggerName']}")
        call("DELETE", f"functions/{name}")
    except HTTPError as error:
        say(f"remove function error: {error}")  # and it goes on, and ends with 0


def main(arguments: list[str]) -> int:
    (Path(os.environ["HOME"]) / ".s" / "logs").mkdir(parents=True, exist_ok=True)
    access = json.loads(os.environ[arguments[arguments.index("-a") + 1]])
    say(f"account {access['AccountID']}")
    if arguments[:4] == ["cli", "fc3", "layer", "publish"]:
        publish(arguments)
        return 0
    from project.descriptor import Descriptor  # most calls publish a layer, and it takes long to import

    descriptor = Descriptor(Path(arguments[arguments.index("-t") + 1]))
    resources = (
        [arguments[0]] if arguments[0] in descriptor.frame.resources else [*descriptor.frame.resources]
    )
    action = next(each for each in arguments if each in {"deploy", "remove", "logs"})
    only = arguments[arguments.index("--trigger") + 1] if "--trigger" in arguments else None
    for resource in resources:
        props = descriptor.resolved_props(resource, os.environ)
        if action == "deploy":
            deploy(props, only)
        elif action == "remove":
            remove(props["functionName"])
        else:
            remote = (call("GET", f"functions/{props['functionName']}") or {}).get("logConfig")
            if json.dumps(props["logConfig"]) != json.dumps(remote, sort_keys=True):  # by the order of keys
                say("warning: the log configuration differs from the one in the cloud")
            say(f"logs of {props['functionName']}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except HTTPError as error:
        say(f"deploy failed: {error.code} {error.read().decode()}")
        sys.exit(100)
