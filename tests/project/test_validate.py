"""`validate` reports mistakes in copies of the project's files, each with its file and path."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from project.__main__ import main
from project.policies import DEPLOYMENT_ACTIONS
from tests.descriptors import PROJECT
from tests.mpaas_push.message.examples import MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Validate = Callable[..., tuple[int, list[str]]]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the checked files."""
    return shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def validate(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Validate:
    """Return a function that runs the command and returns its exit code and printed lines."""
    for name in ("STAGE", "ALIBABA_CLOUD_REGION_ID", "MPAAS_APP_ID", "MPAAS_LAYER_ARN"):
        monkeypatch.delenv(name, raising=False)

    def run(*files: str) -> tuple[int, list[str]]:
        code = main(["validate", "--folder", str(project), *files])
        captured = capsys.readouterr()
        return code, (captured.out + captured.err).splitlines()

    return run


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text, old
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_project_is_valid(validate: Validate) -> None:
    code, lines = validate()

    assert code == 0
    assert lines == [
        "ok    environment: the settings of this shell",
        f"note  settings of a stage: {NOT_CHECKED}",
        "ok    s.yaml: 5 functions, 8 triggers, 1 timer message",
        "ok    s.prod.yaml: 5 functions, 8 triggers, 1 timer message",
        "ok    s.sources.yaml: 8 functions, 11 triggers, 1 timer message",
        "ok    s.staging.yaml: 5 functions, 8 triggers, 1 timer message",
        "ok    template.yml: up to date with s.yaml",
        "ok    deploy/policies/deployer.json: 17 statements",
        "ok    deploy/policies/function.json: 7 statements",
        "ok    functions/event_push/rules.yaml: 3 rules",
        "9 checked, no faults",
    ]


NOT_CHECKED = "not checked: there is no .env; make validate STAGE=… checks those of a stage"
SETTINGS = """\
ALIBABA_CLOUD_ACCOUNT_ID=1234567890123456
ALIBABA_CLOUD_REGION_ID=cn-hangzhou
UPLOADS_BUCKET=files
"""
OVERLAYS = ("s.prod.yaml", "s.sources.yaml", "s.staging.yaml")
S, TEMPLATE, RULES = "s.yaml", "template.yml", "functions/event_push/rules.yaml"
FUNCTION, DEPLOYER = "deploy/policies/function.json", "deploy/policies/deployer.json"
HERE = "acs:fc:${ALIYUN::Region}:${ALIYUN::AccountId}:"
STREAM = "resources.queue_push.props.triggers.pushes.triggerConfig"

REQUESTS_BEFORE_CAMPAIGNS = """\
      environmentVariables:
        PUSH_CAMPAIGN_FUNCTION: mpaas-campaign-push-${vars.stage}
      triggers:
        - triggerName: http
          triggerType: http
          triggerConfig: {authType: function, methods: [POST]}
        - triggerName: pushes
"""
MISTAKES = [
    # The frame of s.yaml
    (S, "edition: 3.0.0", "edition: 2.0.0", "edition: is '2.0.0'; must be 3.0.0"),
    (S, "template:\n", "templates:\n", "templates: is not allowed here; did you mean template?"),
    (
        S,
        "component: fc3@0.1.22",
        "component: fc@0.1.22",
        "resources.queue_push.component: is 'fc@0.1.22'; must be a version of fc3",
    ),
    (
        S,
        "component: fc3@0.1.22",
        "component: fc3",
        "resources.queue_push.component: is 'fc3'; must be a version of fc3, such as fc3@0.1.22",
    ),
    (
        S,
        "    extend:\n",
        "    extends:\n",
        "resources.queue_push.extends: is not allowed here; did you mean extend?",
    ),
    (
        S,
        "name: function",
        "name: funktion",
        "resources.queue_push.extend.name: the template 'funktion' does not exist",
    ),
    (
        S,
        "${vars.region}",
        "${vars.regoin}",
        "resources.http_push.props.region: ${vars.regoin} cannot be resolved",
    ),
    (
        S,
        "'unset')}",
        "'unset')",
        "resources.http_push.props.environmentVariables.MPAAS_APP_ID: \"${env('MPAAS_APP_ID', 'unset')\" has ${ without }",
    ),
    # Functions
    (
        S,
        "    memorySize: 512",
        "    memroySize: 512",
        "template.function.memroySize: is not allowed here; did you mean memorySize?",
    ),
    (S, "timeout: 60", "timeout: '60'", "template.function.timeout: must be a whole number, not text"),
    (
        S,
        "timeout: 60",
        "timeout: 100000",
        "template.function.timeout: must be at most 86400",
    ),
    (
        S,
        "runtime: python3.10",
        "runtime: python3.11",
        "template.function.runtime: must be 'python3.10' or 'python3.12'",
    ),
    (
        S,
        "handler: index.handler",
        "handler: handler",
        "template.function.handler: is 'handler'; must be module.function",
    ),
    (
        S,
        "handler: index.handler",
        "handler: main.handler",
        "resources.http_push.props.code: has no file main.py for the handler main.handler",
    ),
    *(
        (
            S,
            "code: ./functions/http_push",
            f"code: {code}",
            f"resources.http_push.props.code: is '{code}'; must be a folder of the",
        )
        for code in ("/srv/http_push", "../http_push", "./functions/../../http_push", "..", ".")
    ),
    (
        S,
        "memorySize: 512",
        "memorySize: 500",
        "template.function.memorySize: must be a multiple of 64",
    ),
    (
        S,
        "memorySize: 512",
        "memorySize: 4096",
        "resources.http_push.props: memorySize 4096 does not match cpu 0.35",
    ),
    (S, "cpu: 0.35", "cpu: 0.33", "template.function.cpu: must be a multiple of 0.05"),
    (
        S,
        "    role: acs:ram::${vars.accountId}:role/mpaas-push-${vars.stage}\n",
        "",
        "resources.http_push.props.role: is missing",
    ),
    (
        S,
        ":role/mpaas-push-",
        ":role/MpaasPush-",
        "template.function.role: is 'acs:ram::000000000000:role/MpaasPush-dev'; must be a role in lower case",
    ),
    (S, "layers/mpaas-push-dev/versions/1", "layers/mpaas-push-dev", "template.function.layers.0: is "),
    (
        S,
        "logstore: functions",
        "logStore: functions",
        "template.function.logConfig.logStore: is not allowed here; did you mean logstore?",
    ),
    (
        S,
        "code: ./functions/http_push",
        "code: ./functions/htp_push",
        "resources.http_push.props.code: has no file index.py",
    ),
    (
        S,
        "mpaas-timer-push-",
        "mpaas timer-",
        "resources.timer_push.props.functionName: is 'mpaas timer-dev'; must be 1 to 64 letters",
    ),
    (
        S,
        "mpaas-timer-push-",
        "mpaas-queue-push-",
        "resources.timer_push.props.functionName: mpaas-queue-push-dev is already the name of resources.queue_push",
    ),
    (
        S,
        "reservedConcurrency: 20",
        "reservedConcurrency: 0",
        "resources.queue_push.props.concurrencyConfig.reservedConcurrency: must be at least",
    ),
    (
        S,
        "          destination: acs:mns:",
        "          destination: mns:",
        "template.function.asyncInvokeConfig.destinationConfig.onFailure.destination: is ",
    ),
    (
        S,
        "    asyncInvokeConfig:\n      max",
        "    asyncInvokeConfigs:\n      max",
        "template.function.asyncInvokeConfigs: is not allowed here",
    ),
    (
        S,
        "maxAsyncRetryAttempts: 3",
        "maxAsyncRetryAttempts: 9",
        "template.function.asyncInvokeConfig.maxAsyncRetryAttempts: must be at most",
    ),
    # Settings
    (
        S,
        "PUSH_RETRY_QUEUE:",
        "PUSH_RETRY_QEUE:",
        "template.function.environmentVariables.PUSH_RETRY_QEUE: is not a setting; did you mean PUSH_RETRY_QUEUE?",
    ),
    (
        S,
        "MPAAS_WORKSPACE_ID:",
        "PUSH_CONCURRENCY: many\n      MPAAS_WORKSPACE_ID:",
        "template.function.environmentVariables.PUSH_CONCURRENCY: must be a whole number",
    ),
    (
        S,
        "MPAAS_WORKSPACE_ID:",
        "PUSH_CONCURRENCY: 5\n      MPAAS_WORKSPACE_ID:",
        "template.function.environmentVariables.PUSH_CONCURRENCY: must be text, not a number: put it in quotes",
    ),
    (
        S,
        "MPAAS_WORKSPACE_ID:",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET: x\n      MPAAS_WORKSPACE_ID:",
        "template.function.environmentVariables.ALIBABA_CLOUD_ACCESS_KEY_SECRET: must not be in a descriptor",
    ),
    (
        S,
        "MPAAS_WORKSPACE_ID:",
        "FC_REGION: x\n      MPAAS_WORKSPACE_ID:",
        "template.function.environmentVariables.FC_REGION: names that start with FC_ are reserved by Function Compute",
    ),
    # Triggers
    (
        S,
        "authType: function",
        "authType: anonymous",
        "resources.http_push.props.triggers.http.triggerConfig.authType: is 'anonymous'; must be function or jwt",
    ),
    (
        S,
        "authType: function",
        "authtype: function",
        "resources.http_push.props.triggers.http.triggerConfig.authType: is missing",
    ),
    (
        S,
        "authType: function",
        "authType: jwt",
        "resources.http_push.props.triggers.http.triggerConfig: authConfig is missing",
    ),
    (
        S,
        "methods: [GET, POST, PATCH]",
        "methods: [GET, PSOT]",
        "resources.http_push.props.triggers.http.triggerConfig.methods.1: must be 'GET'",
    ),
    (
        S,
        "0 0 9 * * *",
        "0 9 * * *",
        "resources.timer_push.props.triggers.morning.triggerConfig.cronExpression: has 5 fields; must have 6: seconds",
    ),
    (
        S,
        "0 0 9 * * *",
        "0 0 25 * * *",
        "resources.timer_push.props.triggers.morning.triggerConfig.cronExpression: hours: '25': must be 0 to 23",
    ),
    (
        S,
        "Asia/Shanghai",
        "Asia/Shanghia",
        "resources.timer_push.props.triggers.morning.triggerConfig.cronExpression: 'Asia/Shanghia' is not a time zone",
    ),
    (
        S,
        "enable: false",
        "enabled: false",
        "resources.timer_push.props.triggers.morning.triggerConfig.enabled: is not allowed here; did you mean enable?",
    ),
    (
        S,
        '"taskName": "good-morning",',
        "",
        "resources.timer_push.props.triggers.morning.triggerConfig.payload.taskName: is required",
    ),
    (
        S,
        '"deliveryType": 3,',
        '"deliveryType": 8,',
        "resources.timer_push.props.triggers.morning.triggerConfig.payload.deliveryType: ",
    ),
    (
        S,
        '"expiredSeconds": 3600\n',
        '"expiredSeconds": 3600,\n',
        "resources.timer_push.props.triggers.morning.triggerConfig.payload: not JSON",
    ),
    (
        S,
        "triggerType: oss",
        "triggerType: tablestore",
        "resources.campaign_push.props.triggers.campaigns: triggerType must be one of http, timer",
    ),
    (
        S,
        "          triggerType: oss\n",
        "",
        "resources.campaign_push.props.triggers.campaigns: triggerType is missing",
    ),
    (
        S,
        "Pattern: '{}'",
        "Pattern: '{'",
        f"{STREAM}.eventRuleFilterPattern: the pattern is not JSON",
    ),
    (
        S,
        "Pattern: '{}'",
        "Pattern: '[]'",
        f"{STREAM}.eventRuleFilterPattern: the pattern must be a JSON object",
    ),
    (
        S,
        '[{"prefix": "order:"}',
        '[{"prefx": "order:"}',
        "resources.event_push.props.triggers.events.triggerConfig.eventRuleFilterPattern: type: 'prefx' is not an operator; did you mean prefix?",
    ),
    (
        S,
        "eventSourceType: MNS",
        "eventSourceType: RabbitMQ",
        f"{STREAM}.eventSourceConfig: eventSourceParameters.sourceRabbitMQParameters is missing",
    ),
    (S, "errorsTolerance: ALL", "errorsTolerance: NONE", f"{STREAM}.runOptions: errorsTolerance must be ALL"),
    (
        S,
        "CountBasedWindow: 10000",
        "CountBasedWindow: 20000",
        f"{STREAM}.runOptions.batchWindow.CountBasedWindow: must be at most",
    ),
    (
        "s.sources.yaml",
        "triggerEnable: false",
        "triggerEnable: true",
        "resources.rocketmq_push.props.triggers.rocketmq.triggerConfig: triggerEnable must be false until",
    ),
    (
        S,
        "notifyContentFormat: JSON",
        "notifyContentFormat: XML",
        "resources.queue_push.props.triggers.announcements.triggerConfig.notifyContentFormat: must be 'STREAM' or 'JSON'",
    ),
    (
        S,
        "          invocationRole:",
        "          invokationRole:",
        "resources.queue_push.props.triggers.announcements.invocationRole: is missing",
    ),
    (
        S,
        "oss:ObjectCreated:PutObject",
        "ObjectCreated:PutObject",
        "resources.campaign_push.props.triggers.campaigns.triggerConfig.events.0: 'ObjectCreated:PutObject' is not an event of OSS; did you mean oss:ObjectCreated:PutObject?",
    ),
    (
        S,
        "oss:ObjectCreated:PutObject",
        "oss:ObjectCreated:PutObjects",
        "resources.campaign_push.props.triggers.campaigns.triggerConfig.events.0: 'oss:ObjectCreated:PutObjects' is not an event of OSS; did you mean oss:ObjectCreated:PutObject?",
    ),
    (
        S,
        "'cn-hangzhou')}",
        "'cn-hangzou')}",
        "template.function.region: 'cn-hangzou' is not a region of Function Compute; did you mean cn-hangzhou?",
    ),
    (
        S,
        "handler: index.handler",
        "handler: index.handle",
        "template.function.handler: ./functions/http_push/index.py has no handle",
    ),
    (
        S,
        "triggerName: retries",
        "triggerName: pushes",
        "resources.queue_push.props.triggers: duplicate triggerName: pushes",
    ),
    # Wiring
    (
        S,
        "code: ./functions/timer_push",
        "code: ./functions/timer_push\n      runtime: python3.12",
        "resources.timer_push.props.runtime: is python3.12, but mpaas-queue-push-dev has python3.10: they share",
    ),
    (
        S,
        "timeout: 60",
        "timeout: 600",
        "template.function.timeout: is 600 s; a function that a stream calls may run at most 300 s",
    ),
    (
        S,
        "internetAccess: true",
        "internetAccess: false",
        "template.function.internetAccess: must be true, or",
    ),
    (
        S,
        "methods: [GET, POST, PATCH]",
        "methods: [GET, PATCH]",
        "resources.http_push.props.triggers.http.triggerConfig.methods: POST",
    ),
    (
        S,
        "PUSH_RETRY_QUEUE: mpaas-push-retry-${vars.stage}",
        "PUSH_RETRY_QUEUE: mpaas-push-later-${vars.stage}",
        "template.function.environmentVariables.PUSH_RETRY_QUEUE: no enabled trigger reads mpaas-push-later-dev",
    ),
    (
        S,
        "PUSH_DEAD_LETTER_QUEUE: mpaas-push-dead-${vars.stage}",
        "PUSH_DEAD_LETTER_QUEUE: mpaas-push-retry-${vars.stage}",
        "template.function.environmentVariables.PUSH_DEAD_LETTER_QUEUE: mpaas-push-retry-dev is read by a trigger",
    ),
    (
        S,
        "queues/mpaas-push-batches-${vars.stage}",
        "queues/mpaas-push-${vars.stage}",
        f"{STREAM}.runOptions.deadLetterQueue.Arn: mpaas-push-dev is read by a trigger",
    ),
    (
        S,
        """              deadLetterQueue:
                Arn: acs:mns:${vars.region}:${vars.accountId}:/queues/mpaas-push-batches-${vars.stage}
""",
        "",
        f"{STREAM}.runOptions: deadLetterQueue is missing",
    ),
    (
        S,
        "QueueName: mpaas-push-retry-${vars.stage}",
        "QueueName: mpaas-push-${vars.stage}",
        "resources.queue_push.props.triggers.retries.triggerConfig: mpaas-push-dev is also read by pushes",
    ),
    (
        S,
        "PUSH_WORKER_FUNCTION: mpaas-queue-push-${vars.stage}",
        "PUSH_WORKER_FUNCTION: mpaas-queues-push-${vars.stage}",
        "resources.http_push.props.environmentVariables.PUSH_WORKER_FUNCTION: mpaas-queues-push-dev is not a function",
    ),
    (
        S,
        "asyncTask: true",
        "asyncTask: false",
        "resources.http_push.props.environmentVariables.PUSH_WORKER_FUNCTION: asyncInvokeConfig.asyncTask of",
    ),
    (
        S,
        "      triggers:\n        - triggerName: pushes\n",
        REQUESTS_BEFORE_CAMPAIGNS,
        "resources.queue_push.props.environmentVariables.PUSH_CAMPAIGN_FUNCTION: mpaas-campaign-push-dev is deployed",
    ),
    (
        S,
        "MPAAS_WORKSPACE_ID:",
        "MPAAS_ENDPOINT: http://127.0.0.1:8081\n      MPAAS_WORKSPACE_ID:",
        "template.function.environmentVariables.MPAAS_ENDPOINT: is an address of the function's own instance",
    ),
    (
        S,
        "Pattern: '{}'",
        """Pattern: '{"source": ["a"]}'""",
        f"{STREAM}.eventRuleFilterPattern: must be '{{}}' in a stream",
    ),
    (
        S,
        "RegionId: ${vars.region}",
        "RegionId: cn-beijing",
        f"{STREAM}.eventSourceConfig.eventSourceParameters.sourceMNSParameters.RegionId: is cn-beijing; the",
    ),
    (
        S,
        "        - triggerName: uploads\n",
        """        - triggerName: others
          triggerType: oss
          sourceArn: acs:oss:${vars.region}:${vars.accountId}:${vars.uploads}
          invocationRole: acs:ram::${vars.accountId}:role/aliyunosseventnotificationrole
          triggerConfig: {events: ["oss:ObjectCreated:*"], filter: {key: {prefix: d}}}
        - triggerName: uploads
""",
        "resources.event_push.props.triggers.uploads.triggerConfig: others matches the same events: OSS would refuse",
    ),
    (
        "s.prod.yaml",
        "    props:\n",
        "    props:\n      role: acs:ram::${vars.accountId}:role/mpaas-push-staging\n",
        "resources.queue_push.props.role: names a resource of the stage staging",
    ),
    # Overlays
    ("s.prod.yaml", "extend: s.yaml", "extend: base.yaml", "extend: base.yaml does not exist"),
    (
        "s.prod.yaml",
        "reservedConcurrency: 50",
        "reservedConcurrency: '50'",
        "resources.queue_push.props.concurrencyConfig.reservedConcurrency: must be a whole number, not text",
    ),
    ("s.prod.yaml", "  queue_push:", "  queue_psuh:", "resources.queue_psuh.component: is missing"),
    (
        "s.staging.yaml",
        "stage: staging",
        "stage: prod",
        "resources.http_push.props.functionName: mpaas-http-push-prod is already the name of a function in s.prod.yaml",
    ),
    (
        "s.staging.yaml",
        "stage: staging",
        "stage: canary",
        "vars.stage: is canary, but s.staging.yaml is the stage staging: make them equal",
    ),
    # template.yml against s.yaml
    (
        TEMPLATE,
        "ROSTemplateFormatVersion: '2015-09-01'",
        "ROSTemplateFormatVersion: '2015-09-02'",
        "ROSTemplateFormatVersion: is '2015-09-02', should be '2015-09-01': run make template",
    ),
    (
        TEMPLATE,
        "TopicName: {'Fn::Sub': 'mpaas-push-${Stage}'}",
        "TopicName: {'Fn::Sub': 'mpaas-topic-${Stage}'}",
        "Resources.Topic.Properties.TopicName.Fn::Sub: is 'mpaas-topic-${Stage}', should be",
    ),
    (
        TEMPLATE,
        "QueueName: {'Fn::Sub': 'mpaas-push-retry-${Stage}'}",
        "QueueName: {'Fn::Sub': 'mpaas-push-later-${Stage}'}",
        "Resources.RetryQueue.Properties.QueueName.Fn::Sub: is 'mpaas-push-later-${Stage}'",
    ),
    (
        TEMPLATE,
        "VisibilityTimeout: 90",
        "VisibilityTimeout: 60",
        "Resources.BatchesQueue.Properties.VisibilityTimeout: is 60, should be 90",
    ),
    (TEMPLATE, "Outputs:", "Output:", "Output: is set, should be missing"),
    (
        TEMPLATE,
        "Type: ALIYUN::FC3::LayerVersion",
        "Type: ALIYUN::FC3::LayerVersions",
        "Resources.Layer.Type: is 'ALIYUN::FC3::LayerVersions', should be 'ALIYUN::FC3::LayerVersion'",
    ),
    (
        TEMPLATE,
        "{Ref: AppId}",
        "{Ref: AppID}",
        "Resources.Role.Properties.Policies.0.PolicyDocument.Statement.0.Condition.StringEquals.mpaas:AppId.0.Ref: is 'AppID'",
    ),
    (
        TEMPLATE,
        "'${CodePrefix}/layer.zip'",
        "'${Prefix}/layer.zip'",
        "Resources.Layer.Properties.Code.OssObjectName.Fn::Sub: is '${Prefix}/layer.zip'",
    ),
    (
        TEMPLATE,
        "[HttpPushHttpTrigger, UrlInternet]",
        "[HttpPushHttpTrigger, Url]",
        "Outputs.HttpPushUrl.Value.Fn::GetAtt.1: is 'Url'",
    ),
    (
        TEMPLATE,
        "DependsOn: Topic",
        "DependsOn: Topics",
        "Resources.QueuePushAnnouncementsTrigger.DependsOn: is 'Topics', should be 'Topic'",
    ),
    (
        TEMPLATE,
        "Default: dev\n",
        "Default: development\n",
        "Parameters.Stage.Default: differs: run make template",
    ),
    (
        TEMPLATE,
        "MessageRetentionPeriod: 604800",
        "MessageRetention: 604800",
        "Resources.BatchesQueue.Properties.MessageRetention: is 604800, should be missing",
    ),
    (
        TEMPLATE,
        "VisibilityTimeout: 90",
        "VisibilityTimeout: 90s",
        "Resources.BatchesQueue.Properties.VisibilityTimeout: is '90s', should be 90",
    ),
    (
        TEMPLATE,
        "      Timeout: 60",
        "      Timeuot: 60",
        "Resources.QueuePush.Properties.Timeout: is missing, should be 60",
    ),
    (
        TEMPLATE,
        "- fc.aliyuncs.com",
        "- ecs.aliyuncs.com",
        "Resources.Role.Properties.AssumeRolePolicyDocument.Statement.0.Principal.Service.0: is 'ecs.aliyuncs.com'",
    ),
    (
        TEMPLATE,
        "- mns:SendMessage",
        "- mns:*",
        "Resources.Role.Properties.Policies.0.PolicyDocument.Statement.1.Action.0: is 'mns:*'",
    ),
    (
        TEMPLATE,
        "'mpaas-timer-push-${Stage}'",
        "'mpaas-tick-push-${Stage}'",
        "Resources.TimerPush.Properties.FunctionName.Fn::Sub: is 'mpaas-tick-push-${Stage}'",
    ),
    (
        TEMPLATE,
        "      Timeout: 60",
        "      Timeout: 90",
        "Resources.QueuePush.Properties.Timeout: is 90, should be 60",
    ),
    (
        TEMPLATE,
        "      Runtime: python3.10",
        "      Runtime: python3.12",
        "Resources.QueuePush.Properties.Runtime: is 'python3.12', should be 'python3.10'",
    ),
    (
        TEMPLATE,
        "PUSH_LEDGER_URL: {Ref: LedgerUrl}",
        "PUSH_LEDGER: {Ref: LedgerUrl}",
        "Resources.QueuePush.Properties.EnvironmentVariables.PUSH_LEDGER_URL: is missing, should be set",
    ),
    (
        TEMPLATE,
        "0 0 9 * * *",
        "0 0 8 * * *",
        "Resources.TimerPushMorningTrigger.Properties.TriggerConfig.cronExpression: is 'CRON_TZ=Asia/Shanghai 0 0 8 * * *'",
    ),
    (
        TEMPLATE,
        "authType: function",
        "authType: anonymous",
        "Resources.HttpPushHttpTrigger.Properties.TriggerConfig.authType: is 'anonymous', should be 'function'",
    ),
    (
        TEMPLATE,
        "TriggerName: uploads",
        "TriggerName: upload",
        "Resources.EventPushUploadsTrigger.Properties.TriggerName: is 'upload', should be 'uploads'",
    ),
    (
        TEMPLATE,
        "      AsyncTask: true\n",
        "",
        "Resources.QueuePushAsync.Properties.AsyncTask: is missing, should be True",
    ),
    # Policies
    (
        FUNCTION,
        '"mns:SendMessage"',
        '"mns:SendMessage", "mns:DeleteQueue"',
        "Statement.1.Action.1: mns:DeleteQueue is not needed by the functions",
    ),
    (
        FUNCTION,
        ',\n      "Condition": {"StringEquals": {"mpaas:AppId": ["${AppId}"]}}',
        "",
        "Statement.0.Condition: StringEquals mpaas:AppId is missing",
    ),
    (
        FUNCTION,
        "/queues/mpaas-push-retry-${Stage}/messages",
        "/queues/*/messages",
        "Statement.1.Resource.0: acs:mns:${ALIYUN::Region}:${ALIYUN::AccountId}:/queues/*/messages is too wide",
    ),
    (
        FUNCTION,
        "mpaas-push-dead-${Stage}",
        "mpaas-push-gone-${Stage}",
        "Statement: does not allow mns:SendMessage on mpaas-push-dead-dev (PUSH_DEAD_LETTER_QUEUE in s.yaml)",
    ),
    (
        FUNCTION,
        '"mpaas:PushSimple"',
        '"mpaas:PushMultiple"',
        "Statement: the functions need mpaas:PushSimple",
    ),
    (
        FUNCTION,
        '"Effect": "Allow",\n      "Action": ["mns:SendMessage"]',
        '"Effect": "Deny",\n      "Action": ["mns:SendMessage"]',
        "Statement: the functions need mns:SendMessage",
    ),
    (
        FUNCTION,
        '"Effect": "Allow",\n      "Action": ["mns:SendMessage"]',
        '"Effect": "Deny",\n      "Action": ["mns:*"]',
        "Statement.1.Action.0: denies mns:SendMessage, which the functions call",
    ),
    (
        FUNCTION,
        '"Effect": "Allow"',
        '"Effect": "allow"',
        "Statement.0.Effect: must be 'Allow' or 'Deny'",
    ),
    (
        FUNCTION,
        '"mpaas:PushSimple"',
        '"PushSimple"',
        "Statement.0.Action.0: is 'PushSimple'; must be an action such as mns:SendMessage",
    ),
    (DEPLOYER, '"fc:CreateFunction",', '"fc:*",', "Statement.0.Action.0: fc:* is too wide"),
    (DEPLOYER, '-push-${Stage}"', '*"', "Statement.0.Resource.0: " + HERE + "functions/mpaas-** is too wide"),
    (
        DEPLOYER,
        'functions/mpaas-*-push-${Stage}"',
        'functions/mpaas-*"',
        f"Statement.0.Resource.0: {HERE}functions/mpaas-* is too wide: must be mpaas-…-${{Stage}}",
    ),
    (
        DEPLOYER,
        'functions/mpaas-*-push-${Stage}/triggers/*"',
        'functions/mpaas-*-push-prod/triggers/*"',
        f"Statement.1.Resource.0: {HERE}functions/mpaas-*-push-prod/triggers/* is too wide",
    ),
    (
        DEPLOYER,
        "acs:fc:${ALIYUN::Region}:",
        "acs:fc:*:",
        "Statement.0.Resource.0: acs:fc:*:",
    ),
    (
        DEPLOYER,
        "role/mpaas-push-${Stage}",
        "role/mpaas-push-*",
        "Statement.3.Resource.0: acs:ram::${ALIYUN::AccountId}:role/mpaas-push-* is too wide",
    ),
    (
        DEPLOYER,
        '"Condition": {"StringEquals": {"acs:Service": ["fc.aliyuncs.com"]}}',
        '"Condition": {}',
        "Statement.3.Condition: StringEquals acs:Service must be fc.aliyuncs.com",
    ),
    (
        DEPLOYER,
        '"ram:PassRole"',
        '"ram:PassRole", "ram:CreateRole"',
        "Statement.3.Action.1: ram:CreateRole: only an administrator",
    ),
    (
        DEPLOYER,
        '"ram:CheckServiceLinkedRoleExistence"',
        '"ram:CheckServiceLinkedRoleExistence", "fc:DeleteFunction"',
        "Statement.13.Resource.0: * is too wide",
    ),
    *(
        (DEPLOYER, f'"{action}"', '"fc:ListLayers"', f"Statement: a deployment needs {action}")
        for actions in DEPLOYMENT_ACTIONS.values()
        for action in sorted(actions)
    ),
    (
        DEPLOYER,
        'project/mpaas-push-${Stage}/logstore/functions"',
        'project/mpaas-push-${Stage}"',
        "Statement: a deployment needs log:GetLogStore, log:GetLogStoreLogs",
    ),
    (
        DEPLOYER,
        '"Action": ["fc:CreateTrigger", "fc:UpdateTrigger"]',
        '"Action": ["fc:EnableHTTPTriggerAnonymous"]',
        "Statement: must deny fc:CreateTrigger and fc:UpdateTrigger on * if StringEquals fc:EnableHTTP",
    ),
    (
        DEPLOYER,
        '"Action": ["fc:CreateTrigger", "fc:UpdateTrigger"]',
        '"Action": ["fc:CreateTrigger"]',
        "Statement: must deny fc:UpdateTrigger on * if StringEquals fc:EnableHTTPTriggerAnonymous is true",
    ),
    (
        DEPLOYER,
        '"fc:EnableHTTPTriggerAnonymous": ["true"]',
        '"fc:EnableHTTPTriggerAnonymous": ["false"]',
        "Statement: must deny fc:CreateTrigger and fc:UpdateTrigger",
    ),
    (
        DEPLOYER,
        ',\n      "Condition": {"StringEquals": {"fc:EnableHTTPTriggerAnonymous": ["true"]}}',
        "",
        "Statement.16.Action.0: denies fc:CreateTrigger, which a deployment calls",
    ),
    # Rules
    (RULES, "match:", "macth:", "rules.0.macth: "),
    (RULES, "${data.order", "${data..order", "rules.0."),
]


def test_overlay_of_an_overlay_is_a_fault(project: Path, validate: Validate) -> None:
    (project / "s.qa.yaml").write_text("extend: s.staging.yaml\nvars: {stage: qa}\n")

    _, lines = validate("--stage", "dev")

    assert "FAULT s.qa.yaml: extend: s.staging.yaml itself extends a file: extend that one instead" in lines


@pytest.mark.parametrize(("old", "new"), [("timeout: 60", "timeout: abc"), ("edition:", "edition: [")])
def test_overlay_that_has_the_faults_of_its_base_is_not_called_ok(
    project: Path, validate: Validate, old: str, new: str
) -> None:
    replace_in(project / "s.yaml", old, new)

    code, lines = validate("--stage", "dev")

    assert code == 1
    assert any(line.startswith("FAULT s.yaml: ") for line in lines)
    assert "note  s.staging.yaml: not checked: it has the faults of s.yaml" in lines


def test_second_descriptor_of_dev_is_a_fault(project: Path, validate: Validate) -> None:
    text = (project / "s.staging.yaml").read_text("utf-8")
    (project / "s.dev.yaml").write_text(text.replace("stage: staging", "stage: dev"), "utf-8")

    _, lines = validate("--stage", "dev")

    message = "the stage dev is s.yaml itself: rename this file, or move its content there"
    assert f"FAULT s.dev.yaml: {message}" in lines
    assert not any("template.yml: Parameters.Stage" in line for line in lines)


def test_folder_is_not_a_stage(project: Path, validate: Validate) -> None:
    (project / "s.qa.yaml").mkdir()

    assert validate()[0] == 0
    assert "there is no stage qa; the stages are dev, prod, staging" in validate("--stage", "qa")[1][-1]


def test_descriptor_with_a_dot_in_its_name_is_not_a_stage(project: Path, validate: Validate) -> None:
    shutil.copy(project / "s.prod.yaml", project / "s.eu.prod.yaml")

    _, lines = validate("--stage", "dev")

    assert (
        "FAULT s.eu.prod.yaml: a stage name must not contain a dot: rename the file, such as s.eu-prod.yaml"
        in lines
    )
    assert "there is no stage eu; the stages are dev, prod, staging" in validate("--stage", "eu")[1][-1]


def test_function_name_may_contain_a_stage_name(
    project: Path, capsys: pytest.CaptureFixture[str], validate: Validate
) -> None:
    (project / "template.yml").unlink()
    assert main(["new-function", "prod_alerts", "timer", "--folder", str(project)]) == 0
    capsys.readouterr()

    code, lines = validate()

    assert code == 0, lines


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "hunter2hunter2"),
        ("DB_PASSWORD", "hunter2hunter2"),
        ("WEBHOOK_TOKEN", "ghp_hunter2hunter2"),
        ("MY_KEY", "LTAI5thunter2hunter2"),
        ("MPAAS_SK_ENV", "hunter2hunter2"),
        ("ORDERS_DB_URL", "postgresql://u:hunter2hunter2@h/orders"),
        ("PUSH_LEDGER_URL", "${env('PUSH_LEDGER_URL', 'rediss://u:hunter2hunter2@h:6379/0')}"),
    ],
)
def test_secret_in_a_descriptor_is_reported_but_not_printed(
    project: Path, validate: Validate, name: str, value: str
) -> None:
    others = "" if name == "PUSH_LEDGER_URL" else "      PUSH_LEDGER_URL: ${env('PUSH_LEDGER_URL', '')}\n"
    line = "      PUSH_LEDGER_URL: ${env('PUSH_LEDGER_URL', '')}\n"
    replace_in(project / "s.yaml", line, f"{others}      {name}: {value}\n")

    code, lines = validate()

    assert code == 1
    assert any(line.startswith("FAULT s.yaml: ") and name in line for line in lines), lines
    assert "hunter2" not in "\n".join(lines)


