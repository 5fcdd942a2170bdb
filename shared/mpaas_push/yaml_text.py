"""YAML that hides no duplicate key, as `json_text` is JSON that hides none."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["read_yaml"]


def read_yaml(text: str) -> Any:
    """Read a document of plain values.

    Raises:
        yaml.YAMLError: it is none, or a key stands twice in a map, of which YAML's own loader takes the last.
        RecursionError: it is nested some thousand deep.
    """
    return yaml.load(text, _UniqueKeys)  # noqa: S506 - a SafeLoader


class _UniqueKeys(yaml.SafeLoader):
    """Reads YAML and refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=True) for key in own]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", own[place].start_mark
                )
        return super().construct_mapping(node, deep)
