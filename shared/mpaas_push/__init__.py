"""mPaaS pushes from Function Compute."""

__version__ = "0.1.0"
