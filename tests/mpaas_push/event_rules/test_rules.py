from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mpaas_push import InvalidMessage, PushMessage, Settings
from mpaas_push.event_rules import BadRules, Rule, compile_rules, read_rules, tasks_of_event
from mpaas_push.triggers import cloudevent
from mpaas_push.triggers.record import CloudEvent, UnreadableElement
from tests.descriptors import PROJECT
from tests.effort import peak_bytes, steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpaas_push.task import PushTask

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = Settings(app_id="A", workspace_id="W")
MESSAGE = {
    "taskName": "t",
    "title": "Hello ${data.name}",
    "content": "c",
    "deliveryType": 3,
    "targets": "${data.user}",
    "expiredSeconds": 60,
}


def rule(match: dict[str, Any] | None = None, **message: Any) -> dict[str, Any]:
    return {"name": "r", "match": match or {"source": "s"}, "message": MESSAGE | message}


def read(tmp_path: Path, *rules: Any, text: str | None = None) -> tuple[Rule, ...]:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"rules": list(rules)}) if text is None else text)
    return read_rules(path, SETTINGS)


def event(**changes: Any) -> CloudEvent:
    attributes = {"id": "1", "source": "s", "type": "t", "specversion": "1.0"}
    return CloudEvent.model_validate(attributes | {"data": {"name": "Ann", "user": "u1"}} | changes)


def task_of(tmp_path: Path, rule: dict[str, Any], event_: CloudEvent | None = None) -> PushTask:
    (task,) = tasks_of_event(event_ or event(), read(tmp_path, rule), SETTINGS)
    return task


def message_of(tmp_path: Path, rule: dict[str, Any], event_: CloudEvent | None = None) -> PushMessage:
    message = task_of(tmp_path, rule, event_).message
    assert isinstance(message, PushMessage), message
    return message


def faults(tmp_path: Path, rule: dict[str, Any], event_: CloudEvent | None = None) -> str:
    message = task_of(tmp_path, rule, event_).message
    assert isinstance(message, InvalidMessage)
    return str(message)


# --- Matching


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ({"source": "s"}, True),
        ({"source": "other"}, False),
        ({"source": ["other", "s"]}, True),
        ({"source": "*"}, True),
        ({"type": "oss:ObjectCreated:*"}, True),
        ({"type": "oss:ObjectRemoved:*"}, False),
        ({"type": "OSS:*"}, False),
        ({"subject": "*/a[1]?.pdf"}, True),
        ({"subject": "*/a1x.pdf"}, False),
        ({"source": "s", "type": "other"}, False),
        ({"where": "data.total > `10`"}, True),
        ({"where": "data.total > `20`"}, False),
        ({"where": ["data.total > `10`", "data.vip"]}, False),
        ({"where": "data.missing"}, False),
        ({"where": "data.total == `15` && !(data.vip)"}, True),
        ({"where": "data.zero"}, True),
        ({"where": "data.empty"}, False),
        ({"where": "region == 'cn-hangzhou'"}, True),
        ({"where": "powertools_json(data.text).a == `1`"}, True),
    ],
)
def test_rule_matches_an_event_if_all_conditions_hold(
    tmp_path: Path, match: dict[str, Any], matches: bool
) -> None:
    data = {"total": 15, "vip": False, "zero": 0, "empty": [], "name": "n", "user": "u", "text": '{"a": 1}'}
    source_event = event(
        type="oss:ObjectCreated:PutObject", subject="b/a[1]?.pdf", region="cn-hangzhou", data=data
    )

    assert bool(tasks_of_event(source_event, read(tmp_path, rule(match)), SETTINGS)) is matches


