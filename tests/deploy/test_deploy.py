"""Deployments, the first and later ones, against stand-ins for the cloud's API and for the command `s`."""

from __future__ import annotations

import copy
import io
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_push.credentials import Credentials
from project.__main__ import main as project_main
from tests.deploy.control_plane import ACCOUNT, TRUST_POLICY

if TYPE_CHECKING:
    from tests.deploy.conftest import Project
    from tests.deploy.control_plane import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
EMPTY_ZIP = b"PK\5\6" + bytes(18)
NAMES = ("http", "queue", "timer", "event", "campaign")
HTTP, QUEUE, TIMER, EVENT, CAMPAIGN = FUNCTIONS = [f"mpaas-{name}-push-dev" for name in NAMES]


def test_first_deployment_is_planned_carried_out_and_read_back(project: Project, cloud: ControlPlane) -> None:
    code, planned = project.run("plan")
    assert code == 0, planned
    assert not cloud.functions
    assert all(name in planned for name in (*FUNCTIONS, "trigger morning"))
    assert re.search("trigger morning +timer", planned)

    code, printed = project.run("deploy")

    assert code == 0, printed
    assert {*FUNCTIONS} == cloud.functions.keys()
    assert "deployed and read back" in printed
    assert "nothing would change" in project.run("plan")[1]
    project.replace("s.yaml", "0 0 9 * * *", "0 30 8 * * *")
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    documented = page.partition("<!-- plan -->\n```console\n$ make plan\n")[2].partition("```")[0]
    assert [line.rstrip() for line in project.run("plan")[1].splitlines()] == documented.splitlines()


def test_unchanged_stage_can_be_deployed_again(deployed: Project, cloud: ControlPlane) -> None:
    code, printed = deployed.run("deploy")

    assert code == 0, printed
    assert len(cloud.layers["mpaas-push-dev"]) == 1
    assert "version 1 of mpaas-push-dev" in printed


def test_package_is_found_from_the_folder_where_the_command_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.layer.parent)
    project.layer = Path(project.layer.name)
    code, printed = project.run("deploy")
    assert code == 0, printed

    project.layer = Path("missing.zip")
    with pytest.raises(SystemExit) as exit_:
        project.run("deploy")

    assert exit_.value.code == 2
    assert "argument --layer: missing.zip is not a file" in capsys.readouterr().err


def test_changed_trigger_of_every_kind_is_updated(deployed: Project, cloud: ControlPlane) -> None:
    for old, new in (
        ("0 0 9 * * *", "0 30 8 * * *"),  # timer
        ("methods: [GET, POST, PATCH]", "methods: [GET, POST, HEAD]"),  # http
        ("notifyStrategy: EXPONENTIAL_DECAY_RETRY", "notifyStrategy: BACKOFF_RETRY"),  # topic
        ("prefix: ${vars.stage}/statements/", "prefix: bills/"),  # oss
        ("CountBasedWindow: 10000", "CountBasedWindow: 50"),  # streams
        ('{"prefix": "order:"}', '{"prefix": "shop:"}'),  # events
    ):
        deployed.replace("s.yaml", old, new)
    _, planned = deployed.run("plan")
    for what in ("morning", "http", "announcements", "uploads", "pushes", "events"):
        assert f"trigger {what}." in planned, planned

    code, printed = deployed.run("deploy")

    assert code == 0, printed
    config = {name: json.loads(trigger["triggerConfig"]) for name, trigger in cloud.triggers[QUEUE].items()}
    assert config["announcements"]["notifyStrategy"] == "BACKOFF_RETRY"
    assert config["pushes"]["runOptions"]["batchWindow"]["CountBasedWindow"] == 50
    assert "nothing would change" in deployed.run("plan")[1]


def test_skipped_trigger_is_added_and_orphaned_trigger_is_removed(
    deployed: Project, cloud: ControlPlane
) -> None:
    deployed.replace("s.yaml", "triggerName: announcements", "triggerName: news")
    deployed.replace(
        "functions/event_push/rules.yaml", "Order", "Parcel"
    )  # the code of a function that `s` does not reach

    code, printed = deployed.run("deploy")

    assert code == 0, printed
    assert "TriggerNotFound" in printed
    assert f"s did not deploy the trigger news of {QUEUE}; deploying it separately" in printed
    assert f"removing the trigger announcements of {QUEUE}, which the descriptor does not have" in printed
    assert "s stopped early with exit code 101; running it again" in printed
    assert "news" in cloud.triggers[QUEUE]
    assert "announcements" not in cloud.triggers[QUEUE]


def test_trigger_of_another_type_is_recreated(deployed: Project, cloud: ControlPlane) -> None:
    cloud.triggers[TIMER]["morning"] |= {"triggerType": "oss"}

    code, printed = deployed.run("deploy")

    assert code == 0, printed
    assert f"removing the trigger morning of {TIMER}, to recreate it" in printed
    assert cloud.triggers[TIMER]["morning"]["triggerType"] == "timer"


def test_changes_in_the_console_are_shown_and_reverted(deployed: Project, cloud: ControlPlane) -> None:
    cloud.functions[TIMER]["timeout"] = 5
    cloud.functions[TIMER]["environmentVariables"]["PUSH_LOG_LEVEL"] = "DEBUG"
    cloud.asynchronous[TIMER]["maxAsyncRetryAttempts"] = 0
    cloud.reserved[QUEUE] = 3
    cloud.functions[TIMER]["vpcConfig"] = {
        "vpcId": "vpc-1",
        "vSwitchIds": ["vsw-1"],
        "securityGroupId": "sg-1",
    }

    _, planned = deployed.run("plan")
    for what in (
        "timeout",
        "PUSH_LOG_LEVEL",
        "asyncInvokeConfig.maxAsyncRetryAttempts",
        "reservedConcurrency",
        "vpcConfig",
    ):
        assert what in planned

    code, printed = deployed.run("deploy")
    assert code == 0, printed
    assert "nothing would change" in deployed.run("plan")[1]


