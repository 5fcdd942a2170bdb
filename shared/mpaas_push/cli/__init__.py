"""The operator's commands, one module each; `python -m mpaas_push` puts them together."""