@pytest.mark.parametrize(
    ("where", "field"),
    [
        ("data.stauts != 'CANCELLED'", "data.stauts"),
        ("!(data.stauts == 'CANCELLED')", "data.stauts"),
        ("data.status != cancelled", "cancelled"),
        ("status != 'CANCELLED'", "status"),
        ("subject != 'order/1'", "subject"),
        ('data.status != @."CANCELLED"', "CANCELLED"),
        ("data | (status != CANCELLED)", "CANCELLED"),
    ],
)
def test_condition_that_negates_a_missing_field_sends_nothing_and_names_the_field(
    tmp_path: Path, where: str, field: str
) -> None:
    cancelled = event(data={"status": "CANCELLED", "user": "u"})

    (task,) = tasks_of_event(cancelled, read(tmp_path, rule({"source": "s", "where": where})), SETTINGS)

    assert isinstance(task.message, InvalidMessage)
    assert str(task.message).startswith(
        f"r.match.where: `{where}` cannot be applied to this event: it has no `{field}`; set a default"
    )


def test_missing_field_in_a_filter_of_targets_is_named(tmp_path: Path) -> None:
    orders = [{"stauts": "CANCELLED", "user": "u"}]
    template = rule(targets="${data.orders[?status != 'CANCELLED'].user}")

    assert "it has no `status`" in faults(tmp_path, template, event(data={"orders": orders}))


def test_event_without_subject_matches_no_subject_pattern(tmp_path: Path) -> None:
    assert tasks_of_event(event(), read(tmp_path, rule({"subject": "*"})), SETTINGS) == []


def test_several_rules_that_match_an_event_have_different_message_ids(tmp_path: Path) -> None:
    rules = read(tmp_path, {**rule(), "name": "one"}, {**rule(), "name": "two"})

    tasks = tasks_of_event(event(), rules, SETTINGS)

    assert [task.scope for task in tasks] == ["ce|s|t||1:one", "ce|s|t||1:two"]


def test_failing_rule_does_not_affect_the_others(tmp_path: Path) -> None:
    bad = {**rule(title="${data.nothing}"), "name": "bad"}
    worse = {**rule({"where": "contains(data.user, `1`) && length(id, id)"}), "name": "worse"}
    rules = read(tmp_path, bad, worse, {**rule(), "name": "good"})

    first, second, third = (task.message for task in tasks_of_event(event(), rules, SETTINGS))

    assert "bad.title: `data.nothing` is not in the event" in str(first)
    assert "worse.match.where: `contains(data.user, `1`) && length(id, id)` cannot be applied" in str(second)
    assert isinstance(third, PushMessage)


def test_unreadable_element_becomes_one_invalid_task() -> None:
    (task,) = tasks_of_event(UnreadableElement("no event", {"a": 1}), (), SETTINGS)

    assert str(task.message) == "no event"
    assert task.original == '{"a":1}'


# --- The message


def test_placeholders_are_filled_in_texts_keys_and_nested_values(tmp_path: Path) -> None:
    template = rule(
        content="${id}: ${data.name}, ${data.name}",
        extendedParams={"${data.name}": "${source}", "n": "${data.n}"},
        targetMsgkey={"${data.user}": "m-${id}"},
    )
    del template["message"]["targets"]

    message = message_of(tmp_path, template, event(data={"name": "Ann", "user": "u1", "n": "7"}))

    assert message.content == "1: Ann, Ann"
    assert message.extended_params == {"Ann": "s", "n": "7"}
    assert message.target_msgkey == {"u1": "m-1"}


def test_field_of_one_placeholder_gets_the_value_unchanged(tmp_path: Path) -> None:
    template = rule(expiredSeconds="${data.ttl}", extendedParams="${data.more}", title="${data.name}")

    message = message_of(
        tmp_path, template, event(data={"ttl": 90, "more": {"a": "b"}, "name": "Ann", "user": "u"})
    )

    assert (message.expired_seconds, message.extended_params, message.title) == (90, {"a": "b"}, "Ann")


