"""Fields of nested dataclasses by name, and texts as their values."""

from __future__ import annotations

import ast
from dataclasses import Field, fields, is_dataclass
from typing import Any


def locate(nested: Any, name: str) -> tuple[str, Field]:
    """Find a field of one of the sections of a dataclass.

    Args:
        nested: a dataclass, some of whose fields are dataclasses, its sections.
        name: "section.field", or "field" where only one section has it.

    Returns:
        (name of the section, the field).

    Raises:
        ValueError: no such field, or several; the message lists the choices.
    """
    known = {
        f"{section.name}.{one.name}": (section.name, one)
        for section in fields(nested)
        if is_dataclass(getattr(nested, section.name))
        for one in fields(getattr(nested, section.name))
    }
    hits = [full for full in known if full == name or full.split(".")[1] == name]
    if len(hits) == 1:
        return known[hits[0]]
    if hits:
        raise ValueError(f"field {name!r} is ambiguous: say one of {', '.join(hits)}")
    raise ValueError(f"unknown field {name!r}: choose one of {', '.join(known)}")


def coerce(name: str, kind: str, value: Any) -> Any:
    """A value as the type that a field is annotated with.

    Args:
        name: of the field, for messages; "size" also takes one number, or a text such as 128x64.
        kind: "int", "float", "str", "bool", "Pairs" ((int, int), ...), "Taps" ((int, str), ...) or
            a tuple type.
        value: of that type, or a text that reads as a Python literal of it.

    Returns:
        the value, tuples where JSON had lists.

    Raises:
        ValueError: it is not of that type.

    Example:
        >>> coerce("size", "tuple[int, int]", "128x64"), coerce("lr", "float", "1e-3")
        ((128, 64), 0.001)
    """
    try:
        return _converted(name.split(".")[-1], kind, value)
    except (ValueError, TypeError, SyntaxError, KeyError):
        raise ValueError(f"{name}={value!r}: expected {kind}, see gfla/config.py") from None


def _converted(leaf: str, kind: str, value: Any) -> Any:
    if isinstance(value, str) and kind != "str":
        value = ast.literal_eval(value.lower().replace("x", ",") if leaf == "size" else value)
    if leaf == "size" and isinstance(value, int):
        value = (value, value)
    if kind == "bool":
        if not isinstance(value, bool):
            raise ValueError  # 0 and 1 are numbers
        return value
    if kind in ("Pairs", "Taps"):
        pairs = value.items() if isinstance(value, dict) else value
        second = int if kind == "Pairs" else str
        return tuple(sorted(((int(a), second(b)) for a, b in pairs), reverse=True))
    if kind.startswith("tuple"):
        each = {"tuple[int, int]": int, "tuple[float, float]": float, "tuple[str, ...]": str}[kind]
        if isinstance(value, str):
            raise ValueError  # a text is a sequence too, of letters
        return tuple(each(one) for one in value)
    if kind == "int" and int(value) != float(value):
        raise ValueError
    return {"int": int, "float": float, "str": str}[kind](value)
