"""Names of fields in JSON."""

from __future__ import annotations

import pytest
from pydantic import alias_generators

from mpaas_push.campaign.model import Campaign
from mpaas_push.message import PushMessage, StrategyContent
from mpaas_push.strict_model import StrictModel, to_camel


@pytest.mark.parametrize("model", [PushMessage, StrategyContent, Campaign])
def test_a_field_has_the_name_that_pydantic_would_give_it(model: type[StrictModel]) -> None:
    for name in model.model_fields:
        assert to_camel(name) == alias_generators.to_camel(name)
