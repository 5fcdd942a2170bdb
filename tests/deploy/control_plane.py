"""A stand-in for the cloud's control plane on loopback: the calls of a deployment to Function Compute, and those
that read the account, roles, Log Service, buckets and queues.

Its state is in plain dictionaries, which tests read, and change as somebody in the console would. `denied` has
the actions that are refused with 403.
"""

from __future__ import annotations

import base64
import copy
import json
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from deploy.archive import crc64

__all__ = ["ACCOUNT", "ControlPlane", "Server"]

ACCOUNT = "1000000000000000"
REGION = "cn-hangzhou"
_NUMBERS = (
    "ActiveMessages", "CreateTime", "DelayMessages", "DelaySeconds", "InactiveMessages", "LastModifyTime",
    "MaximumMessageSize", "MessageRetentionPeriod", "PollingWaitSeconds", "VisibilityTimeout",
)  # fmt: skip
_WEEK = 7 * 24 * 3600
_checksum = lru_cache(maxsize=32)(crc64)  # slow, and most tests deploy the same packages


def _queue(attributes: dict[str, int]) -> bytes:
    parts = ['<Queue xmlns="http://mns.aliyuncs.com/doc/v1/"><QueueName>q</QueueName>']
    parts += [f"<{name}>{attributes.get(name, 1)}</{name}>" for name in _NUMBERS]
    return "".join([*parts, "<LoggingEnabled>False</LoggingEnabled></Queue>"]).encode()


_TOPIC = (
    b'<Topic xmlns="http://mns.aliyuncs.com/doc/v1/"><TopicName>t</TopicName><MessageCount>0</MessageCount>'
    b"<CreateTime>1</CreateTime><LastModifyTime>1</LastModifyTime><MaximumMessageSize>65536</MaximumMessageSize>"
    b"<MessageRetentionPeriod>86400</MessageRetentionPeriod><LoggingEnabled>False</LoggingEnabled></Topic>"
)
TRUST_POLICY = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["fc.aliyuncs.com"]}}
"""The statement that allows Function Compute to assume a role."""
MNS_ERROR = (
    '<Error xmlns="http://mns.aliyuncs.com/doc/v1/"><Code>CODE</Code><Message>m</Message>'
    "<RequestId>1-x</RequestId><HostId>h</HostId></Error>"
)


class Refused(Exception):
    """An error of the API."""

    def __init__(self, status: int, code: str) -> None:
        self.status, self.code = status, code
        super().__init__(code)


class Server(ThreadingHTTPServer):
    """The server of all control planes of a process, one after the other, so that clients can keep their connections.

    Attributes:
        plane: The present control plane.
    """

    request_queue_size = (
        128  # the preflight opens 20 connections at once; beyond the default of 5, each waits a second
    )
    plane: ControlPlane

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for headers and body: the client delays its acknowledgement of a first one
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length)
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        action = self.headers.get("x-acs-action") or query.get("Action") or ""
        plane = self.server.plane
        plane.signatures.append(self.headers.get("Authorization") or query.get("AccessKeyId") or "")
        host = str(url.hostname or self.headers.get("Host"))
        of_mns = url.path.startswith(("/queues", "/topics"))
        try:
            status, body = 200, plane.respond(self.command, host, unquote(url.path), query, action, data)
        except Refused as error:
            status = error.status
            body = {
                "Code": error.code,
                "Message": "refused",
                "RequestId": "1-x",
                "errorCode": error.code,
            }
            if of_mns:
                body = MNS_ERROR.replace("CODE", error.code).encode()
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "text/xml" if of_mns else "application/json",
            "Content-Length": str(len(text)),
            "x-mns-request-id": "1-x",
            "x-log-requestid": "1-x",
        }.items():
            self.send_header(name, value)
        if of_mns:  # its SDK never closes a connection
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = _handle


