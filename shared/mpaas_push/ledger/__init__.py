"""The ledger: what has been sent already, in a Redis or Tair that all functions and instances share.

`ledger` (Idempotency-Keys, health) → `claims` (of one invocation: claim, settle) → `redis_client` (trips to
Redis; temporary and permanent failures) → `ledger.lua`, the only way to change a record.
"""

from mpaas_push.ledger.ledger import Comparison, Ledger

__all__ = ["Comparison", "Ledger"]
