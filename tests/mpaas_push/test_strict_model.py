"""JSON names of fields."""

from __future__ import annotations

import pytest
from pydantic import alias_generators

from mpaas_push.campaign.model import Campaign
from mpaas_push.message import PushMessage, StrategyContent
from mpaas_push.strict_model import StrictModel, to_camel


@pytest.mark.parametrize("model", [PushMessage, StrategyContent, Campaign])
def test_field_name_equals_pydantics_camel_case_alias(model: type[StrictModel]) -> None:
    for name in model.model_fields:
        assert to_camel(name) == alias_generators.to_camel(name)