def test_password_from_the_env_file_is_not_a_fault_of_the_descriptor(
    project: Path, validate: Validate
) -> None:
    settings = "MPAAS_APP_ID=ONEX1\nPUSH_LEDGER_URL=rediss://u:hunter2hunter2@h:6379/0\n"
    (project / ".env").write_text(SETTINGS + settings)

    code, lines = validate()

    assert code == 0, lines
    assert "hunter2" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("s.yaml", "    timeout: 60\n"),
        ("s.yaml", "            authType: function\n"),
        ("s.prod.yaml", "  stage: prod\n"),
        ("template.yml", "      Timeout: 60\n"),
    ],
)
def test_duplicate_key_is_reported(project: Path, validate: Validate, file: str, key: str) -> None:
    replace_in(project / file, key, key + key)

    code, lines = validate()

    assert code == 1
    assert any(line.startswith(f"FAULT {file}: ") and "duplicate key" in line for line in lines), lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"MPAAS_APP_ID=\xe9\n", "is not UTF-8"),
        (b'MPAAS_WORKSPACE_ID="default"  # ours\n', "MPAAS_WORKSPACE_ID: must be the plain value"),
        (b"MPAAS_WORKSPACE_ID=default # ours\n", "MPAAS_WORKSPACE_ID: must be the plain value"),
    ],
)
def test_env_file_must_be_utf8_with_plain_values(
    project: Path, validate: Validate, text: bytes, message: str
) -> None:
    (project / ".env").write_bytes(text)

    code, lines = validate()

    assert code == 1
    assert any(message in line for line in lines), lines


