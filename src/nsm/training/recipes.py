"""Recipes: configurations as TOML files, and single values changed from the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nsm.training.config import SECTIONS, Config, override_types
from nsm.training.fields import parsed

_FOLDER = Path(__file__).parent / "recipes"
_LIMIT = 2**20


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with the library."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_recipe(recipe: str | Path) -> Config:
    """The configuration in a recipe.

    Args:
        recipe: a name of :func:`recipe_names`, or the path of a TOML file with the sections and fields of
            :class:`Config`.

    Raises:
        ValueError: if there is no such recipe or file, it is larger than 1 MiB, it is not TOML, or a field
            is wrong.
    """
    path = Path(recipe)
    if path.suffix != ".toml":
        if str(recipe) not in recipe_names():
            raise ValueError(
                f"recipe must be one of {', '.join(recipe_names())}, or the path of a .toml file, "
                f"got {str(recipe)!r}"
            )
        path = _FOLDER / f"{recipe}.toml"
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > _LIMIT:
        raise ValueError(f"{path}: larger than {_LIMIT} bytes")
    try:
        return Config.from_dict(tomllib.loads(data.decode()))
    except RecursionError as error:
        raise ValueError(f"{path}: is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def with_overrides(config: Config, assignments: Sequence[str]) -> Config:
    """``config`` with some fields replaced.

    Args:
        config: the configuration to start from.
        assignments: ``"section.field=value"``, or ``"field=value"`` where one section alone has the field;
            ``network.overrides.KEY`` may be written ``KEY``. Values are written as in TOML, or as a bare
            word; ``none`` clears an optional field.

    Raises:
        ValueError: naming what is not an assignment, unknown, ambiguous, of the wrong type or impossible.

    >>> config = with_overrides(load_recipe("digits"), ["training.epochs=3", "lr=1e-3", "binarize=true"])
    >>> config.training.epochs, config.training.lr, dict(config.network.overrides)
    (3, 0.001, {'binarize': True})
    """
    description = config.to_dict()
    types = _types()
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"an override is written field=value, got {assignment!r}")
        place = _resolve(key.strip(), list(types))
        *folders, name = place.split(".")
        table = description
        for folder in folders:
            table = table[folder]
        table[name] = parsed(place, text.strip(), types[place])
    return Config.from_dict(description)


def _types() -> dict[str, Any]:
    """Types of all fields by their dotted name."""
    types = {
        f"{section}.{name}": annotation
        for section, kind in SECTIONS.items()
        for name, annotation in kind.annotations().items()
    }
    del types["network.overrides"]
    return types | {f"network.overrides.{name}": kind for name, kind in override_types().items()}


def _resolve(key: str, places: Sequence[str]) -> str:
    found = [place for place in places if place == key or place.endswith(f".{key}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{key} is ambiguous: {' or '.join(found)}")
    raise ValueError(f"{key} is no field; valid fields: {', '.join(places)}")
