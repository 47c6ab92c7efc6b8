"""Gray release as an entry of Django's ``MIDDLEWARE``: ``"graymw.django.GrayMiddleware"``, sync and async.

Put it first. Whoever cannot, wraps the handler instead: ``application = graymw.install(get_wsgi_application())``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from graymw.installation import start
from graymw.middleware import django as _django

__all__ = ["GrayMiddleware"]


class GrayMiddleware(_django.GrayMiddleware):
    """Decides, carries and shows one request's version; configured by ``GRAYMW_*`` variables and files.

    Args:
        get_response: What comes after it.

    Raises:
        MiddlewareNotUsed: graymw is switched off.
    """

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response, start=lambda: start(None))
