"""What Function Compute's triggers deliver: one module for each payload."""
