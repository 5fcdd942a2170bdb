"""A cloud event that the rule `order-shipped` turns into a push."""

from __future__ import annotations

__all__ = ["ORDER"]

ORDER = {
    "id": "4711",
    "source": "shop.orders",
    "type": "order:Shipped",
    "specversion": "1.0",
    "data": {"order": {"id": 4711, "customer": "user-1"}},
}