@pytest.mark.parametrize(
    ("file", "old", "new", "message"), MISTAKES, ids=lambda text: re.sub(r"\W+", "-", text)[:40]
)
def test_mistake_is_reported_with_file_and_path(
    project: Path, validate: Validate, file: str, old: str, new: str, message: str
) -> None:
    replace_in(project / file, old, new)
    others = {TEMPLATE} if file in OVERLAYS else {*OVERLAYS[1:], TEMPLATE}
    for other in others - {file}:
        (project / other).unlink()  # checking each takes as long as checking the file with the mistake

    code, lines = validate()

    assert code == 1
    assert any(line.startswith(f"FAULT {file}: {message}") for line in lines), "\n".join(lines)


def test_every_checked_file_has_mistakes() -> None:
    assert {file for file, *_ in MISTAKES} == {*(S, *OVERLAYS, TEMPLATE, FUNCTION, DEPLOYER, RULES)}
    assert len(MISTAKES) >= 80


def test_log_and_cdn_triggers_are_valid(project: Path, validate: Validate) -> None:
    added = """        - triggerName: alerts
          triggerType: log
          sourceArn: acs:log:${vars.region}:${vars.accountId}:project/app
          invocationRole: acs:ram::${vars.accountId}:role/aliyunlogetlrole
          triggerConfig:
            sourceConfig: {logstore: app}
            jobConfig: {maxRetryTime: 3, triggerInterval: 60}
            logConfig: {project: app, logstore: etl}
            functionParameter: {}
            enable: true
        - triggerName: edge
          triggerType: cdn_events
          sourceArn: acs:cdn:*:${vars.accountId}
          invocationRole: acs:ram::${vars.accountId}:role/aliyuncdneventnotificationrole
          triggerConfig: {eventName: CachedObjectsRefreshed, eventVersion: 1.0.0, notes: x, filter: {domain: [a.com]}}
        - triggerName: uploads
"""
    replace_in(project / S, "        - triggerName: uploads\n", added)

    _, lines = validate()

    assert "ok    s.yaml: 5 functions, 10 triggers, 1 timer message" in lines, "\n".join(lines)


