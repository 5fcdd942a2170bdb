"""A function without the event handler, as a timer's or a queue's is: reads messages, sends them."""

import json
import os
import sys

from mpaas_push import Invocation, PushClient
from mpaas_push.json_text import read_json
from mpaas_push.log import function_log
from mpaas_push.message.reading import messages_of


def handler(event: bytes, context: object) -> str:
    """Send the messages of the event."""
    client = PushClient.from_env()
    function_log(client.settings.log_level)
    messages = messages_of(read_json(event), client.settings)
    outcomes = client.send_all(messages, scope="benchmark", invocation=Invocation.of(context))
    return json.dumps([outcome.as_json() for result in outcomes for outcome in result])


os._exit('"accepted"' not in handler(sys.argv[1].encode(), None))
