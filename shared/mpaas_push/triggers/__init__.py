"""What Function Compute's triggers deliver: one module for each payload.

Every reader gives each message or event a *scope*, which makes its message ids and claims unique. A scope
contains everything that identifies the message or event (instance, topic, partition, offset and timestamp;
exchange and routing key; source, type, subject and id) and nothing that a redelivery changes. A task
prefixes the sender (`Invocation.sender`) and appends the index or the rule.
"""
