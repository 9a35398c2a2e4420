"""What reading and fetching data raise besides ValueError for arguments."""

from __future__ import annotations


class DataError(ValueError):
    """A data file that is missing or damaged: the message names the file and what is wrong with it."""
