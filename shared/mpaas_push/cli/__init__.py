"""The operator's commands, one module each, combined by `python -m mpaas_push`."""
