"""`s` with component fc3 0.1.22, as it behaves against the API (docs/reference/deploy-component.md).

Kept are its ways that a deployment has to reckon with: it masks the account in what it prints of an unchanged
layer, passes over every trigger behind an unchanged one of EventBridge, never updates a topic trigger, prints
each function with its environment and what it changes there, keeps that in a log file, and ends with 0 although a
removal was refused.

`s` is a process that starts quickly: all it does is hand its arguments and environment to the process of the tests,
which has imported everything.
"""

from __future__ import annotations

import base64
import io
import json
import socketserver
import sys
import threading
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from deploy.archive import crc64
from project.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_VPC = {"vpcConfig": {"vpcId": "", "vSwitchIds": [], "securityGroupId": ""}}
"""What it sends where the descriptor has no VPC."""
CONFIGURATION = {"triggers", "asyncInvokeConfig", "concurrencyConfig", "provisionConfig"} | {"code", "region"}
COMMAND = """\
#!{python} -IS
import json, os, socket, sys
with socket.create_connection(("127.0.0.1", {port})) as server, server.makefile("rw", encoding="utf-8") as file:
    file.write(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]) + "\\n")
    file.flush()
    printed, code = json.loads(file.readline())
print(printed, end="")
sys.exit(code)
"""


@contextmanager
def serverless_command(path: Path) -> Iterator[None]:
    """Write the command `s`, which works as long as the context lasts."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            arguments, environment, folder = json.loads(self.rfile.readline())
            command = Command(arguments, environment, Path(folder))
            code = command.run()
            self.wfile.write(json.dumps([command.printed, code]).encode() + b"\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        path.write_text(COMMAND.format(python=sys.executable, port=server.server_address[1]))
        path.chmod(0o755)
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class TriggerNotFound(Exception):
    """A trigger that was passed over is shown, and is not there: what comes after is not deployed."""


class Command:
    """One run of `s`.

    Attributes:
        printed: What it has printed.
    """

    def __init__(self, arguments: list[str], environment: dict[str, str], folder: Path) -> None:
        self.printed = ""
        self._arguments = arguments
        self._environment = environment
        self._folder = folder
        self._logs = Path(environment["HOME"]) / ".s" / "logs"

    def run(self) -> int:
        """Do what the arguments say and return the exit code."""
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            self._run()
        except HTTPError as error:
            self._say(f"deploy failed: {error.code} {error.read().decode()}")
            return 100
        except TriggerNotFound as error:
            self._say(f"TriggerNotFound: code: 404, trigger '{error}' does not exist")
            return 101
        return 0

    def _run(self) -> None:
        access = json.loads(self._environment[self._option("-a")])
        self._say(f"account {access['AccountID']}")
        if self._arguments[:4] == ["cli", "fc3", "layer", "publish"]:
            self._publish()
            return
        descriptor = Descriptor(self._folder / self._option("-t"))
        first = self._arguments[0]
        resources = [first] if first in descriptor.frame.resources else [*descriptor.frame.resources]
        action = next(each for each in self._arguments if each in {"deploy", "remove", "logs"})
        for resource in resources:
            props = descriptor.resolved_props(resource, self._environment)
            if action == "deploy":
                self._deploy(props, self._option("--trigger") if "--trigger" in self._arguments else None)
            elif action == "remove":
                self._remove(props["functionName"])
            else:
                self._show_logs(props)

    def _option(self, name: str) -> str:
        return self._arguments[self._arguments.index(name) + 1]

    def _say(self, text: str) -> None:
        self.printed += text + "\n"
        with (self._logs / "s.log").open("a") as log:
            log.write(text + "\n")

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any] | None:
        """Call the API; None where there is no such thing."""
        data = None if body is None else json.dumps(body).encode()
        url = f"{self._environment['DEPLOY_CLOUD']}/2023-03-30/{path}"
        try:
            with urlopen(Request(url, data, method=method)) as answer:
                text = answer.read()
                return json.loads(text) if text else {}
        except HTTPError as error:
            if error.code == 404:
                error.close()
                return None
            raise

    def _publish(self) -> None:
        layer, package = self._option("--layer-name"), Path(self._option("--code")).read_bytes()
        versions = (self._call("GET", f"layers/{layer}/versions") or {})["layers"]
        if versions and versions[-1]["codeChecksum"] == crc64(package):
            account = versions[-1]["layerVersionArn"].split(":")[3]
            self._say(versions[-1]["layerVersionArn"].replace(account, account[:3] + "******" + account[-3:]))
            return
        code = {"zipFile": base64.b64encode(package).decode()}
        self._say(json.dumps(self._call("POST", f"layers/{layer}/versions", {"code": code})))

    def _deploy(self, props: dict[str, Any], only: str | None) -> None:
        name = props["functionName"]
        if only is None:
            function = NO_VPC | {key: value for key, value in props.items() if key not in CONFIGURATION}
            body = {**function, "code": {"zipFile": zipped(self._folder / props["code"])}}
            there = self._call("GET", f"functions/{name}")
            if there is None:
                self._call("POST", "functions", body)
            else:
                self._say_changes(there.get("environmentVariables") or {}, props["environmentVariables"])
                self._call("PUT", f"functions/{name}", body)
            self._say(json.dumps(function))
        listed = (self._call("GET", f"functions/{name}/triggers") or {})["triggers"]
        remote = {each["triggerName"]: each for each in listed}
        for trigger in props.get("triggers", []):
            if only is not None and trigger["triggerName"] != only:
                continue
            body = trigger | {"triggerConfig": json.dumps(trigger["triggerConfig"])}
            there = remote.get(trigger["triggerName"])
            if there is None:
                self._call("POST", f"functions/{name}/triggers", body)
            elif trigger["triggerType"] == "mns_topic":
                continue
            elif (
                trigger["triggerType"] == "eventbridge"
                and json.loads(there["triggerConfig"]) == trigger["triggerConfig"]
            ):
                self._say(f"Skipping the deployment of the eventbridge trigger {trigger['triggerName']}")
                break
            else:
                self._call("PUT", f"functions/{name}/triggers/{trigger['triggerName']}", body)
        if only is None:
            self._call("PUT", f"functions/{name}/async-invoke-config", props["asyncInvokeConfig"])
            self._keep_instances(name, props.get("provisionConfig"))
            self._unbind(name)
            if "concurrencyConfig" in props:
                self._call("PUT", f"functions/{name}/concurrency", props["concurrencyConfig"])
            listed = (self._call("GET", f"functions/{name}/triggers") or {})["triggers"]
            described = {each["triggerName"] for each in props.get("triggers", [])}
            if lacking := described - {each["triggerName"] for each in listed}:
                raise TriggerNotFound(lacking.pop())

    def _unbind(self, name: str) -> None:
        for vpc in (self._call("GET", f"functions/{name}/vpc-bindings") or {})["vpcIds"]:
            self._call("DELETE", f"functions/{name}/vpc-bindings/{vpc}")

    def _keep_instances(self, name: str, provision: dict[str, Any] | None) -> None:
        """Set what is described; a `provisionConfig` that is not described stays, a `scalingConfig` goes."""
        if provision:
            arrays: dict[str, Any] = {"targetTrackingPolicies": [], "scheduledActions": []}
            self._call("PUT", f"functions/{name}/provision-config", arrays | provision)
        elif self._call("GET", f"functions/{name}/scaling-config"):
            self._call("DELETE", f"functions/{name}/scaling-config")

    def _say_changes(self, before: dict[str, str], after: dict[str, str]) -> None:
        for key in sorted(key for key in before if before[key] != after.get(key)):
            self._say(f"{key}: {before[key]} => {after.get(key)}")

    def _remove(self, name: str) -> None:
        try:
            listed = self._call("GET", f"functions/{name}/triggers") or {}
            for trigger in listed.get("triggers") or ():
                self._call("DELETE", f"functions/{name}/triggers/{trigger['triggerName']}")
            self._call("DELETE", f"functions/{name}")
        except HTTPError as error:
            self._say(f"remove function error: {error}")  # and it goes on, and ends with 0

    def _show_logs(self, props: dict[str, Any]) -> None:
        remote = (self._call("GET", f"functions/{props['functionName']}") or {}).get("logConfig")
        if json.dumps(props["logConfig"]) != json.dumps(remote, sort_keys=True):  # by the order of keys
            self._say("warning: the log configuration differs from the one in the cloud")
        self._say(f"logs of {props['functionName']}")


def zipped(folder: Path) -> str:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as package:
        for path in sorted(folder.rglob("*.*")):
            package.write(path, path.relative_to(folder))
    return base64.b64encode(held.getvalue()).decode()
