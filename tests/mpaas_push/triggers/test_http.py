from __future__ import annotations

import json
from types import SimpleNamespace

from aws_lambda_powertools.event_handler.api_gateway import BaseRouter

from mpaas_push.triggers.http import HttpResolver, Response


def test_request_does_not_change_the_base_class_of_resolvers() -> None:
    app, other = HttpResolver(), HttpResolver()

    @app.get("/hello")
    def hello() -> Response[str]:
        return Response(200, "text/plain", app.current_event.path)

    before = dict(vars(BaseRouter))
    http = {"method": "GET", "path": "/hello"}
    response = json.loads(
        app.handle(json.dumps({"requestContext": {"http": http}}).encode(), SimpleNamespace())
    )

    assert response["body"] == "/hello"
    assert vars(BaseRouter) == before
    assert getattr(other, "current_event", None) is None
