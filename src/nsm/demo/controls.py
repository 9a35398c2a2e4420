"""Controls that the tabs share."""

from __future__ import annotations

import json

import gradio as gr

Limits = tuple[float, float]


def panel(name: str, value: str = "") -> gr.HTML:
    """A place for HTML."""
    return gr.HTML(value, apply_default_css=False, elem_id=name)


def slider(label: str, low: float, high: float, value: float, step: float, name: str) -> gr.Slider:
    """A slider with a name."""
    return gr.Slider(low, high, value, step=step, label=label, buttons=[], elem_id=name)


def within(*limits: Limits | None) -> str:
    """JavaScript that moves an event's inputs into their limits; None leaves one as it is.

    Controls send what is typed letter by letter: nothing at first, and numbers that are still too small.
    """
    return (
        f"(...given) => {{ const limits = {json.dumps(limits)}; return given.map((value, i) => "
        "limits[i] ? Math.min(Math.max(value, limits[i][0]), limits[i][1]) : value); }"
    )
