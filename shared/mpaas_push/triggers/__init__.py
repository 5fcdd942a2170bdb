"""What Function Compute's triggers deliver: one module for each payload.

Every reader gives what it reads a *scope*: what makes message ids and claims of this event its own. A scope
is as wide as the thing it names. It holds everything that identifies the thing (instance, topic, partition,
offset and timestamp; exchange and routing key; source, type, subject and id) and nothing that a
redelivery changes. A task prefixes the sender (`Invocation.sender`) and appends the index or the rule.
"""
