"""Queues that messages are handed over to: `mns` (what became of each message), `message`, `connection`."""
