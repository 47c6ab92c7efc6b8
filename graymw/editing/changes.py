"""The changes operators make: shares, switching off and on, promoting. Each works on a document's tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableSequence
from typing import Any, Final

from graymw.editing.texts import Tree
from graymw.errors import GrayError

NEW_RULE: Final = "canary"


class ChangeError(GrayError):
    """A change does not fit the document."""

    code = "change"


def set_shares(tree: Tree, release: str, shares: Mapping[str, str], *, rule: str = "") -> None:
    """Give versions their shares in the release's split. A version that has none yet comes last.

    Args:
        shares: Percentages by version, as they are written: ``{"v2": "10%"}``.
        rule: The rule whose split is meant; needed where there are several. A release without a split gets one behind
            its other rules.

    Raises:
        ChangeError: There is no such release or rule, or several splits to choose from.
    """
    found = _release(tree, release)
    rules = _rules(found)
    splits = [each for each in rules if isinstance(each.get("split"), Mapping)]
    named = [each for each in splits if each.get("name") == rule] if rule else splits
    if rule and not named:
        have = _listed(str(each.get("name", "")) for each in splits)
        raise ChangeError(
            f"release {release} has no rule {rule} with a split; {f'it has {have}' if have else 'add one'}"
        )
    if len(named) > 1:
        names = _listed(str(each.get("name", "(unnamed)")) for each in named)
        raise ChangeError(f"release {release} has several splits: {names}; say which one by --rule")
    if not named:
        rules.append({"name": _free_name(rules), "split": dict(shares)})
        found["rules"] = rules
        return
    split = named[0]["split"]
    for version, share in shares.items():
        split[version] = share


def switch(tree: Tree, releases: Iterable[str], *, on: bool) -> None:
    """Switch releases on, or off: then everyone is on stable.

    Args:
        releases: Which ones; all where none is named.

    Raises:
        ChangeError: There is no such release.
    """
    for name in list(releases) or list(_releases(tree)):
        found = _release(tree, name)
        if on:
            found.pop("enabled", None)
        else:
            found["enabled"] = False


def promote(tree: Tree, release: str, version: str = "") -> str:
    """Make a gray version the stable one.

    Rules that send to it are taken out where no later rule would catch their requests, and it is taken out of splits:
    it has the rest now.

    Args:
        version: Which one; the only gray version of the release where it is not given.

    Returns:
        The version.

    Raises:
        ChangeError: There is no such release or version, or several to choose from.
    """
    found = _release(tree, release)
    rules = _rules(found)
    stable = str(found.get("stable", ""))
    gray = [each for each in dict.fromkeys(each for rule in rules for each in _versions(rule)) if each != stable]
    if not version and len(gray) != 1:
        told = f"several gray versions: {_listed(gray)}; say which one" if gray else "no gray version to promote"
        raise ChangeError(f"release {release} has {told}")
    version = version or gray[0]
    if version == stable:
        raise ChangeError(f"{version} is the stable version of release {release} already")
    if version not in gray:
        raise ChangeError(f"no rule of release {release} knows version {version}; it knows {_listed(gray) or 'none'}")
    found["stable"] = version
    for rule in rules:
        split = rule.get("split")
        if isinstance(split, Mapping) and version in split:
            del rule["split"][version]
    for place in reversed(range(len(rules))):
        rule = rules[place]
        emptied = "split" in rule and not rule["split"]
        if emptied or (str(rule.get("use", "")) == version and place == len(rules) - 1):
            del rules[place]
    if not rules:
        found.pop("rules", None)  # an empty list under a commented key is written where no reader takes it
    return version


def _versions(rule: Mapping[str, Any]) -> list[str]:
    split = rule.get("split")
    return [str(each) for each in (*(split if isinstance(split, Mapping) else ()), rule.get("use")) if each is not None]


def _releases(tree: Tree) -> Tree:
    releases: Tree | None = tree.get("releases")
    return {} if releases is None else releases


def _release(tree: Tree, name: str) -> Tree:
    releases = _releases(tree)
    found: Tree | None = releases.get(name)
    if found is None:
        have = f"it has {_listed(map(str, releases))}" if releases else "it has none"
        raise ChangeError(f"the rules have no release {name}; {have}")
    return found


def _rules(release: Tree) -> MutableSequence[Any]:
    rules: MutableSequence[Any] | None = release.get("rules")
    return [] if rules is None else rules


def _free_name(rules: Iterable[Mapping[str, Any]]) -> str:
    taken = {rule.get("name") for rule in rules}
    number = next(number for number in range(1, len(taken) + 2) if _numbered(number) not in taken)
    return _numbered(number)


def _numbered(number: int) -> str:
    return NEW_RULE if number == 1 else f"{NEW_RULE}-{number}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name for name in names if name)
