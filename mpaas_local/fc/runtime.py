"""The built-in Python runtime of Function Compute, a child process of `mpaas_local.fc.host`
(fc-runtime.md: Python runtime, Error semantics).

Calls and results are frames on the socket whose descriptor is the first argument. Stdout and stderr carry
only what the function prints or logs. The pipe of the second argument closes when the host ends, and this
process ends, too. This module imports nothing of the project, and the host does not import it: a function
sees what it would see on FC.

A frame is two lengths (4 bytes each, big endian), then that much JSON (the call or its result) and that much
payload (the event or the returned bytes). The first frame names the code folder and the layers; each later
one is a call whose `kind` is invoke, initialize or prestop.
"""

from __future__ import annotations

import _thread
import contextlib
import datetime as dt
import decimal
import importlib
import json
import logging
import os
import signal
import socket
import struct
import sys
import time
import traceback
from types import FrameType, SimpleNamespace, TracebackType
from typing import Any, NoReturn

TIMEOUT_EXIT = 143
"""Exit code after SIGTERM, 128 + 15 (fc-runtime.md: Instances)."""
LOG_RECORD_LIMIT = 128 * 1024
"""Maximum size, in bytes, of one log record (fc-runtime.md: Logging)."""

_LENGTHS = struct.Struct("!II")
_MARKERS = {"invoke": "Invoke", "initialize": "Initialize", "prestop": "PreStop"}
_handlers: dict[str, Any] = {}
_current = SimpleNamespace(request_id="", watcher=0)


def main() -> None:
    """Start up, then serve one call after another until the host closes the socket."""
    channel, lifeline = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    for descriptor in (channel.fileno(), lifeline):
        os.set_inheritable(descriptor, False)  # keep them from processes that the function starts
    del sys.argv[1:]
    # Not a `threading.Thread`, which the function would see in `threading.enumerate()`.
    _current.watcher = _thread.start_new_thread(_end_with_host, (lifeline,))
    setup, _ = receive(channel)
    sys.path[:] = search_path(setup["code"], setup["layers"])
    log = _log_to(os.dup(sys.stdout.fileno()))
    signal.signal(signal.SIGTERM, _dump_stacks_and_exit)
    log("FunctionCompute python3 runtime inited.")
    send(channel, {"ready": True}, b"")
    while True:
        call, event = receive(channel)
        _current.request_id = call["request_id"]
        log(f"FC {_MARKERS[call['kind']]} Start RequestId: {call['request_id']}")
        succeeded, payload = call_handler(call, event)
        if not succeeded:
            logging.getLogger().error(payload.decode())
        _flush()
        suffix = "" if succeeded else ", Error: Unhandled function error"
        log(f"FC {_MARKERS[call['kind']]} End RequestId: {call['request_id']}{suffix}")
        send(channel, {"succeeded": succeeded}, payload)


def call_handler(call: dict[str, Any], event: bytes) -> tuple[bool, bytes]:
    """Call the handler or hook; return True and its serialized result, or False and the error body
    (fc-runtime.md: Error semantics).

    Catches only `Exception`: `SystemExit` and the like end the process, as on FC.
    """
    try:
        handler = load(call["handler"])
    except LoadError as error:
        return False, error.body
    try:
        context = make_context(call)
        try:
            result = handler(event, context) if call["kind"] == "invoke" else handler(context)
        except Exception as error:  # the function's own error is the result
            # Skip the first frame, which is this function.
            trace = error.__traceback__ and error.__traceback__.tb_next
            return False, error_body(error, nested_trace(trace))
        return True, to_bytes(result) if call["kind"] == "invoke" else b""
    except Exception as error:  # not JSON serializable; on FC, too, the trace has the runtime's frame
        return False, error_body(error, nested_trace(error.__traceback__))


class LoadError(Exception):
    """The handler cannot be loaded; `body` is the error JSON with a flat `stackTrace`
    (fc-runtime.md: Error semantics).
    """

    def __init__(self, error_type: str, message: str, cause: Exception) -> None:
        super().__init__(message)
        body = {"errorMessage": message, "errorType": error_type, "stackTrace": flat_trace(cause)}
        self.body = _json(body).encode()


