"""Settings: read once from environment and files, validated into a frozen object."""
