from __future__ import annotations

import json
from typing import Any

import pytest

from project.patterns import BadPattern, pattern_of

EVENT = {
    "source": "acs.oss",
    "type": "oss:ObjectCreated:PutObject",
    "subject": "acs:oss:cn-hangzhou:1000:b/a.jpg",
    "data": {
        "size": 1,
        "ok": True,
        "none": None,
        "empty": "",
        "tags": ["a", "b"],
        "ip": "10.0.0.7",
        "oss": {"key": "a.jpg"},
    },
}


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ({}, True),
        ({"source": ["acs.oss"]}, True),
        ({"source": ["acs.ecs", "acs.oss"]}, True),
        ({"source": ["ACS.OSS"]}, False),
        ({"source": ["acs.oss"], "type": ["other"]}, False),
        ({"missing": ["x"]}, False),
        ({"missing": [None]}, False),
        ({"source": [{"prefix": "acs."}]}, True),
        ({"source": [{"prefix": "oss"}]}, False),
        ({"subject": [{"suffix": ".png"}, {"suffix": ".jpg"}]}, True),
        ({"data": {"oss": {"key": [{"suffix": ".jpg"}]}}}, True),
        ({"data": {"size": [1]}}, True),
        ({"data": {"size": ["1"]}}, False),
        ({"data": {"size": [{"prefix": "1"}]}}, False),
        ({"data": {"ok": [True]}}, True),
        ({"data": {"ok": [1]}}, False),
        ({"data": {"none": [None]}}, True),
        ({"data": {"empty": [""]}}, True),
        ({"data": {"tags": ["b"]}}, True),
        ({"data": {"tags": ["c"]}}, False),
        ({"source": {"oss": ["x"]}}, False),
        ({"data": {}}, True),
        ({"source": {}}, False),
        ({"type": [{"contains": "Created"}]}, True),
        ({"type": [{"contains": "created"}]}, False),
        ({"source": [{"anything-but": "acs.ecs"}]}, True),
        ({"source": [{"anything-but": "acs.oss"}]}, False),
        ({"source": [{"anything-but": ["acs.ecs", "acs.oss"]}]}, False),
        ({"source": [{"anything-but": {"prefix": "acs."}}]}, False),
        ({"source": [{"anything-but": {"prefix": "oss."}}]}, True),
        ({"missing": [{"anything-but": "x"}]}, False),
        ({"data": {"size": [{"anything-but": 1}]}}, False),
        ({"data": {"size": [{"numeric": [">", 0, "<=", 1]}]}}, True),
        ({"data": {"size": [{"numeric": [">", 0, "<", 1]}]}}, False),
        ({"data": {"size": [{"numeric": ["=", 1]}]}}, True),
        ({"data": {"ok": [{"numeric": ["=", 1]}]}}, False),
        ({"data": {"ip": [{"numeric": ["=", 1]}]}}, False),
        ({"data": {"ip": [{"cidr": "10.0.0.0/24"}]}}, True),
        ({"data": {"ip": [{"cidr": "10.0.1.0/24"}]}}, False),
        ({"source": [{"cidr": "10.0.0.0/24"}]}, False),
        ({"source": [{"exists": True}]}, True),
        ({"source": [{"exists": False}]}, False),
        ({"missing": [{"exists": True}]}, False),
        ({"missing": [{"exists": False}]}, True),
        ({"data": {"missing": [{"exists": False}, "x"]}}, True),
        ({"data": {"none": [{"exists": True}]}}, True),
    ],
)
def test_pattern_matches_as_documented(pattern: dict[str, Any], matches: bool) -> None:
    assert pattern_of(json.dumps(pattern)).matches(EVENT) is matches


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("[]", "a JSON object"),
        ("{", "not JSON"),
        ('{"source": "acs.oss"}', 'source: must be a list of values, such as ["acs.oss"]'),
        ('{"source": []}', "source: an empty list matches nothing"),
        (
            '{"data": {"n": [{"numerc": [">", 0]}]}}',
            "data.n: 'numerc' is not an operator; did you mean numeric?",
        ),
        (
            '{"source": [{"$or": []}]}',
            "'$or' is not an operator; allowed: prefix, suffix, contains, anything-but",
        ),
        ('{"source": [{"anything-but": {"prefx": "a"}}]}', "did you mean prefix?"),
        ('{"n": [{"numeric": [">"]}]}', "n: numeric needs pairs"),
        ('{"n": [{"numeric": ["!", 1]}]}', "n: numeric needs pairs"),
        ('{"n": [{"numeric": 1}]}', "n: numeric needs pairs"),
        ('{"n": [{"cidr": "10.0.0.0/33"}]}', "n: cidr needs a block"),
        ('{"n": [{"exists": "true"}]}', "n: exists needs true or false"),
        ('{"source": [{"prefix": 1}]}', "source: prefix needs a string"),
        ('{"source": [{"prefix": "a", "suffix": "b"}]}', "one operator, such as"),
        ('{"source": [{}]}', "one operator, such as"),
        ('{"source": [["a"]]}', "must not contain a list"),
    ],
)
def test_invalid_pattern_is_refused_with_its_path(pattern: str, message: str) -> None:
    with pytest.raises(BadPattern) as caught:
        pattern_of(pattern)
    assert message in str(caught.value)