def test_mistake_in_the_template_is_reported_once(project: Path, validate: Validate) -> None:
    replace_in(project / "s.yaml", "diskSize: 512", "diskSize: 513")

    _, lines = validate()

    assert sum("diskSize" in line and "template.yml" not in line for line in lines) == 1


WEIRD: list[Any] = [
    None,
    7,
    -1.5,
    "",
    True,
    "x" * 300,
    [],
    [None],
    {},
    {"a": None},
    {1: 2},
    "${vars.x}",
    {"Ref": {}},
]
WEIRD += [{"Fn::GetAtt": "x"}, {"Fn::GetAtt": ["Role", {}]}, {"Fn::Sub": ["a", {}]}, [[]], "${env('NOPE')}"]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a document."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from paths(value[key], (*path, key))


@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_mistake_causes_a_traceback(project: Path, validate: Validate, data: st.DataObject) -> None:
    file = project / data.draw(
        st.sampled_from([S, "s.prod.yaml", "s.sources.yaml", TEMPLATE, FUNCTION, DEPLOYER, RULES])
    )
    original = file.read_text("utf-8")
    document = yaml.safe_load(original)
    *above, last = data.draw(st.sampled_from([path for path in paths(document) if path]))
    parent = document
    for key in above:
        parent = parent[key]
    if data.draw(st.booleans()):
        del parent[last]
    else:
        parent[last] = copy.deepcopy(data.draw(st.sampled_from(WEIRD)))
    text = json.dumps(document) if file.suffix == ".json" else yaml.safe_dump(document)
    try:
        file.write_text(text, "utf-8")
        code, lines = validate()
    finally:
        file.write_text(original, "utf-8")

    assert code in {0, 1}
    assert (code == 1) == any(line.startswith("FAULT ") for line in lines)
    assert [line for line in lines if "nput should" in line] == []  # pydantic's words


