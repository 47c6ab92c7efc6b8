"""The command line: ``graymw COMMAND``."""
