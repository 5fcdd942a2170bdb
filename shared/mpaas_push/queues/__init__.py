"""Queues that messages are handed over to.

`hand_over` (the decision) → `retry_entries` and `dead_letters` (the texts) → `mns` (sends them), `message`,
`connection`.
"""