def test_instances_are_kept_warm_as_described_and_otherwise_released(
    deployed: Project, cloud: ControlPlane
) -> None:
    warm = "    provisionConfig:\n      defaultTarget: 2\n      alwaysAllocateCPU: false\n"
    without = (deployed.folder / "s.yaml").read_text()
    deployed.replace("s.yaml", "    internetAccess: true\n", f"    internetAccess: true\n{warm}")
    assert "provisionConfig" in deployed.run("plan")[1]

    code, printed = deployed.run("deploy")
    assert code == 0, printed
    assert cloud.provisioned[HTTP]["defaultTarget"] == 2
    assert "nothing would change" in deployed.run("plan")[1]

    cloud.provisioned[HTTP]["scheduledActions"] = [{"name": "in-the-console", "target": 9}]
    assert "provisionConfig.scheduledActions" in deployed.run("plan")[1]
    assert deployed.run("deploy")[0] == 0
    assert cloud.provisioned[HTTP]["scheduledActions"] == []

    (deployed.folder / "s.yaml").write_text(without)
    assert "provisionConfig" in deployed.run("plan")[1]
    code, printed = deployed.run("deploy")
    assert code == 0, printed
    assert cloud.provisioned == {}
    assert f"keeping no instance of {HTTP} warm" in printed


def test_instances_configured_in_the_console_are_shown_and_reverted(
    deployed: Project, cloud: ControlPlane
) -> None:
    cloud.provisioned[HTTP] = {"defaultTarget": 0, "alwaysAllocateCPU": True}
    cloud.scaling[QUEUE] = {"minInstances": 0, "residentPoolId": ""}
    assert "nothing would change" in deployed.run("plan")[1]
    cloud.provisioned[HTTP]["defaultTarget"] = 1
    cloud.scaling[QUEUE]["minInstances"] = 1

    planned = deployed.run("plan")[1]
    assert "provisionConfig" in planned
    assert "scalingConfig" in planned

    code, printed = deployed.run("deploy")
    assert code == 0, printed
    assert not cloud.provisioned
    assert not cloud.scaling


def test_vpc_binding_of_the_console_is_shown_and_reverted(deployed: Project, cloud: ControlPlane) -> None:
    cloud.bindings[HTTP] = ["vpc-1"]
    planned = deployed.run("plan")[1]
    assert "vpcBinding" in planned
    assert "would make 1 change" in planned

    code, printed = deployed.run("deploy")

    assert code == 0, printed
    assert cloud.bindings[HTTP] == []


def test_function_with_warm_instances_is_removed(deployed: Project, cloud: ControlPlane) -> None:
    cloud.provisioned[HTTP] = {"defaultTarget": 1}
    cloud.scaling[QUEUE] = {"minInstances": 1}

    code, printed = deployed.run("remove", "--yes")

    assert code == 0, printed
    assert not cloud.functions


@pytest.mark.parametrize(
    ("key", "enabled", "unset"),
    [
        ("vpcConfig", {"vpcId": "vpc-1"}, {"vpcId": "", "vSwitchIds": [], "securityGroupId": ""}),
        (
            "nasConfig",
            {"mountPoints": [{"mountDir": "/mnt"}]},
            {"userId": -1, "groupId": -1, "mountPoints": []},
        ),
        (
            "instanceLifecycleConfig",
            {"preStop": {"handler": "index.stop", "timeout": 3}},
            {"initializer": {"handler": "", "timeout": 3}, "preStop": {"handler": "", "timeout": 3}},
        ),
    ],
)
def test_undescribed_property_differs_only_if_it_is_enabled(
    deployed: Project, cloud: ControlPlane, key: str, enabled: dict[str, Any], unset: dict[str, Any]
) -> None:
    from deploy.plan import differences  # late: it imports the SDKs of four services
    from deploy.stage import read_stage

    stage = read_stage("dev", deployed.folder)
    plans = [plan for plan in stage.plans() if plan.name == HTTP]

    def differing_properties() -> set[str]:
        return {difference.what for difference in differences(plans, stage.cloud())}

    cloud.functions[HTTP][key] = unset
    before = differing_properties()
    cloud.functions[HTTP][key] = enabled
    assert differing_properties() - before == {key}


def test_differing_queues_and_role_are_shown_with_the_way_to_change_them(
    deployed: Project, cloud: ControlPlane
) -> None:
    cloud.queue["VisibilityTimeout"] = 30
    cloud.policies["mpaas-push-dev"] = '{"Version": "1", "Statement": []}'

    code, planned = deployed.run("plan")

    assert code == 0
    lines = planned.splitlines()
    queue = next(line for line in lines if "mpaas-push-retry-dev" in line)
    assert all(part in queue for part in ("VisibilityTimeout", "30 s", "at least 90 s"))
    assert any("policy mpaas-push-dev" in line and "dev-function.json" in line for line in lines)
    assert "make prepare changes queues, an administrator changes role and EventBridge" in planned
    assert "nothing would change" not in planned

    del cloud.policies["mpaas-push-dev"]
    assert "policy mpaas-push-dev" in deployed.run("plan")[1]
    cloud.denied.add("ListPoliciesForRole")
    assert "could not compare the role mpaas-push-dev and its policy" in deployed.run("plan")[1]


def test_runtime_is_changed_in_one_line_for_functions_and_layer(
    deployed: Project, cloud: ControlPlane
) -> None:
    deployed.replace("s.yaml", "runtime: python3.10", "runtime: python3.12")
    deployed.layer.write_bytes(b"a layer of another runtime")

    code, printed = deployed.run("deploy")

    assert code == 0, printed
    assert {function["runtime"] for function in cloud.functions.values()} == {"python3.12"}
    assert all(function["layers"][0].endswith("versions/2") for function in cloud.functions.values())
    assert "nothing would change" in deployed.run("plan")[1]


