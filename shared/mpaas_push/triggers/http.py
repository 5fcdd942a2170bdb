"""The HTTP trigger: adapts Function Compute's event to Powertools' event handler.

`HttpResolver` handles an event by its routes, which see an `HttpEvent`. Shapes and rules: fc-runtime.md: HTTP
event, HTTP response.
"""

from __future__ import annotations

import json
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from mpaas_push.errors import UnreadablePayload
from mpaas_push.lean_import import without_init
from mpaas_push.triggers.record import bytes_of_base64

_EVENTS_OF_OTHERS = (
    "ALBEvent",
    "APIGatewayProxyEvent",
    "APIGatewayProxyEventV2",
    "BedrockAgentEvent",
    "LambdaFunctionUrlEvent",
    "VPCLatticeEvent",
    "VPCLatticeEventV2",
)
"""Events that Powertools' other resolvers read."""

with (
    without_init("aws_lambda_powertools"),
    without_init("aws_lambda_powertools.event_handler"),
    without_init("aws_lambda_powertools.utilities.data_classes", *_EVENTS_OF_OTHERS),
):
    from aws_lambda_powertools.event_handler.api_gateway import ApiGatewayResolver, Response
    from aws_lambda_powertools.shared.headers_serializer import SingleValueHeadersSerializer
    from aws_lambda_powertools.utilities.data_classes.common import BaseProxyEvent

# As in Powertools' own `__init__`: its logs quote requests and errors.
logging.getLogger("aws_lambda_powertools").addHandler(logging.NullHandler())
logging.getLogger("aws_lambda_powertools").propagate = False

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.shared.headers_serializer import BaseHeadersSerializer
    from aws_lambda_powertools.utilities.typing import LambdaContext

__all__ = ["HttpEvent", "HttpResolver", "Response"]


class HttpEvent(BaseProxyEvent):
    """An HTTP request as Function Compute 3.0 passes it to a built-in runtime."""

    @cached_property
    def headers(self) -> dict[str, str]:
        """The headers by lower-case name."""
        return {name.lower(): value for name, value in (self.get("headers") or {}).items()}

    @property
    def path(self) -> str:
        """The path, URL-decoded."""
        return str(self["requestContext"]["http"]["path"])

    @property
    def http_method(self) -> str:
        """The method to route by, in upper case: GET for HEAD."""
        method = str(self["requestContext"]["http"]["method"]).upper()
        return "GET" if method == "HEAD" else method

    @property
    def query_string_parameters(self) -> dict[str, str]:
        """The query; values of a repeated key are joined by a comma."""
        return dict(self.get("queryParameters") or {})

    @property
    def body_bytes(self) -> bytes:
        """The body as it was sent.

        Raises:
            UnreadablePayload: The body is marked as base64 but is not.
        """
        body = self.get("body") or ""
        # The documents disagree on which content types are base64: the flag decides.
        if not self.get("isBase64Encoded"):
            return str(body).encode("utf-8", "surrogatepass")
        try:
            return bytes_of_base64(str(body))
        except ValueError:
            raise UnreadablePayload("the event's body is marked as base64 but is not") from None

    def header_serializer(self) -> BaseHeadersSerializer:
        """One value per name: Function Compute documents no more."""
        return SingleValueHeadersSerializer()


class HttpResolver(ApiGatewayResolver):
    """Powertools' event handler on Function Compute's HTTP event: routes by method and path."""

    current_event: HttpEvent

    def __init__(self) -> None:
        """Disable the debug mode: with `POWERTOOLS_DEV` it would print every event, targets included."""
        super().__init__(debug=False)

    def resolve(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Handle an event as Powertools does, but keep it on this instance.

        Powertools assigns it to the base class of all resolvers. Each such assignment invalidates the
        interpreter's method cache, which slows down the next calls.
        """
        self.current_event = self._to_proxy_event(event)
        self.lambda_context = context
        try:
            return self._build_response(self._resolve())
        finally:
            self.context.clear()

    @property
    def allowed_methods(self) -> list[str]:
        """The methods for which the path of this request has a route."""
        path = self.current_event.path
        routes = self._static_routes + self._dynamic_routes
        methods = {route.method for route in routes if route.rule.match(path)}
        return sorted(methods | ({"HEAD"} if "GET" in methods else set()))

    def handle(self, event: bytes, context: object) -> str:
        """Handle an HTTP event and return the handler's return value.

        Raises:
            UnreadablePayload: The event is not from an HTTP trigger.
        """
        try:
            request = json.loads(event)
            http = request["requestContext"]["http"]
            if not (isinstance(http["path"], str) and isinstance(http["method"], str)):
                raise TypeError  # noqa: TRY301 - one place says what was expected
        except (ValueError, TypeError, KeyError, RecursionError):
            raise UnreadablePayload(
                "not an HTTP trigger's event: expected JSON with requestContext.http.method and .path; "
                "invoke this function through its HTTP trigger"
            ) from None
        response = self.resolve(request, cast("LambdaContext", context))
        if http["method"].upper() == "HEAD":
            response["body"] = ""
        # Text, not a dict: the runtime would indent and sort a dict.
        return json.dumps(response)

    def _to_proxy_event(self, event: Mapping[str, Any]) -> HttpEvent:
        return HttpEvent(dict(event))

    def _get_base_path(self) -> str:
        return ""
