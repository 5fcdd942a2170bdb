"""Campaigns from a terminal: one module per command, combined by `command`.

The state comes from the HTTP function, since only functions reach the Redis in a VPC; audiences and results
are transferred to and from OSS directly. Interrupting a command does not stop a campaign.
"""