@pytest.mark.parametrize(
    ("targets", "data", "expected"),
    [
        ("${data.u}", {"u": "a"}, ("a",)),
        ("${data.u}", {"u": 7}, ("7",)),
        ("${data.u}", {"u": ["a", "b", "a", 7]}, ("a", "b", "7")),
        ("${data.users[].id}", {"users": [{"id": 1}, {"id": 2}]}, ("1", "2")),
        (["${data.u}", "boss"], {"u": ["a", "boss"]}, ("a", "boss")),
        (["user-${data.u}"], {"u": 7}, ("user-7",)),
    ],
)
def test_targets_may_be_one_or_a_list(
    tmp_path: Path, targets: Any, data: Any, expected: tuple[str, ...]
) -> None:
    assert message_of(tmp_path, rule(title="t", targets=targets), event(data=data)).targets == expected


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("${data.nothing}", "`data.nothing` is not in the event; `data.nothing || 'text'`"),
        (
            "${data.no.such}",
            "`data.no.such` is not in the event: it has no `data.no`; `data.no.such || 'text'`",
        ),
        ("${data.a || data.b}", "is not in the event: it has no `data.a` and no `data.b`; "),
        ("a ${length(data.c)}", "`length(data.c)` cannot be applied to this event: it has no `data.c`"),
        (
            "x ${join('', data.list)}",
            "`join('', data.list)` cannot be applied to this event: JMESPathTypeError",
        ),
        ("a ${data.list} b", "`data.list` is a list, not text"),
        ("a ${data.object} b", "`data.object` is an object, not text"),
        (
            "${length(data.number)}",
            "`length(data.number)` cannot be applied to this event: JMESPathTypeError",
        ),
        ("${data.number}", "must be text, not a number"),
    ],
)
def test_value_that_the_message_cannot_hold_is_named(tmp_path: Path, template: str, reason: str) -> None:
    source_event = event(data={"user": "u", "list": [1], "object": {"a": 1}, "number": 5})

    text = faults(tmp_path, rule(title=template), source_event)

    assert text.startswith("r.title: ")
    assert reason in text


@pytest.mark.parametrize(
    "targets", ["${sum(data.long)}", ["boss", "${sum(data.long)}"], "${[sum(data.long)]}"]
)
def test_number_that_is_too_long_to_be_written_is_not_a_target(tmp_path: Path, targets: Any) -> None:
    source_event = event(data={"long": [10**4299 * 9, 10**4299 * 9]})

    text = faults(tmp_path, rule(title="t", targets=targets), source_event)

    assert text.startswith("r.targets")
    assert "must be text, not a number" in text


def received(data: str) -> CloudEvent:
    return cloudevent.event_of(
        f'{{"id":"1","source":"s","type":"t","specversion":"1.0","data":{data}}}'.encode()
    )


@pytest.mark.parametrize(
    "digits", ["19.90", "1000000.00", "1e400", "0.1", "7", "1.0E+2", "12345678901234567890.10"]
)
def test_amount_of_money_keeps_the_digits_of_the_event(tmp_path: Path, digits: str) -> None:
    source_event = received(f'{{"user": "u", "price": {digits}, "list": [{digits}]}}')
    template = rule(
        {"source": "s", "where": "data.price > `0`"},
        title="${data.price} EUR",
        content="${to_string(data.list[0])}",
    )

    message = message_of(tmp_path, template, source_event)

    assert (message.title, message.content) == (f"{digits} EUR", digits)
    assert f'"price":{digits},' in task_of(tmp_path, template, source_event).original


def test_numeric_field_gets_a_plain_number(tmp_path: Path) -> None:
    source_event = received('{"user": "u", "ttl": 90, "more": {"a": 1.50}}')
    template = rule(title="t", expiredSeconds="${data.ttl}", extendedParams="${data.more}")

    task = task_of(tmp_path, template, source_event)

    assert isinstance(task.message, PushMessage)
    assert task.message.expired_seconds == 90
    assert json.loads(json.dumps(task.payload))["extendedParams"] == {"a": 1.5}


