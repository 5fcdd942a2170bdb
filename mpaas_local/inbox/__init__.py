"""The inbox: a page on which every push that the local stack sent can be seen, and sent again."""

from mpaas_local.inbox.app import create_inbox_app

__all__ = ["create_inbox_app"]
