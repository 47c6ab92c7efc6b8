"""Gray release for Python services."""
