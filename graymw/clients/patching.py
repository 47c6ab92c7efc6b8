"""Replacing attributes of other people's classes so that it can be undone, whoever else patched before or after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

_MISSING: Final = object()


class _Replaced(NamedTuple):
    owner: Any
    name: str
    replacement: Any
    original: Any


class Patches:
    """The attributes that one adapter replaced.

    Attributes:
        active: What a replacement must look at first. A replacement that somebody wrapped cannot be taken out from
            beneath; it then only passes on.
    """

    __slots__ = ("_replaced", "active")

    def __init__(self) -> None:
        self.active = False
        self._replaced: list[_Replaced] = []

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put ``make(original)`` in the place of ``owner.name``, unless one of ours is there already.

        Args:
            owner: Class or module that defines ``name`` itself.
            make: Gets the attribute as it stands in ``vars(owner)``, unbound.

        Raises:
            AttributeError: ``owner`` does not define ``name``.
        """
        current = vars(owner).get(name, _MISSING)
        if current is _MISSING:
            raise AttributeError(f"{owner!r} does not define {name!r}")
        ours = [each.replacement for each in self._replaced if each.owner is owner and each.name == name]
        if any(layer is one for layer in layers(current) for one in ours):
            return
        replacement = make(current)
        setattr(owner, name, replacement)
        self._replaced.append(_Replaced(owner, name, replacement, current))

    def restore(self) -> None:
        """Put back what was there, and switch off what is buried under somebody else's wrapper."""
        self.active = False
        buried = []
        for each in reversed(self._replaced):
            if vars(each.owner).get(each.name) is each.replacement:
                setattr(each.owner, each.name, each.original)
            else:
                buried.append(each)
        self._replaced = buried[::-1]


def layers(function: Any) -> list[Any]:
    """A function and what it wraps, from the outside in, by the ``__wrapped__`` convention."""
    found: list[Any] = []
    while function is not None and not any(function is one for one in found):
        found.append(function)
        function = getattr(function, "__wrapped__", None)
    return found


def is_traced(function: Any) -> bool:
    """Whether an OpenTelemetry instrumentation wraps a function: it makes the CLIENT span of each call."""
    return any(_module_of(layer).startswith("opentelemetry.instrumentation.") for layer in layers(function))


class TracedWatch:
    """``is_traced`` of an attribute that is asked about at every call, answered anew only after it was replaced."""

    __slots__ = ("_known", "_traced")

    def __init__(self) -> None:
        self._known: Any = None
        self._traced = False

    def __call__(self, function: Any) -> bool:
        """Whether an OpenTelemetry instrumentation wraps ``function`` now."""
        if function is not self._known:
            self._traced = is_traced(function)
            self._known = function
        return self._traced


def _module_of(layer: Any) -> str:
    wrapper = getattr(layer, "_self_wrapper", layer)
    return str(getattr(getattr(wrapper, "func", wrapper), "__module__", ""))
