"""Controls that the tabs share."""

from __future__ import annotations

import gradio as gr


def panel(name: str, value: str = "") -> gr.HTML:
    """A place for HTML."""
    return gr.HTML(value, apply_default_css=False, elem_id=name)


def slider(label: str, low: float, high: float, value: float, step: float, name: str) -> gr.Slider:
    """A slider with a name."""
    return gr.Slider(low, high, value, step=step, label=label, buttons=[], elem_id=name)
