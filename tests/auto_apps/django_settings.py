"""Settings of a Django project that never heard of graymw."""

from __future__ import annotations

ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "django_plain"
SECRET_KEY = "for tests only"
MIDDLEWARE: list[str] = []
