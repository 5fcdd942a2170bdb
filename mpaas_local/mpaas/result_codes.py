"""The result codes of PushSimple and their names (pushsimple.md: Result codes)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SUCCESS_CODES = ("OK", "100")
"""The two documented codes of success: the example's and the table's (pushsimple.md: Result codes)."""

RESULT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        # The current table (pushsimple.md: Result codes).
        "-1": "SIGNATURE_MISMATCH",
        "3001": "NEED_DELIVERYTOKEN",
        "3002": "NEED_FILE",
        "3003": "NEED_APPID_WORKSPACEID",
        "3007": "APPID_WRONG",
        "3008": "OS_TYPE_NOT_SUPPORTED",
        "3009": "DELIVERY_TYPE_NOT_SUPPORTED",
        "3012": "NEED_USERID",
        "3019": "TASKNAME_NULL",
        "3020": "EXPIREDSECONDS_WRONG",
        "3021": "TOKEN_OR_USERID_NULL",
        "3022": "TEMPLATE_NOT_EXIST",
        "3023": "TEMPLATEKV_NOT_ENOUGH",
        "3024": "PAYLOAD_NOT_ENOUGH",
        "3025": "NEED_TEMPLATE",
        "3026": "EXPIREDTIME_TOO_LONG",
        "3028": "INVALID_PARAM",
        "3029": "SINGLE_PUSH_TARGET_TOO_MUCH",
        "3030": "BROADCAST_ONLY_SUPPORT_BY_DEVICE",
        "3031": "REQUEST_SHOULD_BE_UTF8",
        "3032": "REST_API_SWITCH_NOT_OPEN",
        "3033": "UNKNOWN_REST_SIGN_TYPE",
        "3035": "EXTEND_PARAM_TO_MUCH",
        "3036": "TEMPLATE_ALREADY_EXIST",
        "3037": "TEMPLATE_NAME_NULL",
        "3038": "TEMPLATE_NAME_INVALID",
        "3039": "TEMPLATE_CONTENT_INVALID",
        "3040": "TEMPLATE_TITLE_INVALID",
        "3041": "TEMPLATE_DESC_INFO_INVALID",
        "3042": "TEMPLATE_URI_INVALID",
        "3043": "SINGLE_PUSH_CONTENT_TOO_LONG",
        "3044": "INVALID_EXTEND_PARAM",
        "3049": "MULTIPLE_INNER_EXTEND_PARAM_TO_MUCH",
        "3050": "MSG_PAYLOAD_TOO_LONG",
        "8011": "FLOW_CONTROL_ERROR",
        "8012": "INVALID_INSTANCE_ID",
        "8013": "INVALID_TENANT_ID",
        "8014": "ACCOUNT_NO_PERMISSION",
        "9000": "SYSTEM_ERROR",
        # The older enumeration (pushsimple.md: Result codes).
        "3004": "TIMEOUT_ARG_ERROR",
        "3005": "APISECRET_WRONG",
        "3006": "NEED_ORDER",
        "3010": "THIRD_MSG_ID_WRONG",
        "3011": "PAYLOAD_OVERLENGTH",
        "3027": "NEED_TENANTID",
        "8000": "NOT_PUSH_DEVICE",
        "8001": "NOT_PUSH_USER",
        "8002": "NOT_ONLINE",
        "8003": "SWITCH_OFF",
        "8004": "DEVICE_NOT_ONLINE",
        "8005": "DEVICE_UNBIND",
        "8006": "MSG_EXPIRED",
        "8007": "DELIVERY_TOKEN_NOT_MATCH",
    }
)
"""Name of every documented failing result code."""


def result_message(code: str, detail: str = "") -> str:
    """The ResultMessage: the name of the code, as in the one published failing response, then the detail."""
    name = RESULT_NAMES.get(code, "UNKNOWN")
    return f"{name}: {detail}" if detail else name
