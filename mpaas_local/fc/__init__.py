"""Function Compute on this machine: instances, triggers, asynchronous calls, and its API."""
