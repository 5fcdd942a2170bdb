"""What brings the project to the cloud: run on a laptop or in CI, never deployed itself."""
