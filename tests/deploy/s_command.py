"""A stand-in for `s` with component fc3 0.1.22, which calls the API (docs/reference/deploy-component.md).

It behaves like `s` where a deployment depends on it: it masks the account when it prints an unchanged layer, skips
every trigger after an unchanged one of EventBridge, never updates a topic trigger, prints each function with its
environment and the changes there, writes all that to a log file, and exits with 0 although a removal was refused.

The command is a process that starts quickly: it only passes its arguments and environment to the process of the
tests, which has already imported everything.
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
"""The properties that it sends if the descriptor has no VPC."""
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
    """Write the command `s`, which works within the context."""

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
    """A skipped new trigger does not exist, so its properties cannot be shown and later functions are not deployed."""


class Command:
    """One run of `s`.

    Attributes:
        printed: Its output.
    """

    def __init__(self, arguments: list[str], environment: dict[str, str], folder: Path) -> None:
        self.printed = ""
        self._arguments = arguments
        self._environment = environment
        self._folder = folder
        self._logs = Path(environment["HOME"]) / ".s" / "logs"

    def run(self) -> int:
        """Run the command and return the exit code."""
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
        action = next(argument for argument in self._arguments if argument in {"deploy", "remove", "logs"})
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
        """Call the API; return None if the object does not exist."""
        data = None if body is None else json.dumps(body).encode()
        url = f"{self._environment['DEPLOY_CLOUD']}/2023-03-30/{path}"
        try:
            with urlopen(Request(url, data, method=method)) as response:
                text = response.read()
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
            deployed = self._call("GET", f"functions/{name}")
            if deployed is None:
                self._call("POST", "functions", body)
            else:
                self._say_changes(deployed.get("environmentVariables") or {}, props["environmentVariables"])
                self._call("PUT", f"functions/{name}", body)
            self._say(json.dumps(function))
        listed = (self._call("GET", f"functions/{name}/triggers") or {})["triggers"]
        remote = {trigger["triggerName"]: trigger for trigger in listed}
        for trigger in props.get("triggers", []):
            if only is not None and trigger["triggerName"] != only:
                continue
            body = trigger | {"triggerConfig": json.dumps(trigger["triggerConfig"])}
            existing = remote.get(trigger["triggerName"])
            if existing is None:
                self._call("POST", f"functions/{name}/triggers", body)
            elif trigger["triggerType"] == "mns_topic":
                continue
            elif (
                trigger["triggerType"] == "eventbridge"
                and json.loads(existing["triggerConfig"]) == trigger["triggerConfig"]
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
            described = {trigger["triggerName"] for trigger in props.get("triggers", [])}
            if missing := described - {trigger["triggerName"] for trigger in listed}:
                raise TriggerNotFound(missing.pop())

    def _unbind(self, name: str) -> None:
        for vpc in (self._call("GET", f"functions/{name}/vpc-bindings") or {})["vpcIds"]:
            self._call("DELETE", f"functions/{name}/vpc-bindings/{vpc}")

    def _keep_instances(self, name: str, provision: dict[str, Any] | None) -> None:
        """Set a described `provisionConfig`; keep an undescribed one, and delete a `scalingConfig`."""
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
            self._say(f"remove function error: {error}")  # it continues, and exits with 0

    def _show_logs(self, props: dict[str, Any]) -> None:
        remote = (self._call("GET", f"functions/{props['functionName']}") or {}).get("logConfig")
        if json.dumps(props["logConfig"]) != json.dumps(
            remote, sort_keys=True
        ):  # it also compares the order of keys
            self._say("warning: the log configuration differs from the one in the cloud")
        self._say(f"logs of {props['functionName']}")


def zipped(folder: Path) -> str:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as package:
        for path in sorted(folder.rglob("*.*")):
            package.write(path, path.relative_to(folder))
    return base64.b64encode(data.getvalue()).decode()