# --- .env and the environment


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "ALIBABA_CLOUD_REGION_ID=Hangzhou",
            "ALIBABA_CLOUD_REGION_ID: is 'Hangzhou': put a region such as cn-hangzhou into",
        ),
        ("UPLOADS_BUKET=x", "UPLOADS_BUKET: is not a setting; did you mean UPLOADS_BUCKET?"),
        (
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET=swordfish",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET: must not be in a file",
        ),
        ("MPAAS_SK_ENV=swordfish", "MPAAS_SK_ENV: must not be in a file"),
        ("PUSH_LEDGER_URL=http://cache", "PUSH_LEDGER_URL: must be a URL such as rediss://"),
        ("PUSH_ON_UNKNOWN=retry", "PUSH_ON_UNKNOWN: is not read by any descriptor: add it to"),
        ("MPAAS_APP_ID=ONEX1\nMPAAS_APP_ID=ONEX2", "line 2: MPAAS_APP_ID is a duplicate"),
        ("FC_REGION=cn-hangzhou", "FC_REGION: names that start with FC_ are reserved by Function Compute"),
        ("ALIBABA_CLOUD_REGION_ID", "line 1: must be NAME=value"),
    ],
)
def test_mistake_in_a_settings_file_is_reported(
    project: Path, validate: Validate, line: str, message: str
) -> None:
    (project / ".env").write_text(f"{line}\n")

    code, lines = validate()

    assert code == 1
    faults = [line for line in lines if line.startswith("FAULT ")]
    assert any(f": {message}" in fault for fault in faults), "\n".join(lines)
    assert "swordfish" not in "".join(lines)


