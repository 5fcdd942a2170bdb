"""The rules that turn cloud events into messages, as a team writes them in YAML.

::

    rules:
      - name: order-shipped
        match:
          source: shop.orders           # text or a list of texts; * matches any text
          type: order:Shipped
          where: data.total > `0`       # JMESPath, or a list of conditions that must all hold
        message:
          title: Order ${data.order.id} is on its way
          targets: ${data.order.customers[].id}
          …

A message has its usual fields; `${…}` holds a JMESPath expression on the event. A field that consists of one
placeholder gets the value unchanged, so lists, objects and numbers do not become text.
"""

from __future__ import annotations

import hashlib
import json
import re
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from mpaas_push.errors import Fault, InvalidMessage, PushError
from mpaas_push.event_rules.expression_interpreter import Inapplicable, plain_value
from mpaas_push.event_rules.expressions import check_expression, find, require
from mpaas_push.json_text import dump_json
from mpaas_push.message.reading import message_of
from mpaas_push.message.vocabulary import page_name
from mpaas_push.paths import format_path
from mpaas_push.strict_model import StrictModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mpaas_push.settings import Settings
    from mpaas_push.triggers.record import CloudEvent

__all__ = ["BadRules", "EventMatch", "Rule", "compile_rules", "read_rules"]


class BadRules(PushError):
    """A file of rules is invalid; none of its rules is applied until it is corrected.

    Attributes:
        faults: All faults, with field paths such as ``rules.0.match.where.1``.
    """

    def __init__(self, file: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{file}: {fault}" for fault in self.faults))


_PLACEHOLDER = re.compile(r"\$\$\{|\$\{([^{}]*)\}")
"""A placeholder, or `$${` for the text `${` itself. An expression cannot contain braces."""


def _as_tuple(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple)):
        return tuple(value)
    from mpaas_push.model_faults import json_kind  # only an invalid file needs it

    raise ValueError(f"must be a list of texts or one text, not {json_kind(value)}")


Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_as_tuple)]
"""One text or a list of them."""
Condition = Annotated[str, AfterValidator(check_expression)]


class EventMatch(StrictModel):
    """The events that a rule selects: every given criterion must match.

    Attributes:
        source: Patterns of the event's source, one of which must match; ``*`` matches any text.
        type: Patterns of its type.
        subject: Patterns of its subject; an event without one matches none.
        where: JMESPath conditions on the event, all of which must hold. A condition does not hold if its
            value is false in JMESPath: null, false, an empty text, list or object.
    """

    source: Texts = ()
    type: Texts = ()
    subject: Texts = ()
    where: Annotated[tuple[Condition, ...], BeforeValidator(_as_tuple)] = ()

    def matches(self, event: CloudEvent, attributes: dict[str, Any]) -> bool:
        """Return whether the event matches.

        Raises:
            Inapplicable: A condition cannot be applied to this event (see `expressions.find`).
        """
        return (
            _matches_any(self.source, event.source)
            and _matches_any(self.type, event.type)
            and _matches_any(self.subject, event.subject)
            and all(_holds(find(condition, attributes)) for condition in self.where)
        )


