"""Deploys the project from a laptop or CI; never deployed itself."""