def test_example_settings_are_valid_once_filled_in(project: Path, validate: Validate) -> None:
    shutil.copy(ROOT / ".env.example", project / ".env")
    code, lines = validate()
    assert code == 1
    for name in ("ALIBABA_CLOUD_ACCOUNT_ID", "MPAAS_APP_ID", "UPLOADS_BUCKET"):
        assert any(line.startswith(f"FAULT settings of dev: {name}: is not set: put ") for line in lines)

    filled = {
        "ALIBABA_CLOUD_ACCOUNT_ID": "1234567890123456",
        "MPAAS_APP_ID": "ONEX1",
        "UPLOADS_BUCKET": "files",
    }
    for name, value in filled.items():
        replace_in(project / ".env", f"{name}=\n", f"{name}={value}\n")

    code, lines = validate()

    assert code == 0
    assert "ok    .env: 5 settings" in lines
    assert "ok    settings of dev: .env, the shell: complete" in lines


def test_stage_is_checked_with_the_settings_of_its_deployment(
    project: Path, validate: Validate, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".env").write_text(SETTINGS + "MPAAS_APP_ID=\n")

    def missing(stage: str) -> str:
        message = "MPAAS_APP_ID: is not set: put the app id that the mPaaS console shows into"
        return f"FAULT settings of {stage}: {message} .env.{stage} or .env"

    for stage in ("dev", "prod"):
        code, lines = validate("--stage", stage)
        assert code == 1
        assert missing(stage) in lines

    (project / ".env.staging").write_text("MPAAS_APP_ID=ONEX1\n")
    code, lines = validate("--stage", "staging")
    assert code == 0, lines
    assert "ok    settings of staging: .env, .env.staging, the shell: complete" in lines
    assert validate()[1] == lines  # staging is the only stage with its own settings file
    assert validate("--stage", "prod")[0] == 1

    monkeypatch.setenv("MPAAS_APP_ID", "")  # the shell overrides the files, as in a deployment
    assert missing("staging") in validate("--stage", "staging")[1]


