"""Comments that stand above what they are about, kept where the library takes them for the end of what comes before."""

from __future__ import annotations

from collections.abc import Iterator


def with_headings(before: str, after: str) -> str:
    """The text after an edit, with the comments that stood right above a line that is still there.

    A comment on lines of its own belongs to the line below where both are indented alike. It is put back only where
    that line stands once in both texts, and the comment nowhere in the new one.
    """
    old, new = before.split("\n"), after.split("\n")
    for block, line in _headings(old):
        if old.count(line) == new.count(line) == 1:
            place = new.index(line)
            if not _above(new, place) and block[-1] not in new:
                blank = block[0] == "" and place > 0 and new[place - 1] != ""
                new[place:place] = block if blank else [each for each in block if each]
    return "\n".join(new)


def _headings(lines: list[str]) -> Iterator[tuple[list[str], str]]:
    """Each comment with the line it stands above, and with the blank line above itself."""
    for place, line in enumerate(lines):
        block = _above(lines, place)
        if block:
            start = place - len(block)
            yield ([""] if start and not lines[start - 1].strip() else []) + block, line


def _above(lines: list[str], place: int) -> list[str]:
    """Comment lines right above a line that is none, indented as it is."""
    line = lines[place]
    comment = line[: len(line) - len(line.lstrip())] + "#"
    start = place
    if line.strip() and not line.startswith(comment):
        while start and lines[start - 1].startswith(comment):
            start -= 1
    return lines[start:place]