def test_number_that_no_field_can_hold_is_a_fault(tmp_path: Path) -> None:
    source_event = received('{"user": "u", "ttl": 1e400}')

    assert "r.expiredSeconds: a number is too large" in faults(
        tmp_path, rule(title="t", expiredSeconds="${data.ttl}"), source_event
    )


def test_targets_that_become_equal_are_a_fault_so_that_none_is_lost(tmp_path: Path) -> None:
    template = rule(title="t", targetMsgkey={"${data.a}": "m1", "${data.b}": "m2"})
    del template["message"]["targets"]

    text = faults(tmp_path, template, event(data={"a": "user-4711", "b": "user-4711"}))

    assert "becomes the same key as another of this map" in text
    assert "user-4711" not in text


def test_all_faults_of_a_message_are_reported_at_once(tmp_path: Path) -> None:
    text = faults(tmp_path, rule(title="${data.a}", content="${data.b}"), event(data={"user": "u"}))

    assert "r.title" in text
    assert "r.content" in text


def test_field_that_needs_another_may_have_it_from_the_event(tmp_path: Path) -> None:
    payload = {"hms": {"order": "o-1"}}
    urgent = rule(transparentMessageUrgency="HIGH", transparentMessagePayload="${data.payload}")

    task = task_of(tmp_path, urgent, event(data={"name": "Ann", "user": "u1", "payload": payload}))

    assert isinstance(task.message, PushMessage)
    assert task.message.transparent_message_payload == payload
    with pytest.raises(BadRules, match="message.transparentMessagePayload: is required"):
        read(tmp_path, rule(transparentMessageUrgency="HIGH"))


def test_placeholder_can_be_escaped(tmp_path: Path) -> None:
    assert message_of(tmp_path, rule(title="$${x} costs $5")).title == "${x} costs $5"


def test_default_replaces_a_missing_value(tmp_path: Path) -> None:
    assert message_of(tmp_path, rule(title="Hello ${data.nothing || 'you'}")).title == "Hello you"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    )
)
def test_no_event_raises(data: Any) -> None:
    rules = read_rules(PROJECT / "functions" / "event_push" / "rules.yaml", SETTINGS)
    for source, kind in (("shop.orders", "order:Shipped"), ("acs.ecs", "ecs:CloudMonitor:x")):
        for shape in (data, {"order": data}, {"order": {"id": data, "customer": data}}, {"level": data}):
            source_event = event(source=source, type=kind, data=shape)
            assert isinstance(tasks_of_event(source_event, rules, SETTINGS), list)


# --- The file


def test_rules_keep_their_order() -> None:
    rules = read_rules(PROJECT / "functions" / "event_push" / "rules.yaml", Settings())

    assert [rule.name for rule in rules] == ["order-shipped", "statement-ready", "alert"]


