from __future__ import annotations

import pytest

from project.secret_settings import masked_settings


@pytest.mark.parametrize(
    ("printed", "masked"),
    [
        ("  API_TOKEN: one two, three", "  API_TOKEN: ********"),
        ("API_TOKEN: one => two", "API_TOKEN: ******** => ********"),
        ("{'API_TOKEN': 'one', 'COLOUR': 'red'}", "{'API_TOKEN': ********, 'COLOUR': 'red'}"),
        (r'{"API_TOKEN": "on\"e", "COLOUR": "red"}', '{"API_TOKEN": ********, "COLOUR": "red"}'),
        ('API_TOKEN: "one" => "two", COLOUR: "red"', 'API_TOKEN: ******** => ********, COLOUR: "red"'),
        (
            r'"{\"API_TOKEN\":\"on\\\"e\",\"COLOUR\":\"red\"}"',
            r'"{\"API_TOKEN\":********,\"COLOUR\":\"red\"}"',
        ),
        ("MPAAS_AK_ENV=one", "MPAAS_AK_ENV=********"),
        ("the key LTAI5tExample12345 is refused", "the key ******** is refused"),
        ("COLOUR: red", "COLOUR: red"),
    ],
)
def test_what_is_secret_by_its_name_is_masked_whichever_stage_it_belongs_to(
    printed: str, masked: str
) -> None:
    assert masked_settings(printed) == masked