class Rule(StrictModel):
    """One rule: the events that it selects, and the message that it sends for each of them.

    Attributes:
        name: Part of the message ids and of every report; unique in its file.
        match: The events.
        message: The message with placeholders, by the parameter names of the official page.
    """

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,63}$")]
    match: EventMatch
    message: dict[str, Any]

    def payload(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Fill the message's placeholders with the values of an event.

        Raises:
            InvalidMessage: A placeholder has no value in this event, or a list or object as part of a text.
        """
        faults: list[Fault] = []
        filled = _fill(self.message, partial(require, event=attributes), (), faults)
        if faults:
            raise InvalidMessage(faults)
        if "targets" in filled:
            filled["targets"] = _distinct_targets(filled["targets"])
        return dict(filled)


def read_rules(path: Path, settings: Settings) -> tuple[Rule, ...]:
    """Read and check a file of rules.

    Checks the rules and everything in their messages that does not depend on an event. Rules compiled by
    `compile_rules` are not checked again.

    Args:
        path: The YAML file.
        settings: As in `reading.messages_of`.

    Raises:
        BadRules: The file cannot be read or is invalid; the text names the path of each fault.
    """
    content = _content_of(path)
    return _read_compiled(path, content) or _parse_rules(path, content, settings)


def compile_rules(path: Path, settings: Settings) -> None:
    """Check a file of rules and write a compiled copy next to it, which is read without YAML and checks.

    It is used as long as the file does not change. Like bytecode, it is deployed with the file.

    Args:
        path: The YAML file.
        settings: As in `read_rules`.

    Raises:
        BadRules: As from `read_rules`.
    """
    content = _content_of(path)
    rules = [rule.model_dump() for rule in _parse_rules(path, content, settings)]
    compiled = _compiled_path(path)
    compiled.parent.mkdir(exist_ok=True)
    compiled.write_text(json.dumps({"of": _digest(content), "rules": rules}))


def _content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None


def _read_compiled(path: Path, content: bytes) -> tuple[Rule, ...]:
    """Return the compiled rules of a file; none if it was not compiled, or has changed since."""
    try:
        compiled = json.loads(_compiled_path(path).read_bytes())
    except OSError:
        return ()
    if compiled["of"] != _digest(content):
        return ()
    return tuple(map(_construct_rule, compiled["rules"]))


def _construct_rule(rule: dict[str, Any]) -> Rule:
    patterns: dict[str, Any] = {name: tuple(texts) for name, texts in rule["match"].items()}
    return Rule.model_construct(
        name=rule["name"], match=EventMatch.model_construct(None, **patterns), message=rule["message"]
    )


def _compiled_path(path: Path) -> Path:
    return path.parent / "__pycache__" / f"{path.name}.json"


def _digest(content: bytes) -> str:
    return f"1:{hashlib.sha256(content).hexdigest()}"  # with the version of the compiled form


def _parse_rules(path: Path, content: bytes, settings: Settings) -> tuple[Rule, ...]:
    import yaml  # takes a tenth of a cold start, which compiled rules avoid

    from mpaas_push.yaml_text import read_yaml

    class File(StrictModel):
        rules: Annotated[list[Rule], Field(min_length=1)]

    rules: list[Rule] = []
    faults: list[Fault] = []
    try:
        document = read_yaml(content.decode(), refuse_flag_words=True)
        rules = File.model_validate(document).rules
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unreadable(path, str(error)) from None
    except ValidationError as error:
        from mpaas_push.model_faults import faults_of

        faults = faults_of(error, {"": File, "rules.*": Rule, "rules.*.match": EventMatch}, _ALLOWED)
    for index, rule in enumerate(rules):
        faults += [fault.below(f"rules.{index}") for fault in _rule_faults(rule, rules[:index])]
    for index, message in _messages(document):
        faults += [fault.below(f"rules.{index}.message") for fault in _template_faults(message, settings)]
    if faults:
        raise BadRules(path.name, faults)
    return tuple(rules)


def _messages(document: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the messages of a document with the indexes of their rules, even if the rules are invalid."""
    rules = document.get("rules") if isinstance(document, dict) else None
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        message = rule.get("message") if isinstance(rule, dict) else None
        if isinstance(message, dict) and all(isinstance(name, str) for name in message):
            yield index, message


_ALLOWED = {
    "": "must be an object with `rules`, a list of rules",
    "rules.*.name": "must be 1 to 64 lower-case letters, digits and -, the first one a letter or digit",
    "rules.*.match": "must be an object with at least one of source, type, subject and where",
}
"""What a field may hold, by path; `*` is an index."""


def _unreadable(path: Path, reason: str) -> BadRules:
    return BadRules(path.name, [Fault("", f"cannot be read: {' '.join(reason.split())}")])


def _matches_any(patterns: tuple[str, ...], text: str | None) -> bool:
    return not patterns or (text is not None and any(_matches(pattern, text) for pattern in patterns))


def _matches(pattern: str, text: str) -> bool:
    return fnmatchcase(text, _glob(pattern)) if "*" in pattern else text == pattern


def _glob(pattern: str) -> str:
    """Escape all wildcards but `*`: `?` and `[` are common in object names."""
    return re.sub(r"[?\[]", r"[\g<0>]", pattern)


def _holds(value: Any) -> bool:
    return value is not None and value is not False and value not in ("", [], {})


def _fill(template: Any, value_of: Callable[[str], Any], path: tuple[Any, ...], faults: list[Fault]) -> Any:
    """Return a template with every placeholder filled; add a fault for each that cannot be."""
    if isinstance(template, dict):
        filled: dict[str, Any] = {}
        for key, child in template.items():
            name = _text(key, value_of, path, faults)
            if name in filled:
                faults.append(
                    Fault(
                        format_path((*path, key), declared=True),
                        "becomes the same key as another of this map",
                    )
                )
            filled[name] = _fill(child, value_of, (*path, key), faults)
        return filled
    if isinstance(template, list):
        return [_fill(child, value_of, (*path, index), faults) for index, child in enumerate(template)]
    if not isinstance(template, str):
        return template
    placeholder = _PLACEHOLDER.fullmatch(template)
    if placeholder is None or placeholder[1] is None:
        return _text(template, value_of, path, faults)
    try:
        return plain_value(value_of(placeholder[1]))
    except (ValueError, Inapplicable) as error:
        faults.append(Fault(format_path(path, declared=True), str(error)))
        return ""


def _text(text: str, value_of: Callable[[str], Any], path: tuple[Any, ...], faults: list[Fault]) -> str:
    try:
        return _PLACEHOLDER.sub(
            lambda match: "${" if match[1] is None else _as_text(match[1], value_of(match[1])), text
        )
    except (ValueError, Inapplicable) as error:
        faults.append(Fault(format_path(path, declared=True), str(error)))
        return ""


def _as_text(expression: str, value: Any) -> str:
    if not isinstance(value, (dict, list)):
        return value if isinstance(value, str) else dump_json(value)
    raise Inapplicable(f"`{expression}` is {'a list' if isinstance(value, list) else 'an object'}, not text")


def _distinct_targets(value: Any) -> Any:
    """Return a target or a list of them as a list of distinct texts; in events, ids are often numbers.

    A number of thousands of digits, which Python cannot write, stays a number, which the message refuses.
    """
    items = value if isinstance(value, list) else [value]
    flat = [target for item in items for target in (item if isinstance(item, list) else [item])]
    try:
        texts = [str(target) if type(target) is int else target for target in flat]
        return list({json.dumps(text): text for text in texts}.values())
    except ValueError:
        return flat


def _rule_faults(rule: Rule, before: Sequence[Rule]) -> list[Fault]:
    faults = []
    if any(other.name == rule.name for other in before):
        faults.append(Fault("name", f"{rule.name} is the name of another rule"))
    if rule.match == EventMatch():
        faults.append(Fault("match", "must name at least one of source, type, subject and where"))
    return faults


def _template_faults(message: dict[str, Any], settings: Settings) -> list[Fault]:
    """Check everything that does not depend on an event: expressions, names, fields without placeholder."""
    faults: list[Fault] = []
    event_dependent = set()
    known: dict[str, Any] = {}
    for name, template in message.items():
        texts = list(_texts(template))
        if any("${" in _PLACEHOLDER.sub("", text) for text in texts):
            faults.append(Fault(name, "a `${` is not closed; write `$${` for the text `${`"))
        filled = _fill(template, check_expression, (name,), faults)
        if any(match[1] is not None for text in texts for match in _PLACEHOLDER.finditer(text)):
            event_dependent.add(page_name(name))
            # A second spelling is noticed only beside a value.
            filled = {} if page_name(name) == "strategyContent" else None
        known[name] = _distinct_targets(filled) if name == "targets" and filled is not None else filled
    if event_dependent & _TARGETS:
        event_dependent |= _TARGETS
    checked = message_of(known, settings)
    for fault in checked.faults if isinstance(checked, InvalidMessage) else ():
        field = fault.field.partition(".")[0]
        if fault.message.startswith("unknown field") or field not in event_dependent | _FROM_SETTINGS | {""}:
            faults.append(fault)
    return faults


_TARGETS = {"targets", "targetMsgkey"}
_FROM_SETTINGS = {"appId", "workspaceId"}
"""The settings may be different where the file is checked and where it is used."""


def _texts(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, (dict, list)):
        for part in (*template, *template.values()) if isinstance(template, dict) else template:
            yield from _texts(part)
