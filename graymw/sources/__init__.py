"""Where rule documents come from."""
