"""Campaigns from a terminal: each command a module, combined by `command`.

The HTTP function is asked for the state, since only functions reach the Redis of a VPC; audiences and results
go to and from OSS directly. What runs in the cloud continues when a command is interrupted.
"""