class ControlPlane:
    """A control plane, which receives the server's requests until the next one is created."""

    def __init__(self, server: Server) -> None:
        self.functions: dict[str, dict[str, Any]] = {}
        self.code: dict[str, bytes] = {}
        self.triggers: dict[str, dict[str, dict[str, Any]]] = {}
        self.asynchronous: dict[str, dict[str, Any]] = {}
        self.reserved: dict[str, int] = {}
        self.provisioned: dict[str, dict[str, Any]] = {}
        self.scaling: dict[str, dict[str, Any]] = {}
        self.bindings: dict[str, list[str]] = {}
        self.versions: dict[str, list[dict[str, Any]]] = {}
        self.aliases: dict[str, dict[str, dict[str, Any]]] = {}
        self.layers: dict[str, list[dict[str, Any]]] = {}
        self.roles = {"mpaas-push-dev": [TRUST_POLICY], "mpaas-push-staging": [TRUST_POLICY]}
        for role in ("aliyunmnsnotificationrole", "aliyunosseventnotificationrole"):
            self.roles[role] = []
        self.log_projects = {"mpaas-push-dev": {"functions"}, "mpaas-push-staging": {"functions"}}
        self.buses = {"default"}
        self.deliveries: dict[str, str] = {}
        self.buckets = {"our-uploads"}
        self.service_roles = True
        self.queues_exist = True
        self.queue = {"VisibilityTimeout": 90, "MessageRetentionPeriod": _WEEK}
        self.policies: dict[str, str] = {}
        self.account = ACCOUNT
        self.refuses_unchanged = False
        self._published: dict[str, Any] = {}
        self.denied: set[str] = set()
        self.calls: list[str] = []
        self.signatures: list[str] = []
        self.url = f"http://127.0.0.1:{server.server_port}"
        server.plane = self

    def state(self) -> dict[str, Any]:
        """Return a copy of the state."""
        return copy.deepcopy({name: value for name, value in vars(self).items() if name[0] != "_"})

    def restore(self, state: dict[str, Any]) -> None:
        """Replace the state with that of another control plane."""
        vars(self).update(copy.deepcopy(state))

    def respond(
        self, method: str, host: str, path: str, query: dict[str, str], action: str, data: bytes
    ) -> dict[str, Any] | bytes:
        if path.startswith("/2023-03-30/"):
            return self._function_compute(method, path.removeprefix("/2023-03-30/").split("/"), data)
        if path.startswith("/code/"):
            return self.code[path.removeprefix("/code/")]
        if action:
            return self._rpc(action, query | dict(parse_qsl(data.decode())))
        if path.startswith(("/queues/", "/topics/")):
            return self._mns(path)
        if ".log." in host or host.endswith("log.aliyuncs.com"):
            project = host.split(".", maxsplit=1)[0]
            if project not in self.log_projects:
                raise Refused(404, "ProjectNotExist")
            if path.startswith("/logstores/"):
                self._allow("GetLogStore")
                if path.removeprefix("/logstores/") not in self.log_projects[project]:
                    raise Refused(404, "LogStoreNotExist")
                return {"logstoreName": path.removeprefix("/logstores/")}
            return {"projectName": project}
        if "location" in query or path.strip("/") in self.buckets | {"our-uploads"}:
            if path.strip("/") not in self.buckets:
                raise Refused(404, "NoSuchBucket")
            return b"<LocationConstraint>oss-cn-hangzhou</LocationConstraint>"
        raise Refused(404, "InvalidPath")

    def _allow(self, action: str) -> None:
        self.calls.append(action)
        if action in self.denied:
            raise Refused(403, "AccessDenied")

    def _mns(self, path: str) -> bytes:
        kind = "Queue" if path.startswith("/queues/") else "Topic"
        self._allow(f"Get{kind}Attributes")
        if not self.queues_exist:
            raise Refused(404, f"{kind}NotExist")
        return _queue(self.queue) if kind == "Queue" else _TOPIC

    def _rpc(self, action: str, form: dict[str, str]) -> dict[str, Any]:
        self._allow(action)
        if action == "GetCallerIdentity":
            return {"AccountId": self.account, "RequestId": "1-x"}
        if action == "GetRole":
            if form["RoleName"] not in self.roles:
                raise Refused(404, "EntityNotExist.Role")
            trust = json.dumps({"Version": "1", "Statement": self.roles[form["RoleName"]]})
            role = {"RoleName": form["RoleName"], "AssumeRolePolicyDocument": trust}
            return {"Role": role, "RequestId": "1-x"}
        if action == "ListPoliciesForRole":
            names = [{"PolicyName": name, "PolicyType": "Custom"} for name in self.policies]
            return {"Policies": {"Policy": names}, "RequestId": "1-x"}
        if action == "GetPolicy":
            document = self.policies[form["PolicyName"]]
            return {"DefaultPolicyVersion": {"PolicyDocument": document}, "RequestId": "1-x"}
        if action == "CheckServiceLinkedRoleExistence":
            return {"Exists": self.service_roles, "RequestId": "1-x"}
        if action == "GetEventBus":
            if form["EventBusName"] not in self.buses:
                raise Refused(409, "EventBusNotExist")
            return {"Code": "Success", "Success": True, "Data": {"EventBusName": form["EventBusName"]}}
        if action in {"GetEventStreaming", "GetRule"}:
            name = form.get("EventStreamingName") or form["RuleName"]
            if name not in self.deliveries:  # with status 200, as such an API may
                return {"Code": "EventStreamingNotExist", "Success": False}
            return {"Code": "Success", "Success": True, "Data": {"Status": self.deliveries[name]}}
        raise Refused(404, "InvalidAction")

    def _function_compute(self, method: str, parts: list[str], data: bytes) -> dict[str, Any] | bytes:
        body = json.loads(data) if data else {}
        if parts[0] == "layers":
            return self._layers(method, parts[1], parts[3:], body)
        if parts == ["functions"]:
            if method == "GET":
                self._allow("ListFunctions")
                return {"functions": [self._shown(name) for name in self.functions]}
            self._allow("CreateFunction")
            name = body["functionName"]
            self.code[name] = base64.b64decode(body.pop("code")["zipFile"])
            self.functions[name] = body
            return self._shown(name)
        name, rest = parts[1], parts[2:]
        if name not in self.functions:
            raise Refused(404, "FunctionNotFound")
        if not rest:
            return self._function(method, name, body)
        kind, rest = rest[0], rest[1:]
        if kind == "code":
            self._allow("GetFunctionCode")
            return {"url": f"{self.url}/code/{name}", "checksum": _checksum(self.code[name])}
        if kind == "triggers":
            return self._triggers(method, name, rest, body)
        if kind == "async-invoke-config":
            return self._setting(method, "FunctionAsyncInvokeConfig", self.asynchronous, name, body)
        if kind == "concurrency":
            return self._concurrency(method, name, body)
        if kind in {"provision-config", "scaling-config"}:
            return self._instances(method, kind, name, body)
        if kind == "versions":
            return self._versions(method, name, rest, body)
        if kind == "vpc-bindings":
            return self._bindings(method, name, rest)
        return self._aliases(method, name, rest, body)

    def _bindings(self, method: str, name: str, rest: list[str]) -> dict[str, Any] | bytes:
        self._allow({"GET": "ListVpcBindings", "DELETE": "DeleteVpcBinding"}[method])
        if method == "DELETE":
            self.bindings[name].remove(rest[0])
            return b""
        return {"vpcIds": self.bindings.get(name, [])}

    def _function(self, method: str, name: str, body: dict[str, Any]) -> dict[str, Any] | bytes:
        self._allow({"GET": "GetFunction", "PUT": "UpdateFunction", "DELETE": "DeleteFunction"}[method])
        if method == "DELETE":
            if any(
                resources.get(name)
                for resources in (self.triggers, self.aliases, self.versions, self.provisioned, self.scaling)
            ):
                raise Refused(412, "FunctionNotEmpty")
            del self.functions[name]
            return b""
        if method == "PUT":
            if code := body.pop("code", None):
                self.code[name] = base64.b64decode(code["zipFile"])
            self.functions[name] |= body
        return self._shown(name)

    def _shown(self, name: str) -> dict[str, Any]:
        function = self.functions[name]
        layers = [{"arn": arn, "size": 1} for arn in function.get("layers") or ()]
        added = {"functionArn": name, "state": "Active", "instanceConcurrency": 1, "disableOndemand": False}
        return {**added, **function, "layers": layers}

    def _triggers(
        self, method: str, name: str, rest: list[str], body: dict[str, Any]
    ) -> dict[str, Any] | bytes:
        triggers = self.triggers.setdefault(name, {})
        if method == "GET":
            self._allow("ListTriggers")
            # The service adds members to a trigger.
            return {
                "triggers": [
                    {"qualifier": "LATEST", "status": "Active", **trigger} for trigger in triggers.values()
                ]
            }
        if method == "DELETE":
            self._allow("DeleteTrigger")
            triggers.pop(rest[0], None)
            return b""
        self._allow("CreateTrigger" if method == "POST" else "UpdateTrigger")
        if method == "PUT":
            body.pop("triggerType", None)  # an update cannot change it
        trigger = rest[0] if rest else body["triggerName"]
        if method == "POST" and body["triggerType"] == "oss":
            self._refuse_overlapping_uploads(body)
        triggers[trigger] = triggers.get(trigger, {}) | body
        if triggers[trigger]["triggerType"] == "eventbridge":
            self._deliver(f"{name}-{trigger}", triggers[trigger])
        return triggers[trigger]

    def _refuse_overlapping_uploads(self, trigger: dict[str, Any]) -> None:
        """Refuse a second trigger for the same uploads, like OSS; here, those with the same filter."""
        for triggers in self.triggers.values():
            for existing in triggers.values():
                ours, theirs = (
                    json.loads(item["triggerConfig"]).get("filter") for item in (trigger, existing)
                )
                if existing.get("sourceArn") == trigger["sourceArn"] and ours == theirs:
                    raise Refused(409, "TriggerConflict")

    def _deliver(self, name: str, trigger: dict[str, Any]) -> None:
        """Create the rule or the stream by which EventBridge delivers to a trigger."""
        config = json.loads(trigger["triggerConfig"])
        on_bus = config["eventSourceConfig"]["eventSourceType"] == "Default"
        path = f"eventbus/default/rule/{name}" if on_bus else f"eventstreaming/{name}"
        trigger["sourceArn"] = f"acs:eventbridge:{REGION}:{self.account}:{path}"
        states = ("ENABLE", "DISABLE") if on_bus else ("RUNNING", "PAUSED")
        self.deliveries[name] = states[not config["triggerEnable"]]

    def _setting(
        self, method: str, action: str, configs: dict[str, dict[str, Any]], name: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        self._allow({"GET": "Get", "PUT": "Put", "DELETE": "Delete"}[method] + action)
        if method == "PUT":
            configs[name] = body
        if name not in configs:
            raise Refused(404, "AsyncConfigNotExists")
        return {"asyncTask": False, "createdTime": "x", **configs[name]}

    def _concurrency(self, method: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        if method == "PUT":
            self.reserved[name] = body["reservedConcurrency"]
        if name not in self.reserved:
            raise Refused(404, "ConcurrencyConfigNotFound")
        return {"reservedConcurrency": self.reserved[name]}

    def _instances(self, method: str, kind: str, name: str, body: dict[str, Any]) -> dict[str, Any] | bytes:
        action = kind.title().replace("-", "")
        configs = self.provisioned if kind == "provision-config" else self.scaling
        self._allow({"GET": "Get", "PUT": "Put", "DELETE": "Delete"}[method] + action)
        if method == "PUT":
            configs[name] = body
        if method == "DELETE":
            configs.pop(name, None)
            return b""
        if name not in configs:
            raise Refused(404, f"{action}NotFound")
        target = configs[name].get("defaultTarget")
        return {"functionArn": name, "current": target, "target": target, **configs[name]}

    def _versions(
        self, method: str, name: str, rest: list[str], body: dict[str, Any]
    ) -> dict[str, Any] | bytes:
        versions = self.versions.setdefault(name, [])
        if method == "DELETE":
            versions[:] = [version for version in versions if version["versionId"] != rest[0]]
            return b""
        if method == "POST":
            self._allow("PublishFunctionVersion")
            state = (self.functions[name], self.code[name])
            if self.refuses_unchanged and versions and self._published.get(name) == state:
                raise Refused(409, "VersionPublishError")
            self._published[name] = copy.deepcopy(state)
            number = str(1 + max((int(version["versionId"]) for version in versions), default=0))
            versions.append({"versionId": number, "description": body.get("description", "")})
            return versions[-1]
        self._allow("ListFunctionVersions")
        return {"versions": list(reversed(versions)), "direction": "BACKWARD"}

    def _aliases(
        self, method: str, name: str, rest: list[str], body: dict[str, Any]
    ) -> dict[str, Any] | bytes:
        aliases = self.aliases.setdefault(name, {})
        if method == "GET" and not rest:
            self._allow("ListAliases")
            return {"aliases": [*aliases.values()]}
        alias = rest[0] if rest else body["aliasName"]
        if method == "DELETE":
            aliases.pop(alias, None)
            return b""
        if method == "GET" and alias not in aliases:
            raise Refused(404, "AliasNotFound")
        if method in {"POST", "PUT"}:
            self._allow("CreateAlias" if method == "POST" else "UpdateAlias")
            aliases[alias] = aliases.get(alias, {"aliasName": alias}) | body
        return aliases[alias]

    def _layers(
        self, method: str, layer: str, rest: list[str], body: dict[str, Any]
    ) -> dict[str, Any] | bytes:
        versions = self.layers.setdefault(layer, [])
        if method == "GET":
            self._allow("ListLayerVersions")
            return {"layers": list(versions)}
        if method == "DELETE":
            self._allow("DeleteLayerVersion")
            versions[:] = [version for version in versions if str(version["version"]) != rest[0]]
            return b""
        self._allow("CreateLayerVersion")
        number = 1 + max((version["version"] for version in versions), default=0)
        arn = f"acs:fc:{REGION}:{self.account}:layers/{layer}/versions/{number}"
        checksum = _checksum(base64.b64decode(body["code"]["zipFile"]))
        versions.append(
            {"version": number, "layerVersionArn": arn, "codeChecksum": checksum, "layerName": layer}
        )
        return versions[-1]