def test_documented_rule_works_as_described(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "events.md").read_text("utf-8")
    (documented,) = read(tmp_path, text=page.partition("```yaml\n")[2].partition("```")[0])
    data = {"order": {"id": 4711, "notify": True, "customers": [{"id": "u1"}, {"id": 2}]}}
    source_event = event(source="shop.orders", type="order:Shipped", data=data)

    (task,) = tasks_of_event(source_event, [documented], SETTINGS)

    assert isinstance(task.message, PushMessage)
    assert (task.message.title, task.message.targets) == ("Order 4711 is on its way", ("u1", "2"))
    assert task.message.content == "It will arrive soon."
    data["order"]["notify"] = False
    assert (
        tasks_of_event(event(source="shop.orders", type="order:Shipped", data=data), [documented], SETTINGS)
        == []
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "Not good"}, "rules.0.name: must be 1 to 64 lower-case letters, digits and -, the first"),
        ({"name": 7}, "rules.0.name: must be text, not a number: put it in quotes"),
        ({"match": "shop.orders"}, "rules.0.match: must be an object with at least one of source, type, sub"),
        ({"match": {}}, "rules.0.match: must name at least one of source, type, subject and where"),
        (
            {"match": {"sorce": "s"}},
            "rules.0.match.sorce: unknown field `sorce`; did you mean `source`?",
        ),
        ({"match": {"source": []}}, "rules.0.match: must name"),
        (
            {"match": {"source": 1}},
            "rules.0.match.source: must be a list of texts or one text, not a number",
        ),
        ({"match": {"where": {}}}, "rules.0.match.where: must be a list of texts or one text, not an object"),
        ({"match": {"type": ["a", 1]}}, "rules.0.match.type.1: must be text, not a number"),
        ({"match": {"type": ""}}, "rules.0.match.type.0: must not be empty"),
        ({"match": {"where": "data."}}, "rules.0.match.where.0: not a JMESPath expression: `data.`"),
        ({"match": {"where": ["a", "b ="]}}, "rules.0.match.where.1: not a JMESPath expression"),
        ({"match": {"where": "sum(nope(data))"}}, "`sum(nope(data))`: there is no function nope"),
        (
            {"match": {"where": 'data.status != "CANCELLED"'}},
            'rules.0.match.where.0: `data.status != "CANCELLED"`: "CANCELLED" is the name of a field',
        ),
        (
            {"message": MESSAGE | {"title": '${data.x || "you"}'}},
            "\"you\" is the name of a field: write 'you'",
        ),
        ({"when": 1}, "rules.0.when: unknown field `when`; known fields: `name`, `match`, `message`"),
        ({"message": "text"}, "rules.0.message: must be an object, not text"),
        ({"message": MESSAGE | {"titel": "x"}}, "unknown field `titel`; did you mean `title`?"),
        ({"message": MESSAGE | {"titel": "${data.x}"}}, "unknown field `titel`; did you mean `title`?"),
        ({"message": MESSAGE | {"title": "${data.}"}}, "rules.0.message.title: not a JMESPath expression"),
        ({"message": MESSAGE | {"title": "${data.x"}}, "rules.0.message.title: a `${` is not closed"),
        ({"message": MESSAGE | {"title": "${{a: b}}"}}, "rules.0.message.title: a `${` is not closed"),
        ({"message": MESSAGE | {"deliveryType": 4}}, "rules.0.message.deliveryType"),
        ({"message": MESSAGE | {"expiredSeconds": 0}}, "rules.0.message.expiredSeconds"),
        ({"message": {"title": "${data.x}"}}, "rules.0.message.taskName: is required"),
        ({"message": MESSAGE | {"targets": []}}, "rules.0.message.targets"),
        ({"message": MESSAGE | {"extendedParams": {"a": "${data.}"}}}, "rules.0.message.extendedParams.a"),
    ],
)
def test_fault_of_a_rule_is_reported_when_the_file_is_read(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadRules) as error:
        read(tmp_path, rule() | changes)

    assert reason in str(error.value)
    assert str(error.value).startswith("rules.yaml: ")


def test_all_faults_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadRules) as error:
        read(tmp_path, rule(titel="x", deliveryType=9), {**rule(), "match": {}})

    fields = [fault.field for fault in error.value.faults]
    assert {"rules.0.message.titel", "rules.0.message.deliveryType", "rules.1.name", "rules.1.match"} <= {
        *fields
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "rules.yaml: must be an object with `rules`, a list of rules"),
        ("rules: []", "rules.yaml: rules: must not be empty"),
        ("rules: {}", "rules.yaml: rules: must be a list, not an object"),
        ("rules: [{match: {type: t}, message: {}}]", "rules.yaml: rules.0.name: is required"),
        ("rules: [", "cannot be read"),
        ("a: !!python/object:os.system {}", "cannot be read"),
        ("rules: []\nrules: []", "duplicate key 'rules' (line 2, column 1)"),
        (
            "rules: [{name: r, match: {source: .inf}}]",
            "cannot be read: NaN, Infinity and numbers that are too large",
        ),
    ],
)
def test_invalid_file_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadRules) as error:
        read(tmp_path, text=text)

    assert reason in str(error.value)


