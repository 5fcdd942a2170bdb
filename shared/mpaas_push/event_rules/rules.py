"""The rules by which cloud events become messages, as a team writes them in YAML.

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

A message is written as everywhere else; `${…}` holds a JMESPath expression on the event. A field that is one
placeholder and nothing else takes the value as it is, so that lists, objects and numbers stay what they are.
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
from mpaas_push.paths import format_path
from mpaas_push.strict_model import StrictModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mpaas_push.settings import Settings
    from mpaas_push.triggers.record import CloudEvent

__all__ = ["BadRules", "EventMatch", "Rule", "compile_rules", "read_rules"]


class BadRules(PushError):
    """A file of rules cannot be used; nothing is sent by any of its rules until it is corrected.

    Attributes:
        faults: Everything that is wrong, by field path such as ``rules.0.match.where.1``.
    """

    def __init__(self, file: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{file}: {fault}" for fault in self.faults))


_PLACEHOLDER = re.compile(r"\$\$\{|\$\{([^{}]*)\}")
"""A placeholder, or `$${` for the text `${` itself. An expression cannot hold braces."""


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_listed)]
"""One text or a list of them."""
Condition = Annotated[str, AfterValidator(check_expression)]


class EventMatch(StrictModel):
    """Which events a rule selects: everything named here must match.

    Attributes:
        source: Patterns of the event's source, one of which must match; ``*`` matches any text.
        type: Patterns of its type.
        subject: Patterns of its subject; an event without one matches none.
        where: JMESPath conditions on the event, all of which must hold. What JMESPath calls false (null,
            false, an empty text, list or object) does not hold.
    """

    source: Texts = ()
    type: Texts = ()
    subject: Texts = ()
    where: Annotated[tuple[Condition, ...], BeforeValidator(_listed)] = ()

    def fits(self, event: CloudEvent, facts: dict[str, Any]) -> bool:
        """Return whether the event matches.

        Raises:
            Inapplicable: a condition cannot be applied to this event (see `expressions.find`).
        """
        return (
            _fits(self.source, event.source)
            and _fits(self.type, event.type)
            and _fits(self.subject, event.subject)
            and all(_holds(find(condition, facts)) for condition in self.where)
        )


class Rule(StrictModel):
    """One rule: which events it selects, and the message that each of them becomes.

    Attributes:
        name: Part of the message ids and of every report; unique in its file.
        match: Which events.
        message: The message with placeholders, by the parameter names of the official page.
    """

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,63}$")]
    match: EventMatch
    message: dict[str, Any]

    def payload(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Fill the message with what an event says.

        Raises:
            InvalidMessage: a placeholder finds nothing in the event, or a value that a text cannot hold.
        """
        faults: list[Fault] = []
        filled = _filled(self.message, partial(require, event=facts), (), faults)
        if faults:
            raise InvalidMessage(faults)
        if "targets" in filled:
            filled["targets"] = _targets(filled["targets"])
        return dict(filled)


def read_rules(path: Path, settings: Settings) -> tuple[Rule, ...]:
    """Read and check a file of rules.

    Checks the rules and, of each message, everything that does not depend on an event. Rules that
    `compile_rules` has compiled were checked then.

    Args:
        path: The file, YAML.
        settings: As in `reading.messages_of`.

    Raises:
        BadRules: the file cannot be read or holds what it may not; the text names each path.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    return _compiled(path, content) or _checked(path, content, settings)


def compile_rules(path: Path, settings: Settings) -> None:
    """Check a file of rules and write them beside it, ready to be read without YAML and checks.

    They are read as long as the file is the same: compile a copy that is deployed, as bytecode is.

    Args:
        path: The file.
        settings: As in `read_rules`.

    Raises:
        BadRules: as from `read_rules`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    rules = [rule.model_dump() for rule in _checked(path, content, settings)]
    compiled = _compiled_path(path)
    compiled.parent.mkdir(exist_ok=True)
    compiled.write_text(json.dumps({"of": _digest(content), "rules": rules}))


def _compiled(path: Path, content: bytes) -> tuple[Rule, ...]:
    """Return the compiled rules of a file; none if it was not compiled, or has changed since."""
    try:
        compiled = json.loads(_compiled_path(path).read_bytes())
    except OSError:
        return ()
    if compiled["of"] != _digest(content):
        return ()
    return tuple(map(_constructed, compiled["rules"]))


def _constructed(rule: dict[str, Any]) -> Rule:
    patterns: dict[str, Any] = {name: tuple(texts) for name, texts in rule["match"].items()}
    return Rule.model_construct(
        name=rule["name"], match=EventMatch.model_construct(None, **patterns), message=rule["message"]
    )


def _compiled_path(path: Path) -> Path:
    return path.parent / "__pycache__" / f"{path.name}.json"


def _digest(content: bytes) -> str:
    return f"1:{hashlib.sha256(content).hexdigest()}"  # with the version of the compiled form


def _checked(path: Path, content: bytes, settings: Settings) -> tuple[Rule, ...]:
    import yaml  # a tenth of a cold start, which compiled rules spare

    from mpaas_push.yaml_text import read_yaml

    class File(StrictModel):
        rules: Annotated[tuple[Rule, ...], BeforeValidator(_listed), Field(min_length=1)]

    try:
        document = read_yaml(content.decode(), refuse_flag_words=True)
        rules = File.model_validate(document).rules
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unreadable(path, error) from None
    except ValidationError as error:
        raise BadRules(path.name, [_fault(details) for details in error.errors(include_url=False)]) from None
    faults = [
        Fault(f"rules.{index}.{fault.field}", fault.message, fault.value)
        for index, rule in enumerate(rules)
        for fault in (*_ambiguous(rule, rules[:index]), *_template_faults(rule, settings))
    ]
    if faults:
        raise BadRules(path.name, faults)
    return rules


