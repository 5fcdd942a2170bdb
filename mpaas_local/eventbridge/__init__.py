"""EventBridge on this machine: event streams with their sources, the event bus, CloudEvents."""
