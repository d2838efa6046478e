"""What the crash checks are built from, beside the harness of the acceptance checks."""