def _unreadable(path: Path, error: Exception) -> BadRules:
    return BadRules(path.name, [Fault("", f"cannot be read: {' '.join(str(error).split())}")])


def _fits(patterns: tuple[str, ...], text: str | None) -> bool:
    return not patterns or (text is not None and any(_fits_one(pattern, text) for pattern in patterns))


def _fits_one(pattern: str, text: str) -> bool:
    return fnmatchcase(text, _glob(pattern)) if "*" in pattern else text == pattern


def _glob(pattern: str) -> str:
    """Escape all wildcards but `*`: `?` and `[` are common in names of objects."""
    return re.sub(r"[?\[]", r"[\g<0>]", pattern)


def _holds(value: Any) -> bool:
    return value is not None and value is not False and value not in ("", [], {})


def _filled(template: Any, value_of: Callable[[str], Any], path: tuple[Any, ...], faults: list[Fault]) -> Any:
    """Return a template with every placeholder filled; what could not be filled is added to the faults."""
    if isinstance(template, dict):
        filled: dict[str, Any] = {}
        for key, below in template.items():
            name = _text(key, value_of, path, faults)
            if name in filled:
                faults.append(
                    Fault(
                        format_path((*path, key), declared=True),
                        "becomes the same key as another of this map",
                    )
                )
            filled[name] = _filled(below, value_of, (*path, key), faults)
        return filled
    if isinstance(template, list):
        return [_filled(below, value_of, (*path, index), faults) for index, below in enumerate(template)]
    if not isinstance(template, str):
        return template
    whole = _PLACEHOLDER.fullmatch(template)
    if whole is None or whole[1] is None:
        return _text(template, value_of, path, faults)
    try:
        return plain_value(value_of(whole[1]))
    except (ValueError, Inapplicable) as error:
        faults.append(Fault(format_path(path, declared=True), str(error)))
        return ""


def _text(text: str, value_of: Callable[[str], Any], path: tuple[Any, ...], faults: list[Fault]) -> str:
    try:
        return _PLACEHOLDER.sub(
            lambda match: "${" if match[1] is None else _in_text(match[1], value_of(match[1])), text
        )
    except (ValueError, Inapplicable) as error:
        faults.append(Fault(format_path(path, declared=True), str(error)))
        return ""


def _in_text(expression: str, value: Any) -> str:
    if not isinstance(value, (dict, list)):
        return value if isinstance(value, str) else dump_json(value)
    raise Inapplicable(f"`{expression}` is {'a list' if isinstance(value, list) else 'an object'}, not text")


def _targets(value: Any) -> Any:
    """Return a target or a list of them as a list of different texts; ids are often numbers in events.

    A number of thousands of digits, which Python does not write, is left to the message to be refused.
    """
    listed = value if isinstance(value, list) else [value]
    flat = [target for item in listed for target in (item if isinstance(item, list) else [item])]
    try:
        texts = [str(target) if type(target) is int else target for target in flat]
        return list({json.dumps(text): text for text in texts}.values())
    except ValueError:
        return flat


def _ambiguous(rule: Rule, before: Sequence[Rule]) -> list[Fault]:
    faults = []
    if any(other.name == rule.name for other in before):
        faults.append(Fault("name", f"{rule.name} is the name of another rule"))
    if rule.match == EventMatch():
        faults.append(Fault("match", "must name at least one of source, type, subject and where"))
    return faults


def _template_faults(rule: Rule, settings: Settings) -> list[Fault]:
    """Check what does not depend on an event: expressions, names, fields without placeholder."""
    faults: list[Fault] = []
    unknown_yet = set()
    known: dict[str, Any] = {}
    for name, template in rule.message.items():
        texts = list(_texts(template))
        if any("${" in _PLACEHOLDER.sub("", text) for text in texts):
            faults.append(Fault(f"message.{name}", "a `${` has no end; write `$${` for the text `${`"))
        filled = _filled(template, check_expression, ("message", name), faults)
        if any(match[1] is not None for text in texts for match in _PLACEHOLDER.finditer(text)):
            unknown_yet.add(name)
            filled = None
        known[name] = _targets(filled) if name == "targets" and filled is not None else filled
    if unknown_yet & _TARGETS:
        unknown_yet |= _TARGETS
    message = message_of(known, settings)
    for fault in message.faults if isinstance(message, InvalidMessage) else ():
        field = fault.field.partition(".")[0]
        if fault.message.startswith("unknown field") or field not in unknown_yet | _FROM_SETTINGS | {""}:
            faults.append(Fault(f"message.{fault.field}", fault.message, fault.value))
    return faults


_TARGETS = {"targets", "targetMsgkey"}
_FROM_SETTINGS = {"appId", "workspaceId"}
"""The settings where the file is checked may differ from those where it is used."""


def _texts(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, (dict, list)):
        for part in (*template, *template.values()) if isinstance(template, dict) else template:
            yield from _texts(part)


def _fault(error: Any) -> Fault:
    return Fault(format_path(error["loc"], declared=True), error["msg"].removeprefix("Value error, "))
