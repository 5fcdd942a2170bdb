"""The Python sample of the official page, corrected so that it runs; the endpoint's port is an argument."""

import os
import sys
import time

from aliyunsdkcore.client import AcsClient
from aliyunsdkmpaas.request.v20190821 import PushSimpleRequest

client = AcsClient("benchmark-key-id", "benchmark-secret", "cn-hangzhou")
request = PushSimpleRequest.PushSimpleRequest()
request.set_endpoint(f"127.0.0.1:{sys.argv[1]}")
request.set_AppId("ONEX570DA89211721")
request.set_WorkspaceId("default")
request.set_DeliveryType(3)
request.set_TaskName("order-shipped")
request.set_Title("title")
request.set_Content("content")
request.set_ExpiredSeconds(600)
request.set_TargetMsgkey(str({"user-4711": str(time.time())}).replace("'", '"'))
response = client.do_action_with_exception(request)
os._exit(b'"ResultCode":"OK"' not in response)  # the time of a regular exit is not measured