RULES = """
rules:
  - name: r
    match: {source: s}
    message:
      taskName: t
      title: TITLE
      content: c
      deliveryType: 3
      targets: u
      expiredSeconds: SECONDS
"""


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["${data.user}", "${", "$${", "${}", "${data.{a: b}}", "${[?`}", "data.a != 'b'", "*", "`1"]
    )
)
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.text(max_size=60)
    | st.builds(
        lambda name, match, message: json.dumps(
            {"rules": [{"name": name, "match": match, "message": message}]}
        ),
        st.just("r") | NESTED,
        st.dictionaries(st.sampled_from(["source", "type", "subject", "where", "x"]), NESTED, max_size=3)
        | NESTED,
        st.dictionaries(
            st.sampled_from([*PushMessage.model_json_schema()["properties"], "x"]), NESTED, max_size=4
        )
        | NESTED,
    )
)
def test_no_file_of_rules_raises_anything_but_bad_rules(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "rules.yaml"
    file.write_text(text, "utf-8", "replace")
    reason = ""
    try:
        read_rules(file, SETTINGS)
    except BadRules as error:
        reason = str(error)
    assert re.search("[Ii]nputs? |[Vv]alue error|should (have|match)", reason) is None  # pydantic's words


@pytest.mark.parametrize("part", ["${a}", "$${", "{", "&a [*a] ", "data.a || ", "!", "[[@,@],@] | "])
@pytest.mark.parametrize("field", ["title", "where"])
def test_cost_of_reading_a_file_of_rules_is_linear(tmp_path: Path, field: str, part: str) -> None:
    def reading(size: int) -> Callable[[], object]:
        file, text = tmp_path / f"{size}.yaml", part * (size // len(part))
        long_rule = rule(title=text) if field == "title" else rule({"where": text})
        file.write_text(json.dumps({"rules": [long_rule]}), "utf-8")
        return lambda: read_rules(file, SETTINGS)

    assert peak_bytes(reading(9000), limit := 60 * 9000) <= limit
    assert steps(reading(9000)) <= 2.2 * steps(reading(4500)) + 400


@pytest.mark.parametrize("text", ["007", "22:22", "1_000", "2026-01-01"])
def test_value_that_is_not_a_number_in_yaml_1_2_is_text(tmp_path: Path, text: str) -> None:
    (read_rule,) = read(tmp_path, text=RULES.replace("TITLE", text).replace("SECONDS", "60"))
    assert read_rule.message["title"] == text

    with pytest.raises(BadRules, match="rules.0.message.expiredSeconds"):
        read(tmp_path, text=RULES.replace("TITLE", "t").replace("SECONDS", text))


@pytest.mark.parametrize("word", ["yes", "No", "on", "OFF"])
def test_word_that_may_be_a_boolean_is_refused_with_the_text_to_write(tmp_path: Path, word: str) -> None:
    with pytest.raises(BadRules) as error:
        read(tmp_path, text=RULES.replace("TITLE", word).replace("SECONDS", "60"))
    assert f"`{word}` is text here but a boolean in YAML 1.1: write '{word}', true or false" in str(
        error.value
    )
    assert "line 7, column 14" in str(error.value)

    (read_rule,) = read(tmp_path, text=RULES.replace("TITLE", f"'{word}'").replace("SECONDS", "60"))
    assert read_rule.message["title"] == word


def test_aliases_that_expand_to_a_billion_values_are_refused(tmp_path: Path) -> None:
    laughter = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    with pytest.raises(BadRules, match="aliases expand to too many values"):
        read(tmp_path, text=laughter)


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BadRules, match="rules.yaml: cannot be read"):
        read_rules(tmp_path / "rules.yaml", SETTINGS)


# --- Compiled rules


def test_compiled_rules_equal_the_checked_ones(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes((PROJECT / "functions" / "event_push" / "rules.yaml").read_bytes())
    checked = read_rules(path, SETTINGS)
    compile_rules(path, SETTINGS)

    assert read_rules(path, SETTINGS) == checked
    path.unlink()
    with pytest.raises(BadRules, match="cannot be read"):
        read_rules(path, SETTINGS)


def test_compiled_rules_are_not_checked_again(tmp_path: Path) -> None:
    read(tmp_path, rule())
    path = tmp_path / "rules.yaml"
    compile_rules(path, SETTINGS)
    compiled = tmp_path / "__pycache__" / "rules.yaml.json"
    compiled.write_text(compiled.read_text().replace('"name": "r"', '"name": "compiled"'))

    assert [rule.name for rule in read_rules(path, SETTINGS)] == ["compiled"]


def test_file_that_was_edited_after_compilation_is_read_itself(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    read(tmp_path, rule())
    compile_rules(path, SETTINGS)

    assert [edited.name for edited in read(tmp_path, rule() | {"name": "edited"})] == ["edited"]
    with pytest.raises(BadRules, match=r"rules.0.name"):
        read(tmp_path, rule() | {"name": "NOT A NAME"})


def test_all_errors_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    mistaken = rule(deliveryType=9, title="${data.order") | {"match": {"sorce": "s"}}

    with pytest.raises(BadRules) as error:
        read(tmp_path, mistaken, rule() | {"name": "NOT A NAME"}, rule(titel="misspelt") | {"name": "third"})

    assert [fault.field for fault in error.value.faults] == [
        "rules.0.match.sorce",
        "rules.1.name",
        "rules.0.message.title",
        "rules.0.message.deliveryType",
        "rules.2.message.titel",
    ]


@pytest.mark.parametrize("other", ["${data.n}", {"fixedTime": "${data.n}"}, {}])
def test_field_in_both_spellings_is_found_without_an_event(tmp_path: Path, other: Any) -> None:
    both = {"StrategyContent": {"fixedTime": "${data.n}"}, "strategyContent": other}

    with pytest.raises(BadRules, match=r"message.StrategyContent: is given in both spellings"):
        read(tmp_path, rule(strategyType=1, **both))


def test_missing_file_is_unreadable_for_a_plain_reason(tmp_path: Path) -> None:
    with pytest.raises(BadRules) as error:
        read_rules(tmp_path / "none.yaml", SETTINGS)

    assert str(error.value) == "none.yaml: cannot be read: No such file or directory"


def test_invalid_rules_are_not_compiled(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"rules": [rule(titel="misspelt")]}))

    with pytest.raises(BadRules, match="did you mean `title`"):
        compile_rules(path, SETTINGS)
    assert not (tmp_path / "__pycache__").exists()


def test_original_of_a_task_is_the_event_as_delivered(tmp_path: Path) -> None:
    source_event = event(aliyunregionid="cn-hangzhou")

    assert json.loads(task_of(tmp_path, rule(), source_event).original) == {
        "id": "1",
        "source": "s",
        "type": "t",
        "specversion": "1.0",
        "aliyunregionid": "cn-hangzhou",
        "data": {"name": "Ann", "user": "u1"},
    }


# --- Redelivered events


@pytest.mark.parametrize("spelling", ["strategyContent", "StrategyContent"])
def test_timed_push_whose_time_passed_since_its_event_is_too_late(tmp_path: Path, spelling: str) -> None:
    content: dict[str, Any] = {spelling: {"fixedTime": "${data.at}"}}
    timed = rule(strategyType=1, **content)
    data = {"name": "Ann", "user": "u1", "at": 1_764_300_000_000}

    task = task_of(tmp_path, timed, event(data=data, time="2025-11-28T03:00:00Z"))
    assert isinstance(task.message, PushMessage)
    assert [fault.field for fault in task.too_late] == ["strategyContent.fixedTime"]
    assert "fixedTime" in faults(tmp_path, timed, event(data=data, time="2025-11-28T04:00:00Z"))
