"""Expressions of `s.yaml`, resolved as the `s` command does: `${env('NAME')}`, `${env('NAME', 'default')}`,
`${vars.name}`, `${this.props.name}` (deploy.md: Frame of s.yaml). Expressions of files, other resources and
the access are not supported.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from mpaas_push.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Expressions", "variables_of"]

_EXPRESSION = re.compile(r"\$\{([^{}]*)\}")
_ENV = re.compile(
    r"""env\(\s*(['"])(?P<name>[^'"]*)\1\s*(?:,\s*(?P<default>'[^']*'|"[^"]*"|[\w.-]+)\s*)?\)"""
)


def variables_of(value: Any) -> dict[str, Any]:
    """Return the environment variables that a value reads, each with its default or None."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return {name: default for item in items for name, default in variables_of(item).items()}
    if not isinstance(value, str):
        return {}
    calls = (_ENV.fullmatch(match.strip()) for match in _EXPRESSION.findall(value))
    return {call["name"]: _default(call["default"]) for call in calls if call}


class Expressions:
    """Resolves the expressions of a document.

    Args:
        roots: The roots of dotted names: `vars`, `this`.
        env: The environment of `${env(…)}`.

    Attributes:
        faults: Expressions that could not be resolved, by path.
    """

    def __init__(self, roots: Mapping[str, Any], env: Mapping[str, str]) -> None:
        self._roots = roots
        self._env = env
        self.faults: list[Fault] = []

    def resolve(self, value: Any, path: str, within: frozenset[str] = frozenset()) -> Any:
        """Return a value without expressions.

        Args:
            value: Any YAML value.
            path: Path of the value.
            within: The names that are being resolved, to detect recursion.
        """
        if isinstance(value, dict):
            return {key: self.resolve(item, f"{path}.{key}", within) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item, f"{path}.{index}", within) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        if "${" in _EXPRESSION.sub("", value):
            self.faults.append(Fault(path, f"{value!r} has ${{ without }}"))
        # A single expression keeps the type of its value; within a text it becomes a string.
        if single := _EXPRESSION.fullmatch(value):
            return self._value(single[1].strip(), path, within)
        return _EXPRESSION.sub(lambda match: _text(self._value(match[1].strip(), path, within)), value)

    def _value(self, expression: str, path: str, within: frozenset[str]) -> Any:
        if call := _ENV.fullmatch(expression):
            return self._variable(call["name"], call["default"], path)
        value: Any = self._roots
        for step in expression.split("."):
            try:
                value = value[int(step) if isinstance(value, list) else step]
            except (LookupError, TypeError, ValueError):
                value = None
        if value is None or expression in within or "." not in expression:
            self.faults.append(
                Fault(
                    path,
                    f"${{{expression}}} cannot be resolved; allowed: ${{vars.name}} with a name under `vars`,"
                    " ${this.props.name}, ${env('NAME')} and ${env('NAME', 'default')}",
                )
            )
            return ""
        return self.resolve(value, expression, within | {expression})

    def _variable(self, name: str, default: str | None, path: str) -> Any:
        if name in self._env:
            return self._env[name]
        if default is None:
            self.faults.append(Fault(path, f"the environment variable {name} is not set"))
            return ""
        return _default(default)


def _default(text: str | None) -> Any:
    if text is None:
        return None
    return text[1:-1] if text[0] in "'\"" else yaml.safe_load(text)


def _text(value: Any) -> str:
    """Return a value as part of a string."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | dict | list) else str(value)
