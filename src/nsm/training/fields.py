"""Typed, checked sections of a configuration: what a frozen dataclass needs to refuse nonsense by name."""

from __future__ import annotations

import sys
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from nsm import noise as laws
from nsm.noise import NoiseLaw

Scalar = bool | int | float | str


class Section:
    """Base of the frozen dataclasses of a configuration: every field is checked against its annotation.

    Integers are accepted where a float is declared, lists where a tuple is, and a law's description where a
    noise law is.
    """

    section: ClassVar[str]

    def __post_init__(self) -> None:
        for name, annotation in self.annotations().items():
            object.__setattr__(self, name, checked(f"{self.section}.{name}", getattr(self, name), annotation))
        self._check()

    def _check(self) -> None:
        """Refuse impossible values; types are right already."""

    def require(self, condition: bool, name: str, valid: str) -> None:
        """Raise ValueError naming the field, its value and what is valid unless ``condition`` holds."""
        if not condition:
            raise ValueError(f"{self.section}.{name} must be {valid}, got {getattr(self, name)!r}")

    @classmethod
    def annotations(cls) -> dict[str, Any]:
        """Types of the fields by name."""
        hints = get_type_hints(cls)
        return {field.name: hints[field.name] for field in fields(cls)}  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values by field name."""
        return {name: _plain(getattr(self, name)) for name in self.annotations()}

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """The section that :meth:`to_dict` described; absent fields take their default.

        Raises:
            ValueError: for a field that is unknown, missing, of the wrong type or of an impossible value.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"{cls.section} must be a table of fields, got {values!r:.80}")
        known = cls.annotations()
        for name in values:
            if name not in known:
                raise ValueError(f"{cls.section}.{name} is unknown; valid fields: {', '.join(known)}")
        for field in fields(cls):  # type: ignore[arg-type]
            if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
                raise ValueError(f"{cls.section}.{field.name} is missing")
        return cls(**values)


def checked(name: str, value: object, annotation: Any) -> Any:
    """``value`` as ``annotation`` wants it.

    Raises:
        ValueError: naming the field, the value and the valid choices.
    """
    result = _convert(value, annotation)
    if result is _UNFIT:
        raise ValueError(f"{name} must be {_describe(annotation)}, got {value!r:.80}")
    return result


def parsed(name: str, text: str, annotation: Any) -> Any:
    """The value that ``text`` from a command line stands for, in TOML or as a bare word.

    ``none`` stands for None where that is valid.

    Raises:
        ValueError: naming the field, the text and the valid choices.
    """
    result = _convert(_value(text), annotation)
    if result is _UNFIT:
        result = _convert(text, annotation)
    if result is _UNFIT:
        raise ValueError(f"{name} must be {_describe(annotation)}, got {text!r:.80}")
    return result


def read_law(value: object) -> NoiseLaw:
    """A noise law from itself, its description, or a word such as "bernoulli:0.5" or "gaussian:1.0".

    Raises:
        ValueError: if it describes no law.
    """
    if isinstance(value, NoiseLaw):
        return value
    if not isinstance(value, str):
        return laws.from_dict(value)
    kind, _, number = value.partition(":")
    parameters = {"bernoulli": "p", "gaussian": "std"}
    try:
        return laws.from_dict({"law": kind, parameters[kind]: float(number)})
    except (KeyError, ValueError) as error:
        reason = f" ({error})" if kind in parameters and number else ""
        raise ValueError(
            f"a noise law is written bernoulli:P or gaussian:STD, such as bernoulli:0.5, "
            f"got {value!r}{reason}"
        ) from error


_UNFIT = object()
_WORDS = {"none": None, "true": True, "false": False}


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        pass
    try:
        return float(text)  # TOML knows neither .5 nor 5.
    except ValueError:
        return text


def _convert(value: Any, annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        candidates = (_convert(value, option) for option in get_args(annotation))
        return next((found for found in candidates if found is not _UNFIT), _UNFIT)
    if origin is Literal:
        return value if isinstance(value, str) and value in get_args(annotation) else _UNFIT
    if origin is tuple:
        kinds = get_args(annotation)
        if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
            return _UNFIT
        parts = tuple(_convert(part, kind) for part, kind in zip(value, kinds, strict=True))
        return _UNFIT if _UNFIT in parts else parts
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return types.MappingProxyType(dict(value)) if isinstance(value, Mapping) else _UNFIT
    if annotation is NoiseLaw:
        return read_law(value) if isinstance(value, (NoiseLaw, str, Mapping)) else _UNFIT
    if annotation is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return float(value) if number and abs(value) <= sys.float_info.max else _UNFIT
    if annotation is int:
        number = isinstance(value, int) and not isinstance(value, bool)
        return value if number and -(2**63) <= value < 2**63 else _UNFIT
    return value if isinstance(value, annotation) else _UNFIT


def _describe(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_describe, get_args(annotation)))
    if origin is Literal:
        return f"one of {', '.join(get_args(annotation))}"
    if origin is tuple:
        return f"{len(get_args(annotation))} numbers"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a table of fields"
    names = {
        NoiseLaw: "a noise law such as bernoulli:0.5",
        float: "a finite number",
        int: "an integer of 64 bits",
        bool: "true or false",
        str: "text",
        type(None): "none",
    }
    return names[annotation]


def _plain(value: object) -> Any:
    if isinstance(value, NoiseLaw):
        return value.to_dict()
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