def test_settings_file_may_have_a_bom_and_crlf(project: Path, validate: Validate) -> None:
    text = SETTINGS + "MPAAS_APP_ID=ONEX1\n"
    (project / ".env").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    code, lines = validate("--stage", "dev")

    assert code == 0, lines


def test_overriding_shell_setting_is_noted(
    project: Path, validate: Validate, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".env").write_text(SETTINGS + "MPAAS_APP_ID=ONEX1\n")
    (project / ".env.staging").write_text("MPAAS_APP_ID=ONEX2\nUPLOADS_BUCKET=files\n")
    for name, value in (("MPAAS_APP_ID", "ONEX1"), ("UPLOADS_BUCKET", "files")):
        monkeypatch.setenv(name, value)

    code, lines = validate("--stage", "staging")

    assert code == 0, lines
    assert "      note: the shell overrides MPAAS_APP_ID of .env.staging" in lines
    assert not any("overrides UPLOADS_BUCKET" in line for line in lines)


def test_settings_of_an_unknown_or_another_stage_are_faults(project: Path, validate: Validate) -> None:
    (project / ".env").write_text(SETTINGS + "MPAAS_APP_ID=ONEX1\nSTAGE=prod\n")
    (project / ".env.stagign").write_text("MPAAS_APP_ID=ONEX2\n")

    lines = "\n".join(validate()[1])

    assert "FAULT .env.stagign: there is no stage stagign; the stages are dev, prod, staging" in lines
    assert "FAULT settings of dev: STAGE is prod in .env, but the requested stage is dev" in lines
    assert "there is no stage stagign" in "\n".join(validate("--stage", "stagign")[1])


