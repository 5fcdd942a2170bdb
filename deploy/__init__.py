"""Deployment of the project: runs on a laptop or in CI, never deployed itself."""
