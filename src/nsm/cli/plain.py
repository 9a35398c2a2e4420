"""Text from outside, such as a file's name or what a file holds, on a terminal."""

from __future__ import annotations


def plain(text: str) -> str:
    r"""``text`` with what a terminal would obey, or cannot show, written as Python does.

    >>> plain("a\x1b[31m é\udcff")
    'a\\x1b[31m é\\udcff'
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
