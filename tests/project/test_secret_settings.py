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
        *(
            (f"{name}: one", f"{name}: ********")
            for name in (
                "WEBHOOK_API_KEY",
                "SMS_APIKEY",
                "JWT_PRIVATE_KEY",
                "SIGNING_KEY",
                "DB_PASSWD",
                "DB_PWD",
                "SMTP_PASS",
                "KEY_PASSPHRASE",
                "GOOGLE_CREDENTIALS",
            )
        ),
        *(
            (f"{name}: one", f"{name}: one")
            for name in ("COLOUR", "PWD", "ROUTING_KEY", "JWT_PUBLIC_KEY", "BOARDING_PASS_TEXT")
        ),
    ],
)
def test_what_is_secret_by_its_name_is_masked_whichever_stage_it_belongs_to(
    printed: str, masked: str
) -> None:
    assert masked_settings(printed) == masked