def test_stages_that_match_the_same_uploads_are_reported(project: Path, validate: Validate) -> None:
    replace_in(project / "s.yaml", "prefix: ${vars.stage}/statements/", "prefix: bills/")
    assert not any("same uploads" in line for line in validate()[1])  # no stage has settings yet

    (project / ".env").write_text(SETTINGS + "MPAAS_APP_ID=ONEX1\n")
    lines = validate("--stage", "staging")[1]
    path = "resources.event_push.props.triggers.uploads"
    note = f"      note: {path}: a trigger of the stage dev matches the same uploads to files"
    assert any(line.startswith(note) for line in lines), lines

    for stage in ("staging", "prod"):
        (project / f".env.{stage}").write_text(f"UPLOADS_BUCKET=files-of-{stage}\n")
    assert not any("same uploads" in line for line in validate()[1])


@pytest.mark.parametrize(
    ("source", "instance"),
    [
        ("rocketmq", "ROCKETMQ_INSTANCE_ID=rmq-cn-ours"),
        ("rabbitmq", "RABBITMQ_INSTANCE_ID=amqp-cn-ours"),
        ("kafka", "KAFKA_INSTANCE_ID=alikafka-ours"),
    ],
)
def test_example_source_can_be_copied_unchanged(
    project: Path, validate: Validate, source: str, instance: str
) -> None:
    example = (project / "s.sources.yaml").read_text("utf-8")
    function = re.search(rf"^  {source}_push:\n(?:(?:    .*)?\n)+", example, re.MULTILINE)
    assert function
    with (project / "s.yaml").open("a", encoding="utf-8") as descriptor:
        descriptor.write("\n" + function[0].rstrip().replace("Enable: false", "Enable: true") + "\n")
    assert any("until .env or the environment names the instance" in line for line in validate()[1])
    (project / ".env").write_text(SETTINGS + f"MPAAS_APP_ID=ONEX1\n{instance}\n")

    lines = validate()[1]

    assert all("run make template" in line for line in lines if line.startswith("FAULT")), lines
    assert any(line.startswith("ok    s.yaml: 6 functions, 9 triggers") for line in lines), lines


def test_invalid_shell_setting_is_reported(validate: Validate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSH_CONCURRENCY", "many")

    code, lines = validate()

    assert code == 1
    assert lines[0].startswith("FAULT environment: PUSH_CONCURRENCY: ")


@pytest.mark.parametrize("stage", ["dev", "staging", "prod"])
def test_project_is_valid_with_every_stage(
    validate: Validate, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.setenv("STAGE", stage)

    assert validate()[0] == 0


# --- Files of messages, folders without a project


def test_message_files_are_checked(tmp_path: Path, validate: Validate) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(MESSAGE))
    bad.write_text(json.dumps({"messages": [MESSAGE, MESSAGE | {"titel": "x"}]}))

    code, lines = validate(str(good), str(bad))

    assert code == 1
    assert f"ok    {good}: 1 message" in lines
    assert f"FAULT {bad}: messages.1.titel: unknown field" in "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "FAULT s.yaml: cannot be read"),
        ("just text", "FAULT s.yaml: must be a map with `resources`"),
        ("resources: {f: {component: fc3, props: {triggers: [7]}}}", "FAULT s.yaml: edition: is missing"),
        (
            "{edition: 3.0.0, name: n, resources: {f: {component: fc3@0.1.22, props: {triggers: [7], code: 7}}}}",
            "FAULT s.yaml: resources.f.props.functionName: is missing",
        ),
        (None, "error: there is neither s.yaml nor functions"),
    ],
)
def test_folder_without_a_valid_project_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    if text:
        (tmp_path / "s.yaml").write_text(text)

    assert main(["validate", "--folder", str(tmp_path)]) == 1

    captured = capsys.readouterr()
    assert message in captured.out + captured.err