def load(handler: str) -> Any:
    """Import `file.method`, `package.module.method` or `folder/file.method`, once
    (fc-runtime.md: Handler).
    """
    if handler in _handlers:
        return _handlers[handler]
    try:
        module_name, function_name = handler.rsplit(".", 1)
    except ValueError as error:
        raise LoadError("InvalidHandleName", f"Invalid handler '{handler}'", error) from error
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise LoadError("ImportModuleError", f"Unable to import module '{module_name}'", error) from error
    except SyntaxError as error:
        raise LoadError("UserCodeSyntaxError", f"Syntax error in module '{module_name}'", error) from error
    except Exception as error:
        raise LoadError("UserCodeError", f"Module initialization error: '{error}'", error) from error
    try:
        _handlers[handler] = getattr(module, function_name)
    except AttributeError as error:
        message = f"Handler '{function_name}' is missing on module '{module_name}'"
        raise LoadError("HandlerNotFound", message, error) from error
    return _handlers[handler]


def search_path(code: str, layers: list[str]) -> list[str]:
    """`sys.path`: code, layers, then the interpreter's own, without the folder of this file
    (fc-runtime.md: Handler).
    """
    own_folder = __file__.rpartition("/")[0]
    site = "lib/python{}.{}/site-packages".format(*sys.version_info)
    paths = [path for path in sys.path if path != own_folder]
    return [code, *(f"{layer}/{site}" for layer in layers), *layers, *paths]


def to_bytes(result: object) -> bytes:
    """Serialize a handler's result: bytes and str unchanged, anything else as indented JSON
    (fc-runtime.md: Return value).
    """
    if isinstance(result, bytes):
        return result
    return (result if isinstance(result, str) else _json(result)).encode()


def _json(value: object) -> str:
    return json.dumps(value, default=_json_form, indent=4, sort_keys=True)


