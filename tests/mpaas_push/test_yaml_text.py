from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mpaas_push.json_text import MAX_DEPTH
from mpaas_push.yaml_text import read_yaml
from tests.descriptors import PROJECT


@pytest.mark.parametrize(
    "text", ["007", "-010", "1_000", "22:22", "1:30:00", "2026-01-01", "0b11", "1,000", "0x"]
)
def test_number_that_yaml_readers_interpret_differently_is_text(text: str) -> None:
    assert read_yaml(f"a: {text}") == {"a": text}


@pytest.mark.parametrize("word", ["yes", "No", "ON", "off", "y", "n"])
def test_boolean_word_of_yaml_1_1_is_text(word: str) -> None:
    assert read_yaml(f"[{word}]") == [word]
    assert read_yaml(f"{word}: 1") == {word: 1}


@pytest.mark.parametrize("word", ["yes", "No", "ON", "off"])
def test_boolean_word_of_yaml_1_1_can_be_refused_with_alternatives(word: str) -> None:
    with pytest.raises(
        yaml.YAMLError, match=f"`{word}` is text here .*: write '{word}', true or false"
    ) as error:
        read_yaml(f"a:\n  - {word}", refuse_flag_words=True)

    assert "(line 2, column 5)" in str(error.value)
    assert read_yaml(f"{word}: '{word}'", refuse_flag_words=True) == {word: word}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("19.90", 19.9),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("'7'", "7"),
        ('"true"', "true"),
        ("!!str 7", "7"),
        ("|\n  7\n", "7\n"),
        ("%YAML 1.2\n---\na: {}\n...\n", {"a": {}}),
    ],
)
def test_scalars_are_read_by_yaml_1_2(text: str, value: Any) -> None:
    scalar = read_yaml(text)
    assert (scalar, type(scalar)) == (value, type(value))


def test_anchors_and_merges_are_read_as_independent_copies() -> None:
    document = read_yaml("a: &a {b: [1], c: 2}\nd: {<<: *a, c: 3}\ne: {<<: [{b: 4}, *a]}\nf: *a\n")

    assert document == {
        "a": {"b": [1], "c": 2},
        "d": {"b": [1], "c": 3},
        "e": {"b": 4, "c": 2},
        "f": {"b": [1], "c": 2},
    }
    assert document["f"] is not document["a"]
    assert document["d"]["b"] is not document["a"]["b"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{a: 1, b: 2, a: 3}", "duplicate key 'a' (line 1, column 14)"),
        ("{user-4711: 1, user-4711: 2}", "duplicate key 'us…(9)' (line 1, column 16)"),
        ("1: a", "a key must be text: quote it"),
        ("[a]: b", "a key must be text"),
        ("null: b", "a key must be text"),
        ("a: *b", "there is no anchor &b above this alias"),
        ("&a [*a]", "there is no anchor &a above this alias"),
        ("a: .nan", "NaN, Infinity and numbers that are too large"),
        ("a: -.INF", "NaN, Infinity and numbers that are too large"),
        ("a: 1e999", "NaN, Infinity and numbers that are too large"),
        ("9" * 5000, "an integer has too many digits"),
        ('"\\ud800"', "an unpaired surrogate is not a character"),
        ("a: !!int '7'", "the tag tag:yaml.org,2002:int is not supported"),
        ("!!set {a}", "the tag tag:yaml.org,2002:set is not supported"),
        ("!mine [a]", "the tag !mine is not supported"),
        ("!!python/object:os.system {}", "is not supported"),
        ("<<: 1", "`<<` merges a map or a list of maps"),
        ("--- a\n--- b", "a second document is not supported"),
        ("[" * 100_000, f"more than {MAX_DEPTH} levels"),
        ("- " * 100_000, f"more than {MAX_DEPTH} levels"),
        ("{a: " * 100_000, f"more than {MAX_DEPTH} levels"),
        (
            "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40,
            f"more than {MAX_DEPTH} levels",
        ),
    ],
)
def test_unreadable_text_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(yaml.YAMLError) as error:
        read_yaml(text)

    assert reason in str(error.value)


def nested_aliases(levels: int, width: int) -> str:
    """Return a few lines whose aliases expand to width ** levels values."""
    lines = [f"a0: &a0 [{', '.join(['ha'] * width)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text", [nested_aliases(30, 10), nested_aliases(3, 1000), "a: &a [1, 1]\n" + nested_aliases(60, 2)]
)
def test_aliases_that_expand_to_too_many_values_are_refused(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(yaml.YAMLError, match="aliases expand to too many values"):
            read_yaml(text)
        assert tracemalloc.get_traced_memory()[1] < 60 * len(text) + 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "[" + "a, " * 2_000 + "]",
        "- ab\n" * 1_000,
        "- {k: v}\n" * 1_000,
        "[" + "[], " * 2_000 + "]",
        "{" + ", ".join(f"key{number}: {number}" for number in range(800)) + "}",
        "a: &a [b, c]\nd: [" + "*a, " * 400 + "]",
        "# " + "x" * 20_000,
        "'" + "x" * 20_000 + "'",
    ],
)
def test_memory_is_linear_in_the_text(text: str) -> None:
    tracemalloc.start()
    try:
        read_yaml(text)
        assert (
            tracemalloc.get_traced_memory()[1] < 60 * len(text) + 400_000
        )  # PyYAML reads 1024 characters ahead
    finally:
        tracemalloc.stop()


@given(st.text() | st.text(alphabet="&*a<:-?[]{},'\"!|>%@` \n#~01.e", max_size=60))
def test_any_text_is_read_or_a_yaml_error(text: str) -> None:
    try:
        value = read_yaml(text)
    except yaml.YAMLError:
        return
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize("name", ["s.yaml", "s.prod.yaml", "template.yml", "functions/event_push/rules.yaml"])
def test_project_files_are_the_same_in_both_versions_of_yaml(name: str) -> None:
    text = (PROJECT / name).read_text("utf-8")
    assert read_yaml(text) == yaml.safe_load(text)
