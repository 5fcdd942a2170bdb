"""The tables of queues, messages, topics and subscriptions."""

from __future__ import annotations

__all__ = ["SCHEMA", "SCHEMA_VERSION"]

SCHEMA_VERSION = 1
# `held` messages cannot be received: they are delayed, or received and hidden. The first query after
# `visible_at` clears the flag, so the cost of a receive does not depend on the number of hidden messages.
SCHEMA = """
CREATE TABLE account (
    logging_bucket TEXT NOT NULL
);
INSERT INTO account VALUES ('');
CREATE TABLE queue (
    name TEXT PRIMARY KEY,
    create_time INTEGER NOT NULL,
    last_modify_time INTEGER NOT NULL,
    delay_seconds INTEGER NOT NULL,
    maximum_message_size INTEGER NOT NULL,
    message_retention_period INTEGER NOT NULL,
    visibility_timeout INTEGER NOT NULL,
    polling_wait_seconds INTEGER NOT NULL,
    logging_enabled INTEGER NOT NULL
);
CREATE TABLE message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    queue TEXT NOT NULL REFERENCES queue (name) ON DELETE CASCADE,
    body TEXT NOT NULL,
    priority INTEGER NOT NULL,
    enqueue_time INTEGER NOT NULL,
    first_dequeue_time INTEGER NOT NULL,
    visible_at INTEGER NOT NULL,
    held INTEGER NOT NULL,
    dequeue_count INTEGER NOT NULL,
    receipt TEXT NOT NULL,
    group_id TEXT NOT NULL,
    properties TEXT NOT NULL
);
CREATE INDEX message_to_receive ON message (queue, priority, seq) WHERE held = 0;
CREATE INDEX message_to_show ON message (queue, visible_at) WHERE held = 1;
CREATE INDEX message_by_age ON message (queue, enqueue_time);
CREATE TABLE topic (
    name TEXT PRIMARY KEY,
    create_time INTEGER NOT NULL,
    last_modify_time INTEGER NOT NULL,
    maximum_message_size INTEGER NOT NULL,
    logging_enabled INTEGER NOT NULL
);
CREATE TABLE subscription (
    topic TEXT NOT NULL REFERENCES topic (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    last_modify_time INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    notify_strategy TEXT NOT NULL,
    notify_content_format TEXT NOT NULL,
    filter_tag TEXT NOT NULL,
    PRIMARY KEY (topic, name)
);
"""
