"""Where rule documents come from."""

from graymw.sources.choosing import source_for

__all__ = ["source_for"]