def _json_form(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    if hasattr(value, "to_json"):
        return value.to_json()
    raise TypeError(f"{value!r} is not JSON serializable")


def error_body(error: Exception, trace: list[list[str]]) -> bytes:
    """The error JSON of the Invoke API; `stackTrace` is omitted when empty
    (fc-runtime.md: Error semantics).
    """
    body: dict[str, Any] = {"errorMessage": str(error), "errorType": type(error).__name__}
    if trace:
        body["stackTrace"] = trace
    return _json(body).encode()


def nested_trace(trace: TracebackType | None) -> list[list[str]]:
    """One list per frame: its first line, split at commas, and the source line
    (fc-runtime.md: Error semantics).
    """
    frames = (frame.split("\n") for frame in traceback.format_tb(trace))
    return [[*(part.strip() for part in lines[0].split(",")), lines[1].strip()] for lines in frames]


def flat_trace(error: Exception) -> list[str]:
    """The lines of an exception without its frames; the first line is split at commas
    (fc-runtime.md: Error semantics).
    """
    first, *rest = traceback.format_exception_only(type(error), error)
    lines = [*first.replace("\n", ",").split(","), *(line for part in rest for line in part.split("\n"))]
    return [text for line in lines if (text := line.replace("^", "").strip())]


def make_context(call: dict[str, Any]) -> SimpleNamespace:
    """The `context` object of the function's runtime version (fc-runtime.md: Context)."""
    return _context_312(call) if call["runtime"] == "python3.12" else _context_310(call)


class Context310(SimpleNamespace):
    """The context up to python3.10; FC 3.0 leaves service name, log project and log store empty."""

    def to_json(self) -> str:
        """The context as JSON text, including credentials."""
        credentials, tracing = self.credentials, self.tracing
        return json.dumps(
            {
                "requestId": self.request_id,
                "credentials": {
                    "accessKeyId": credentials.access_key_id,
                    "accessKeySecret": credentials.access_key_secret,
                    "securityToken": credentials.security_token,
                },
                "function": vars(self.function),
                "service": vars(self.service),
                "region": self.region,
                "accountId": self.account_id,
                "retryCount": self.retry_count,
                "tracing": {
                    "spanContext": tracing.span_context,
                    "jaegerEndpoint": tracing.jaeger_endpoint,
                    "spanBaggages": tracing.span_baggages,
                },
            }
        )


def _context_310(call: dict[str, Any]) -> Context310:
    key_id, secret, token = call["credentials"]
    return Context310(
        request_id=call["request_id"],
        requestId=call["request_id"],
        credentials=SimpleNamespace(
            access_key_id=key_id,
            access_key_secret=secret,
            security_token=token,
            accessKeyId=key_id,
            accessKeySecret=secret,
            securityToken=token,
        ),
        function=SimpleNamespace(
            name=call["name"],
            handler=call["handler"],
            memory=call["memory"],
            timeout=f"{call['timeout']:g}",  # a string: it comes from a header
        ),
        service=SimpleNamespace(
            name="", log_project="", log_store="", qualifier="LATEST", version_id="LATEST"
        ),
        region=call["region"],
        account_id=call["account_id"],
        retry_count=call["retry_count"],
        tracing=SimpleNamespace(span_context=None, jaeger_endpoint=None, span_baggages={}),
        logger=None,  # as in an instance with one call at a time
    )


def _context_312(call: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(
        request_id=call["request_id"],
        function=SimpleNamespace(
            name=call["name"],
            handler=call["handler"],
            memory=call["memory"],
            timeout=call["timeout"],  # its type is not documented: a number here, a string above
            version_id="LATEST",
            qualifier="LATEST",
        ),
        region=call["region"],
        logger=logging.getLogger(),
        account_id=call["account_id"],
        log_project="",
        log_store="",
    )


class _LogHandler(logging.Handler):
    """Writes records directly to a descriptor, which is safe in a signal handler that interrupted a write."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        record.fc_request_id = _current.request_id
        self.write(self.format(record))

    def write(self, text: str) -> None:
        data = text.encode(errors="replace")[: LOG_RECORD_LIMIT - 1] + b"\n"
        while data:
            data = data[os.write(self.descriptor, data) :]


def _log_to(descriptor: int) -> Any:
    """Set up the root logger; return a function that writes lines of the platform
    (fc-runtime.md: Logging).
    """
    handler = _LogHandler(descriptor)
    form = "%(asctime)s.%(msecs)03dZ %(fc_request_id)s [%(levelname)s] %(message)s"
    handler.setFormatter(logging.Formatter(form, "%Y-%m-%dT%H:%M:%S"))
    if handler.formatter:
        handler.formatter.converter = time.gmtime
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger().setLevel(logging.INFO)
    return handler.write


def _flush() -> None:
    """Flush stdout and stderr, which the function may have replaced with buffered streams."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # not a stream, or closed
            stream.flush()


def _dump_stacks_and_exit(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Handle SIGTERM, which FC sends after a timeout (fc-runtime.md: Instances)."""
    logger = logging.getLogger()
    logger.error("Dumping stack trace after function timeout")
    for thread, frame in sys._current_frames().items():  # noqa: SLF001 - the documented way to list all threads
        if thread != _current.watcher:
            logger.error("request id = %s, thread id = %s", _current.request_id, thread)
            logger.error("%s", "".join(traceback.format_stack(frame)).rstrip())
    sys.exit(TIMEOUT_EXIT)


def _end_with_host(lifeline: int) -> None:
    """Wait until the host has ended, even by a crash; then kill this process and its children."""
    while os.read(lifeline, 1):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)


def receive(channel: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Read one frame; a closed channel ends the process."""
    meta_length, payload_length = _LENGTHS.unpack(_exactly(channel, _LENGTHS.size))
    return json.loads(_exactly(channel, meta_length)), _exactly(channel, payload_length)


def _exactly(channel: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        chunk = channel.recv(min(length - len(data), 1 << 20))
        if not chunk:
            os._exit(0)
        data += chunk
    return bytes(data)


def send(channel: socket.socket, meta: dict[str, Any], payload: bytes) -> None:
    """Write one frame."""
    head = json.dumps(meta).encode()
    channel.sendall(_LENGTHS.pack(len(head), len(payload)) + head + payload)


if __name__ == "__main__":
    main()
