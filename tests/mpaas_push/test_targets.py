from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mpaas_push import PushMessage
from mpaas_push.targets import TARGETS_PER_REQUEST, message_ids_of, slices
from tests.mpaas_push.message.examples import minimal, with_targets


def message_to(*targets: str) -> PushMessage:
    return PushMessage.parse(with_targets(*targets))


def test_same_event_gives_the_same_target_the_same_id() -> None:
    first = message_ids_of(message_to("user-1", "user-2"), "timer/nightly/2026-11-23", 3)
    repeated = message_ids_of(message_to("user-2", "user-1"), "timer/nightly/2026-11-23", 3)

    assert first == repeated


def test_ids_are_stable_across_releases() -> None:
    # The ledger and the console contain ids of earlier releases.
    assert message_ids_of(message_to("user-1"), "scope", 0) == {"user-1": "81b09d3edc2b964a0372e6e117656375"}


def test_another_scope_position_or_target_gives_another_id() -> None:
    ids = [
        message_ids_of(message_to(target), scope, position)[target]
        for target in ("user-1", "user-2")
        for scope in ("a", "b", "a 1", "a 1 ")
        for position in (0, 1, 11)
    ]

    assert len(set(ids)) == len(ids)


def test_derived_ids_are_short_plain_text() -> None:
    (message_id,) = message_ids_of(message_to("用户" * 500), "scope").values()

    assert len(message_id) == 32
    assert message_id.isalnum()
    assert message_id.isascii()


def test_given_ids_are_kept_in_their_order() -> None:
    given_ids = {f"user-{number}": f"id-{number}" for number in (3, 1, 2)}

    ids = message_ids_of(PushMessage.parse(minimal() | {"targetMsgkey": given_ids}), "scope", 7)

    assert list(ids.items()) == list(given_ids.items())


def test_given_ids_are_split_into_the_same_requests_in_any_order() -> None:
    given_ids = {f"user-{number:02}": f"id-{number:02}" for number in range(25)}
    orders = [given_ids, dict(reversed(given_ids.items()))]

    first, second = (
        list(slices(message_ids_of(PushMessage.parse(minimal() | {"targetMsgkey": ids}), "scope")))
        for ids in orders
    )

    assert first == second
    assert [len(portion) for portion in first] == [10, 10, 5]


def test_unpaired_surrogate_in_the_scope_is_accepted() -> None:
    assert message_ids_of(message_to("user-1"), "key-\ud800") != message_ids_of(message_to("user-1"), "key-")


# U+FFFD is refused because it replaces a lost character.
TEXT = st.characters(codec="utf-8", exclude_characters="\ufffd")


@settings(deadline=None)
@given(
    st.lists(st.text(TEXT, min_size=1).map("t".__add__), unique=True, min_size=1, max_size=45),
    st.text(),
    st.integers(0, 9),
)
def test_slices_contain_every_target_once_in_order_and_at_most_ten(
    targets: list[str], scope: str, position: int
) -> None:
    ids = message_ids_of(message_to(*targets), scope, position)

    portions = list(slices(ids))

    assert [pair for portion in portions for pair in portion.items()] == list(ids.items())
    assert list(ids) == targets
    assert all(len(portion) == TARGETS_PER_REQUEST for portion in portions[:-1])
    assert 1 <= len(portions[-1]) <= TARGETS_PER_REQUEST
    assert len(set(ids.values())) == len(targets)
