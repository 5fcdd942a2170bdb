from __future__ import annotations

import pytest

from project.secret_settings import mask_settings


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
def test_settings_with_a_secret_name_are_masked(printed: str, masked: str) -> None:
    assert mask_settings(printed) == masked