def test_interrupted_deployment_is_completed_by_the_next(deployed: Project, cloud: ControlPlane) -> None:
    # Only the first function exists, without all of its triggers, and no release was recorded.
    for name in {*FUNCTIONS} - {QUEUE}:
        del cloud.functions[name]
    for resources in (cloud.triggers, cloud.asynchronous, cloud.versions, cloud.aliases):
        resources.clear()
    cloud.reserved.clear()

    assert "dev has no release yet: make deploy creates one" in deployed.run("rollback")[1]
    assert deployed.run("versions") == (0, "dev has no release yet\n")
    code, printed = deployed.run("deploy")

    assert code == 0, printed
    assert {"pushes", "retries", "announcements"} == cloud.triggers[QUEUE].keys()
    assert "nothing would change" in deployed.run("plan")[1]


def test_changed_file_and_changed_layer_are_shown(deployed: Project) -> None:
    deployed.layer.write_bytes(b"another layer")
    deployed.replace("functions/event_push/rules.yaml", "Order", "Your order")

    _, planned = deployed.run("plan")

    assert "rules.yaml" in planned
    assert "a new version" in planned
    assert all(re.search(rf"{name} +layer +\S+versions/1 +\S+versions/2", planned) for name in FUNCTIONS)


def test_terminal_shows_additions_in_green_and_removals_in_red(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from deploy.plan import Difference, print_differences  # late: it imports the SDKs of four services

    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    print_differences(
        [
            Difference(function=HTTP, what="trigger evening", change="add"),
            Difference(function=HTTP, what="timeout", change="change"),
            Difference(function=HTTP, what="trigger morning", change="remove"),
        ]
    )

    _, *rows = capsys.readouterr().out.splitlines()
    assert [row[:6] for row in rows] == ["\x1b[32m+", "\x1b[33m~", "\x1b[31m-"]


def test_output_and_logs_contain_no_password_or_key(project: Project, cloud: ControlPlane) -> None:
    printed = project.run("plan")[1] + project.run("deploy")[1] + project.run("plan")[1]
    cloud.functions[HTTP]["environmentVariables"]["PUSH_LEDGER_URL"] = "redis://old:other@elsewhere"
    printed += project.run("plan")[1]

    assert "environmentVariables.PUSH_LEDGER_URL" in printed
    for secret in ("sword%2Ffish", "sword/fish", "swordfish-secret", "other@"):
        assert secret not in printed
        assert secret not in project.logs.read_text()


def test_old_and_new_value_of_a_secret_are_masked(
    deployed: Project, cloud: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed.replace(
        "s.yaml",
        "      PUSH_LEDGER_URL:",
        "      MPAAS_SK_ENV: ${env('MPAAS_SK_ENV', '')}\n      PUSH_LEDGER_URL:",
    )
    cloud.functions[HTTP]["environmentVariables"] |= {"MPAAS_SK_ENV": "the-old-key"}
    monkeypatch.setenv("MPAAS_AK_ENV", "LTAI-deployer")
    monkeypatch.setenv("MPAAS_SK_ENV", 'a "new"\\key')
    deployed.replace(".env", "push:sword%2Ffish@", "push2:newsword@")
    printed = deployed.run("plan")[1]

    code, deploying = deployed.run("deploy")

    assert code == 0, deploying
    assert "MPAAS_SK_ENV: ******** => ********" in deploying
    assert (
        "PUSH_LEDGER_URL: rediss://push:********@ledger.example.com:6379/0 => rediss://push2:********@"
        in deploying
    )
    printed += deploying + deployed.run("plan")[1]
    for secret in ("sword%2Ffish", "newsword", "the-old-key", "key'", "\\key", "\\\\key"):
        assert secret not in printed
        assert secret not in deployed.logs.read_text()


def test_calls_are_signed_with_the_deployers_key_not_the_functions(
    project: Project, cloud: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPAAS_AK_ENV", "LTAI-of-the-functions")
    monkeypatch.setenv("MPAAS_SK_ENV", "a-key-of-the-functions")

    code, printed = project.run("deploy")

    assert code == 0, printed
    signed = [signature for signature in cloud.signatures if signature]  # the stand-in for `s` signs nothing
    assert len(signed) > 20
    assert all("LTAI-deployer" in signature for signature in signed)

    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID")
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    code, printed = project.run("plan")
    assert code == 2
    assert "the deployer's AccessKey is missing: set ALIBABA_CLOUD_ACCESS_KEY_ID and" in printed


def test_secret_of_the_shell_with_another_name_is_masked(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.replace(
        "s.yaml",
        "      PUSH_LEDGER_URL:",
        "      MPAAS_SK_ENV: ${env('OURS', '')}\n      PUSH_LEDGER_URL:",
    )
    monkeypatch.setenv("OURS", "swordfish-of-the-shell")

    code, printed = project.run("deploy")

    assert code == 0, printed
    assert "swordfish-of-the-shell" not in printed
    assert "swordfish-of-the-shell" not in project.logs.read_text()


def test_secret_is_masked_in_each_printed_form(tmp_path: Path) -> None:
    from deploy.serverless import Serverless  # late: it imports the SDKs of four services

    env = {
        "JWT_SECRET": 'first line\nsecond "line',
        "API_TOKEN": '{"key": "hunter2"}',
        "PUSH_LEDGER_URL": r"rediss://push:sw\ord$fish@h",
    }
    mask = Serverless(tmp_path / "s.yaml", env).mask
    for name, value in env.items():
        password = r"sw\ord$fish" if name == "PUSH_LEDGER_URL" else value
        for text in (value, json.dumps(value), password, *password.splitlines()):
            assert password.splitlines()[-1] not in mask(text)
            assert "ord" not in mask(text)
            assert "line" not in mask(text)
            assert "hunter2" not in mask(text)
    assert mask("redis://old:gone@h is not a setting") == "redis://old:********@h is not a setting"


def test_functions_may_share_a_folder(deployed: Project) -> None:
    example = (deployed.folder / "s.sources.yaml").read_text()
    text = (deployed.folder / "s.yaml").read_text()
    lines = example.partition("resources:\n")[2].splitlines(keepends=True)
    deployed.folder.joinpath("s.yaml").write_text(text.rstrip("\n") + "\n\n" + "".join(lines))
    instances = "ROCKETMQ_INSTANCE_ID=a\nRABBITMQ_INSTANCE_ID=b\nKAFKA_INSTANCE_ID=c\n"
    (deployed.folder / ".env").write_text((deployed.folder / ".env").read_text() + instances)

    code, printed = deployed.run("deploy")

    assert code == 0, printed


def test_interrupted_command_masks_all_logs_and_prints_no_traceback(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.logs.parent.mkdir(parents=True)
    killed = project.logs.parent / "killed.log"
    killed.write_text("PUSH_LEDGER_URL: rediss://push:sword%2Ffish@ledger.example.com:6379/0")
    os.utime(killed, (0, 0))
    of_staging = project.logs.parent / "of-staging.log"
    settings = {
        "PUSH_LEDGER_URL": "rediss://push:ofStaging@ledger.example.com:6379/0",
        "API_TOKEN": 'of"Staging',
    }
    yaml_and_json = "\n".join(f"{name}: {value}" for name, value in settings.items()) + json.dumps(settings)
    of_staging.write_text(yaml_and_json + json.dumps(json.dumps(settings)))

    class Interrupted(io.StringIO):
        def write(self, _: str) -> int:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", Interrupted())
        code, printed = project.run("logs", "--function", "queue_push")

    assert (code, printed) == (130, "logs was interrupted\n")
    for file in (killed, of_staging):
        assert "rediss://push:********@" in file.read_text()
    assert "Staging" not in of_staging.read_text()


def test_all_missing_prerequisites_are_reported_before_any_change(
    project: Project, cloud: ControlPlane
) -> None:
    cloud.roles.clear()
    cloud.log_projects.clear()
    cloud.buckets.clear()
    cloud.buses.clear()
    cloud.service_roles = cloud.queues_exist = False
    cloud.account = "2000000000000000"

    code, printed = project.run("deploy")

    assert code == 2
    for text in (
        "a key of the account 1000000000000000 is missing",
        "the role mpaas-push-dev is missing: docs/deploy.md, step 5",
        "the Log Service project mpaas-push-dev is missing: docs/deploy.md, step 3",
        "the logstore functions of mpaas-push-dev is missing: docs/deploy.md, step 3",
        "the event bus default is missing: EventBridge creates it when it is activated: docs/deploy.md, step 1",
        "the bucket our-uploads is missing: docs/deploy.md, step 3",
        "sendevent-fc.eventbridge.aliyuncs.com is missing: docs/deploy.md, step 5",
        "the queue mpaas-push-retry-dev is missing: make prepare STAGE=dev",
        "the topic mpaas-push-dev is missing: make prepare STAGE=dev",
        "the triggers' role aliyunosseventnotificationrole is missing: docs/deploy.md, step 3",
    ):
        assert text in printed
    assert not cloud.functions
    assert not cloud.layers


def test_role_without_trust_in_function_compute_is_reported_before_any_change(
    project: Project, cloud: ControlPlane
) -> None:
    service = {"Service": ["ecs.aliyuncs.com"]}
    cloud.roles["mpaas-push-dev"] = [
        {**TRUST_POLICY, "Effect": "Deny"},
        {**TRUST_POLICY, "Principal": service},
    ]

    code, printed = project.run("deploy")

    assert code == 2
    assert (
        "the trust of the role mpaas-push-dev in fc.aliyuncs.com is missing: docs/deploy.md, step 5:"
        " build/policies/dev-trust.json"
    ) in printed
    assert "the role mpaas-push-dev is missing" not in printed
    assert not cloud.functions


def test_role_that_others_may_assume_is_shown(project: Project, cloud: ControlPlane) -> None:
    cloud.roles["mpaas-push-dev"] = [
        {**TRUST_POLICY, "Action": ["sts:AssumeRole"]}
    ]  # RAM accepts a list as well
    assert "trust policy" not in project.run("plan")[1]
    cloud.roles["mpaas-push-dev"] = [
        TRUST_POLICY,
        {**TRUST_POLICY, "Principal": {"RAM": "acs:ram::2000000000000000:root"}},
    ]

    code, planned = project.run("plan")

    assert code == 0
    line = next(line for line in planned.splitlines() if "trust policy" in line)
    assert "acs:ram::2000000000000000:root, fc.aliyuncs.com" in line
    assert "build/policies/dev-trust.json" in line


def test_stream_or_rule_disabled_in_eventbridge_is_shown(project: Project, cloud: ControlPlane) -> None:
    paths = {
        "pushes": f"eventstreaming/{QUEUE}-pushes",
        "retries": f"eventstreaming/{QUEUE}-retries",
        "events": f"eventbus/default/rule/{EVENT}-events",
    }
    for name, function in (("pushes", QUEUE), ("retries", QUEUE), ("events", EVENT)):
        arn = f"acs:eventbridge:cn-hangzhou:1000000000000000:{paths[name]}"
        cloud.functions[function], cloud.code[function] = {"functionName": function}, EMPTY_ZIP
        trigger = {"triggerName": name, "triggerType": "eventbridge", "triggerConfig": "{}", "sourceArn": arn}
        cloud.triggers.setdefault(function, {})[name] = trigger
    cloud.deliveries |= {f"{QUEUE}-pushes": "PAUSED", f"{EVENT}-events": "DISABLE"}

    code, planned = project.run("plan")

    assert code == 0
    for name, status in (("pushes", "PAUSED"), ("retries", "does not exist"), ("events", "DISABLE")):
        line = next(line for line in planned.splitlines() if f"{paths[name]}, trigger {name}" in line)
        assert status in line
        assert "start it in the EventBridge console" in line

    cloud.deliveries |= {f"{QUEUE}-pushes": "RUNNING", f"{QUEUE}-retries": "STARTING"}
    assert paths["pushes"] not in project.run("plan")[1]
    cloud.denied |= {"GetEventStreaming"}
    assert f"could not compare the deliveries of EventBridge to {QUEUE}" in project.run("plan")[1]


def test_prerequisite_that_the_key_may_not_read_is_a_note(project: Project, cloud: ControlPlane) -> None:
    cloud.denied |= {"GetRole", "GetQueueAttributes", "CheckServiceLinkedRoleExistence", "GetEventBus"}

    code, printed = project.run("deploy")

    assert code == 0, printed
    for output in (printed, project.run("plan")[1]):
        for what in ("the role mpaas-push-dev", "the event bus default"):
            assert f"note: could not check whether {what} exists" in output


def test_response_that_is_not_an_object_is_a_note(
    deployed: Project, cloud: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "_rpc", lambda *_: None)

    code, planned = deployed.run("plan")

    assert code == 0
    assert "note: could not check whether the role mpaas-push-dev exists" in planned


def test_source_without_an_instance_is_reported_before_any_change(
    project: Project, cloud: ControlPlane
) -> None:
    assert project_main(["new-function", "orders", "kafka", "--folder", str(project.folder)]) == 0

    code, printed = project.run("deploy")

    assert code == 2
    assert "the Kafka instance of mpaas-orders-push-dev, trigger messages, is missing: set" in printed
    assert not cloud.functions


def test_all_missing_settings_are_reported(project: Project) -> None:
    (project.folder / ".env").write_text("ALIBABA_CLOUD_REGION_ID=nowhere\nMPAAS_APP_ID=\n")

    code, printed = project.run("deploy")

    assert code == 2
    for text in (
        "ALIBABA_CLOUD_ACCOUNT_ID is not set",
        "ALIBABA_CLOUD_REGION_ID is 'nowhere'",
        "MPAAS_APP_ID is not set",
        "UPLOADS_BUCKET is not set",
    ):
        assert text in printed


def test_functions_with_different_runtimes_are_reported(project: Project) -> None:
    code = "code: ./functions/timer_push"
    project.replace("s.yaml", code, f"{code}\n      runtime: python3.12")

    exit_code, printed = project.run("deploy")

    assert exit_code == 2
    assert "functions with python3.10 and python3.12 cannot share a layer" in printed


def test_settings_of_a_stage_override_the_common_ones(project: Project, cloud: ControlPlane) -> None:
    (project.folder / ".env.staging").write_text("MPAAS_APP_ID=ONEXSTAGING00001\nPUSH_LEDGER_URL=\n")

    assert project.run("deploy")[0] == 0
    code, printed = project.run("deploy", stage="staging")

    assert code == 0, printed
    apps = {
        name: function["environmentVariables"]["MPAAS_APP_ID"] for name, function in cloud.functions.items()
    }
    assert apps["mpaas-http-push-staging"] == "ONEXSTAGING00001"
    assert apps[HTTP] == "ONEX570DA89211721"
    environment = cloud.functions["mpaas-http-push-staging"]["environmentVariables"]
    assert environment["PUSH_LEDGER_URL"] == "", "an empty setting of the stage unsets the common one"
    assert "nothing would change" in project.run("plan")[1]


def test_stages_share_a_bucket_with_separate_prefixes(deployed: Project, cloud: ControlPlane) -> None:
    code, printed = deployed.run("deploy", stage="staging")

    assert code == 0, printed
    prefixes = [
        json.loads(cloud.triggers[f"mpaas-{function}-push-{stage}"][trigger]["triggerConfig"])["filter"][
            "key"
        ]["prefix"]
        for stage in ("dev", "staging")
        for function, trigger in (("event", "uploads"), ("campaign", "campaigns"))
    ]
    assert prefixes == ["dev/statements/", "dev/campaigns/", "staging/statements/", "staging/campaigns/"]


def test_stages_that_match_the_same_uploads_are_reported_before_any_change(
    project: Project, cloud: ControlPlane
) -> None:
    project.replace("s.yaml", "prefix: ${vars.stage}/statements/", "prefix: statements/")
    assert project.run("deploy")[0] == 0
    message = f"uploads and one of {EVENT} match the same uploads to our-uploads, which OSS refuses"

    for command, expected in (("plan", 0), ("deploy", 2)):
        code, printed = project.run(command, stage="staging")
        assert code == expected, printed
        assert message in printed
        assert "UPLOADS_BUCKET in .env.<stage>" in printed
    assert "mpaas-event-push-staging" not in cloud.functions

    (project.folder / ".env.staging").write_text("UPLOADS_BUCKET=of-staging\n")
    cloud.buckets.add("of-staging")
    assert project.run("deploy", stage="staging")[0] == 0


def test_triggers_of_another_stage_are_compared_even_without_a_filter(
    deployed: Project, cloud: ControlPlane
) -> None:
    trigger = {
        "triggerName": "all",
        "triggerType": "oss",
        "sourceArn": f"acs:oss:cn-hangzhou:{ACCOUNT}:our-uploads",
    }
    for key in ({}, {"key": None}, {"key": {"prefix": None}}):
        config = {"events": ["oss:ObjectCreated:*", "oss:Unheard:Of"], "filter": key}
        cloud.triggers["mpaas-event-push-staging"] = {"all": trigger | {"triggerConfig": json.dumps(config)}}
        cloud.functions["mpaas-event-push-staging"] = {"functionName": "mpaas-event-push-staging"}

        code, printed = deployed.run("plan")

        assert code == 0
        assert "uploads and one of mpaas-event-push-staging match the same uploads" in printed


def test_another_stage_is_read_with_its_own_settings(deployed: Project) -> None:
    with (deployed.folder / "s.staging.yaml").open("a") as overlay:
        overlay.write("resources: {http_push: {props: {description: \"${env('OF_STAGING')}\"}}}\n")
    note = "note: could not check whether a trigger of the stage staging for the same uploads exists"

    code, planned = deployed.run("plan")
    assert code == 0
    assert note in planned
    (deployed.folder / ".env.staging").write_text("OF_STAGING=a\n")

    code, planned = deployed.run("plan")
    assert code == 0
    assert note not in planned


def test_example_of_message_sources_is_not_a_stage(project: Project) -> None:
    code, printed = project.run("deploy", stage="sources")

    assert code == 2
    assert (
        "there is no stage sources; the stages are dev, prod, staging; s.sources.yaml is an example"
        in printed
    )


def test_git_ignores_settings_files() -> None:
    ignored = ["git", "check-ignore", "--no-index", ".env", ".env.staging", ".env.example"]
    done = subprocess.run(ignored, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stdout.split() == [".env", ".env.staging"]


def test_copy_that_describes_another_stage_is_refused(deployed: Project, cloud: ControlPlane) -> None:
    shutil.copy(deployed.folder / "s.staging.yaml", deployed.folder / "s.canary.yaml")
    cloud.functions["mpaas-http-push-staging"] = {"functionName": "mpaas-http-push-staging"}

    for command in ("deploy", "remove"):
        code, printed = deployed.run(command, *(["--yes"] if command == "remove" else []), stage="canary")
        assert code == 2
        assert "vars.stage: is staging, but s.canary.yaml is the stage canary" in printed
    assert "mpaas-http-push-staging" in cloud.functions


def test_settings_that_name_another_stage_are_refused(project: Project) -> None:
    (project.folder / ".env.staging").write_text("STAGE=prod\n")

    code, printed = project.run("deploy", stage="staging")

    assert code == 2
    assert "STAGE is prod in .env.staging, but the requested stage is staging" in printed


def test_partly_failed_deployment_reports_what_is_live(project: Project, cloud: ControlPlane) -> None:
    cloud.denied.add("PutFunctionAsyncInvokeConfig")

    code, printed = project.run("deploy")

    assert code == 1
    assert "live as described: nothing; not as described" in printed
    assert '"maxAsyncRetryAttempts": 3}' in printed
    assert f"{HTTP}" in printed
    cloud.denied.clear()
    assert project.run("deploy")[0] == 0


def test_deployment_that_was_not_read_back_or_recorded_is_an_error(
    deployed: Project, cloud: ControlPlane
) -> None:
    for action, message in (
        (
            "ListTriggers",
            "The deployed functions are live, but were not read back, and no release was recorded",
        ),
        ("PublishFunctionVersion", "All functions are live as described, but the release was not recorded"),
    ):
        cloud.denied = {action}
        code, printed = deployed.run("deploy")
        assert code == 1
        assert f"{message}: run make deploy again" in printed


@pytest.mark.parametrize("third_begins", [False, True])
def test_of_two_concurrent_deployments_the_later_is_not_a_release(
    project: Project, cloud: ControlPlane, monkeypatch: pytest.MonkeyPatch, third_begins: bool
) -> None:
    from deploy import deploy as deployment  # late: it imports the SDKs

    project.commit_and_deploy()
    remove = deployment._remove_orphaned_functions
    commits: list[str] = []

    def deploy_again(*arguments: Any) -> bool:
        monkeypatch.setattr(deployment, "_remove_orphaned_functions", remove)
        project.replace("s.yaml", "0 0 9 * * *", "0 30 8 * * *")
        commits.append(project.commit_and_deploy())
        if third_begins:
            cloud.denied = {"PublishFunctionVersion"}
            assert project.run("deploy")[0] == 1
            cloud.denied = set()
        return remove(*arguments)

    monkeypatch.setattr(deployment, "_remove_orphaned_functions", deploy_again)

    code, printed = project.run("deploy")

    assert code == 1
    assert "another deployment of dev ended while this one ran" in printed
    assert f"commit {commits[0]}" in printed
    assert f"commit {commits[0]}" in cloud.aliases[TIMER]["live"]["description"]


def test_worker_is_deployed_before_the_function_that_calls_it(project: Project, cloud: ControlPlane) -> None:
    code, printed = project.run("deploy")

    assert code == 0, printed
    assert [*cloud.functions].index(QUEUE) < [*cloud.functions].index(HTTP)


def test_only_old_unused_layers_are_removed(project: Project, cloud: ControlPlane) -> None:
    arn = "acs:fc:cn-hangzhou:1000000000000000:layers/mpaas-push-dev/versions/"
    cloud.layers["mpaas-push-dev"] = [
        {"version": number, "layerVersionArn": f"{arn}{number}", "codeChecksum": str(number)}
        for number in range(1, 9)
    ]
    cloud.functions["elsewhere"] = {"functionName": "elsewhere", "layers": [f"{arn}3"]}

    assert project.run("deploy")[0] == 0

    assert [layer["version"] for layer in cloud.layers["mpaas-push-dev"]] == [3, 5, 6, 7, 8, 9]


def test_logs_are_followed_without_a_warning(deployed: Project) -> None:
    code, printed = deployed.run("logs", "--function", "queue_push")

    assert code == 0
    assert f"logs of {QUEUE}" in printed
    assert "warning" not in printed
    code, printed = deployed.run("logs", "--function", "mpaas-queue-push-dev")
    assert code == 2
    assert "s.yaml has no function mpaas-queue-push-dev; its functions are queue_push, " in printed


def test_stage_is_removed_and_read_back(deployed: Project, cloud: ControlPlane) -> None:
    code, printed = deployed.run("remove", "--yes")

    assert code == 0, printed
    assert not cloud.functions
    assert "no function of dev is left" in printed


def test_refused_removal_is_an_error(deployed: Project, cloud: ControlPlane) -> None:
    orphan = "mpaas-extra-push-dev"  # not in the descriptor
    role = "acs:ram::1000000000000000:role/mpaas-push-dev"
    cloud.functions[orphan] = {"functionName": orphan, "role": role}
    cloud.denied.add("DeleteFunction")

    code, printed = deployed.run("remove", "--yes")

    assert code == 1
    for name in (*FUNCTIONS, orphan):
        assert f"not removed: {name}" in printed
    cloud.denied.clear()
    code, printed = deployed.run("remove", "--yes")
    assert code == 0, printed
    assert not cloud.functions


def test_orphaned_functions_that_the_key_may_not_list_are_not_reported_as_removed(
    deployed: Project, cloud: ControlPlane
) -> None:
    cloud.functions["mpaas-extra-push-dev"] = {"functionName": "mpaas-extra-push-dev"}
    cloud.denied.add("ListFunctions")

    code, printed = deployed.run("deploy")
    assert code == 0, printed
    assert "; could not check for functions that s.yaml no longer has" in printed
    assert "nothing would change in the parts that could be read" in deployed.run("plan")[1]
    code, printed = deployed.run("remove", "--yes")

    assert code == 1
    assert "no function of dev is left" not in printed
    assert "could not check for functions that it no longer has" in printed
    assert [*cloud.functions] == ["mpaas-extra-push-dev"]


def test_nothing_is_changed_without_the_command_s(
    deployed: Project, cloud: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    before = cloud.state()

    for command, *arguments in (["remove", "--yes"], ["logs"]):
        code, printed = deployed.run(command, *arguments)
        assert code == 2
        assert f"make {command} changed nothing: the command s is not installed: npm install -g" in printed

    after = cloud.state()
    assert (after["versions"], after["aliases"]) == (before["versions"], before["aliases"])


def test_nothing_is_removed_without_confirmation(
    deployed: Project, cloud: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", end)

    code, printed = deployed.run("remove")

    assert code == 2
    assert "make remove changed nothing" in printed
    assert HTTP in cloud.functions


# --- Rollback


def test_rollback_restores_code_triggers_and_layer_of_the_previous_release(
    project: Project, cloud: ControlPlane
) -> None:
    (project.folder / ".git").rename(
        project.folder.parent / ".git"
    )  # the project is a folder of a repository
    first = project.commit_and_deploy()
    project.replace("functions/event_push/rules.yaml", "Order", "Parcel")
    project.replace("s.yaml", "0 0 9 * * *", "0 30 8 * * *")
    project.layer.write_bytes(b"a second layer")
    project.commit_and_deploy()
    old = cloud.code[EVENT]
    cloud.queues_exist = False
    code, printed = project.run("rollback")
    assert code == 2
    assert "the queue mpaas-push-retry-dev is missing: make prepare STAGE=dev" in printed
    cloud.queues_exist = True

    code, printed = project.run("rollback")

    assert code == 0, printed
    assert cloud.code[EVENT] != old
    assert cloud.functions[EVENT]["layers"][0].endswith("versions/1")
    assert "0 0 9 * * *" in cloud.triggers[TIMER]["morning"]["triggerConfig"]
    code, listed = project.run("versions")
    assert code == 0
    live = next(line for line in listed.splitlines() if line.endswith("live"))
    assert first in live
    assert "there is no previous release" in project.run("rollback")[1]


def test_rollback_after_an_interrupted_deployment_returns_to_the_release_before_it(
    project: Project, cloud: ControlPlane
) -> None:
    def fails(command: str) -> None:
        cloud.denied = {"PublishFunctionVersion"}
        assert project.run(command)[0] == 1
        cloud.denied = set()

    first = project.commit_and_deploy()
    project.replace("s.yaml", "0 0 9 * * *", "0 30 8 * * *")
    second = project.commit_and_deploy()
    project.replace("s.yaml", "0 30 8 * * *", "0 0 7 * * *")
    project.commit()

    fails("deploy")

    assert "0 0 7 * * *" in cloud.triggers[TIMER]["morning"]["triggerConfig"]
    listed = project.run("versions")[1]
    assert not any(line.endswith("live") for line in listed.splitlines())
    assert re.search(f"make rollback to return to .* commit {second}", listed)
    code, printed = project.run("rollback")
    assert code == 0, printed
    assert "0 30 8 * * *" in cloud.triggers[TIMER]["morning"]["triggerConfig"]

    fails("rollback")
    code, printed = project.run("rollback")  # an interrupted one is repeated

    assert code == 0, printed
    assert "0 0 9 * * *" in cloud.triggers[TIMER]["morning"]["triggerConfig"]
    assert next(line for line in project.run("versions")[1].splitlines() if line.endswith("live")).count(
        first
    )


def test_rollback_after_an_interrupted_deployment_passes_over_a_release_without_a_commit(
    project: Project, cloud: ControlPlane
) -> None:
    first = project.commit_and_deploy()
    project.replace("s.yaml", "0 0 9 * * *", "0 30 8 * * *")
    assert project.run("deploy")[0] == 0
    cloud.denied = {"PublishFunctionVersion"}
    assert project.run("deploy")[0] == 1
    cloud.denied = set()
    project.commit()

    listed = project.run("versions")[1]
    code, printed = project.run("rollback")

    assert re.search(f"make rollback to return to .* commit {first}", listed)
    assert code == 0, printed
    assert "0 0 9 * * *" in cloud.triggers[TIMER]["morning"]["triggerConfig"]


def test_release_without_changed_functions_is_recorded(cloud: ControlPlane) -> None:
    from deploy.cloud import Cloud  # late: it imports the SDKs of four services
    from deploy.releases import Release, alias_descriptions, live_release, record_release, releases
    from deploy.removal import make_deletable

    api = Cloud(cloud.url, Credentials("LTAI-deployer", "swordfish-secret"))
    cloud.functions["f"], cloud.code["f"], cloud.refuses_unchanged = {"functionName": "f"}, b"", True
    recorded = []
    for minute, code in enumerate((b"1", b"1", b"2")):
        cloud.code["f"] = code
        at = datetime(2026, 1, 1, minute=minute, tzinfo=timezone.utc)
        recorded.append(Release(commit=f"{minute:012}", layer=1, at=at))
        record_release(api, ["f"], recorded[-1])

    assert len(cloud.versions["f"]) == 2
    assert releases(api, ["f"]) == recorded[::-1]
    assert live_release(alias_descriptions(api, ["f"])) == recorded[-1]
    make_deletable(api, "f")
    assert not cloud.aliases["f"]
    assert not cloud.versions["f"]


def test_rollback_skips_releases_that_were_rolled_back() -> None:
    from deploy.releases import Release, previous_release  # late: it imports the SDKs of four services

    def release(commit: str, minute: int, layer: int = 1) -> Release:
        return Release(
            commit=commit, layer=layer, at=datetime(2026, 1, 1, minute=minute, tzinfo=timezone.utc)
        )

    first, bad, back, fixed = release("a", 0), release("b", 1), release("a", 2), release("c", 3)

    assert previous_release([first], first) is None
    assert previous_release([bad, first], bad) == first
    assert previous_release([back, bad, first], back) is None
    assert previous_release([fixed, back, bad, first], fixed) == back
    assert previous_release([fixed, bad, first], bad) == first, "releases after the live one do not count"
    assert previous_release([release("a", 4, layer=2), first], release("a", 4, layer=2)) == first


def test_orphaned_function_is_removed(project: Project, cloud: ControlPlane) -> None:
    orphan, foreign = "mpaas-extra-push-dev", "mpaas-foreign-push-dev"
    for name, role in ((orphan, "mpaas-push-dev"), (foreign, "somebody-elses")):
        cloud.functions[name] = {"functionName": name, "role": f"acs:ram::1000000000000000:role/{role}"}
    trigger = {"triggerName": "more", "triggerType": "timer", "triggerConfig": "{}"}
    cloud.triggers[orphan] = {"more": trigger}
    release = "2026-01-01T00:00:00Z commit 0123456789ab layer 1"
    cloud.versions[orphan] = [{"versionId": "1", "description": release}]
    cloud.aliases[orphan] = {"live": {"aliasName": "live", "versionId": "1", "description": release}}
    _, planned = project.run("plan")
    assert any(line.startswith("-") and orphan in line and "more" in line for line in planned.splitlines())
    assert foreign not in planned

    cloud.denied.add("DeleteFunction")
    code, printed = project.run("deploy")
    assert code == 1
    assert f"s.yaml no longer has {orphan}, but it is still live" in printed
    cloud.denied.clear()
    code, printed = project.run("deploy")

    assert code == 0, printed
    assert f"removed {orphan}, which s.yaml no longer has" in printed
    assert cloud.functions.keys() == {*FUNCTIONS, foreign}
    # A function without a release, such as one whose first deployment failed, does not hide the live release.
    cloud.aliases[HTTP].clear()
    assert project.run("versions")[1].splitlines()[1].endswith("live")


@pytest.mark.parametrize("mark", ["", "unfinished deployment; a rollback returns to: "])
def test_orphaned_function_with_a_separate_role_is_removed(
    deployed: Project, cloud: ControlPlane, mark: str
) -> None:
    orphan = "mpaas-extra-push-dev"
    cloud.functions[orphan] = {"functionName": orphan, "role": "acs:ram::1000000000000000:role/extra"}
    cloud.versions[orphan], cloud.aliases[orphan] = copy.deepcopy((cloud.versions[HTTP], cloud.aliases[HTTP]))
    release = cloud.aliases[orphan]["live"]
    release["description"] = mark + release["description"]

    assert any(line.startswith("-") and orphan in line for line in deployed.run("plan")[1].splitlines())
    code, printed = deployed.run("remove", "--yes")

    assert code == 0, printed
    assert not cloud.functions


def test_renamed_function_receives_the_uploads(deployed: Project, cloud: ControlPlane) -> None:
    deployed.replace("s.yaml", "mpaas-event-push-${vars.stage}", "mpaas-events-push-${vars.stage}")

    code, printed = deployed.run("deploy")

    assert code == 0, printed
    assert f"removed the trigger uploads of {EVENT}, whose uploads another function receives" in printed
    assert "uploads" in cloud.triggers["mpaas-events-push-dev"]
    assert EVENT not in cloud.functions


def test_stage_can_be_deployed_but_not_rolled_back_without_git(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.commit_and_deploy()
    project.commit_and_deploy()
    command = shutil.which("s")
    assert command
    monkeypatch.setenv("PATH", str(Path(command).parent))

    code, printed = project.run("rollback")

    assert code == 2
    assert "git is not installed" in printed
    code, printed = project.run("deploy")
    assert code == 0, printed
    assert "commit none" in printed
    assert "make rollback cannot return to this release" in printed


def test_release_with_ignored_files_cannot_be_restored(project: Project) -> None:
    code = project.folder / "functions" / "timer_push"
    with (project.folder / ".gitignore").open("a") as ignored:
        ignored.write("\n__pycache__/\n*.pem\n")
    (code / "__pycache__").mkdir(exist_ok=True)
    (code / "__pycache__" / "index.pyc").touch()
    (project.folder / "of_nobody.pem").touch()
    project.commit()
    assert "make rollback cannot" not in project.run("deploy")[1]

    (code / "ours.pem").touch()

    assert "make rollback cannot return to this release" in project.run("deploy")[1]


def test_release_with_uncommitted_files_cannot_be_restored(project: Project, cloud: ControlPlane) -> None:
    (project.folder / "functions" / "event_push" / "helper.py").touch()  # without git add
    code, printed = project.run("deploy")
    assert code == 0
    assert "make rollback cannot return to this release" in printed
    project.commit_and_deploy()

    code, printed = project.run("rollback")

    assert code == 2
    assert "is not fully committed" in printed
    cloud.aliases[HTTP]["live"]["description"] = "2026-01-01T00:00:00Z commit 0123456789ab layer 1"
    assert "the functions of dev belong to several releases" in project.run("rollback")[1]
