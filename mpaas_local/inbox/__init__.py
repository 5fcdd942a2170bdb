"""The inbox: a page that shows every push of the local stack and can send it again."""

from mpaas_local.inbox.app import create_inbox_app

__all__ = ["create_inbox_app"]
