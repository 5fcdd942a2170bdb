from __future__ import annotations

from mpaas_push.message.fields import ALIASES, STRATEGY_ALIASES
from mpaas_push.message.vocabulary import IMAGE_KEYS, OTHER_SPELLING, RESERVED_EXTENDED_PARAMS, VENDORS
from mpaas_push.paths import KNOWN_KEYS, format_path


def test_path_of_known_keys_and_indexes_is_printed_completely() -> None:
    assert format_path(("messages", 3, "strategyContent", "endTime")) == "messages.3.strategyContent.endTime"


def test_unknown_key_may_be_a_target_and_is_masked() -> None:
    assert format_path(("extendedParams", "user-4711")) == "extendedParams.us…(9)"
    assert format_path(("messages", "13800138000")) == "messages.13…(11)"


def test_key_below_target_msgkey_is_masked_even_if_it_is_known() -> None:
    assert format_path(("targetMsgkey", "title")) == "targetMsgkey.t…(5)"
    assert format_path(("TargetMsgkey", "title"), declared=True) == "TargetMsgkey.t…(5)"


def test_declared_names_are_printed_truncated_and_escaped() -> None:
    assert format_path(("rules", 0, "match")) == "rules.0.m…(5)"
    assert format_path(("rules", 0, "match"), declared=True) == "rules.0.match"
    assert format_path(("a" * 100, 0, "\ud800"), declared=True) == f"{'a' * 64}….0.?"


def test_key_that_python_cannot_write_is_shown_as_a_number() -> None:
    assert format_path((10**5000,), declared=True) == "<number>"


def test_every_key_of_a_message_is_known() -> None:
    maps = VENDORS | IMAGE_KEYS | RESERVED_EXTENDED_PARAMS | {f"{vendor}Url" for vendor in VENDORS}
    assert {*ALIASES.values(), *STRATEGY_ALIASES, OTHER_SPELLING, *maps} <= KNOWN_KEYS
