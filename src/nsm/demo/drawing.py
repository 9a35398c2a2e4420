"""The tab on which a digit is drawn: its controls, and what each of them does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from nsm.data.classes import DIGITS
from nsm.demo import panels
from nsm.demo.controls import panel, slider, within
from nsm.demo.latest import Latest
from nsm.demo.questions import Questions
from nsm.demo.subject import Subject
from nsm.demo.turning import HALF_TURN, STEP

ASSETS = Path(__file__).with_name("assets")
_FIRST = "3"  # the digit to begin with: on its way round it looks like several others
# Width of the pen in pixels of the pad: the strokes of these sets, when a drawing fills most of it.
_PENS = {"digits": 42, "mnist": 26, "emnist-letters": 26}
_LEAST, _MOST, _SEEDS = (0, 0.99), (10, 1000), (0, 2**32 - 1)
_MARKER = "(angle) => { document.documentElement.style.setProperty('--nsm-angle', angle); }"


class _Input(NamedTuple):
    """What the reader gives."""

    pad: gr.HTML
    angle: gr.Slider
    clear: gr.Button
    upload: gr.UploadButton
    digit: gr.Radio
    confidence: gr.Radio
    least: gr.Slider
    most: gr.Slider
    seed: gr.Number


class _Output(NamedTuple):
    """What the reader sees."""

    message: gr.HTML
    answer: gr.HTML
    votes: gr.HTML
    distribution: gr.HTML
    chart: gr.HTML


def drawing_tab(subject: Subject, page: gr.Blocks) -> gr.HTML:
    """Lay out the tab inside ``page``; what is drawn on it is the value of the pad that is returned."""
    questions = Questions(subject)
    with gr.Row(elem_classes="nsm-grid"):
        with gr.Column(elem_classes="nsm-a"):
            pad = gr.HTML(
                "",
                html_template=(ASSETS / "pad.html").read_text(encoding="utf-8"),
                js_on_load=(ASSETS / "pad.js").read_text(encoding="utf-8"),
                apply_default_css=False,
                elem_id="nsm-pad",
                pen=_PENS[subject.set_name],
            )
            angle = slider("Turn, in degrees", -HALF_TURN, HALF_TURN, 0, STEP, "nsm-angle")
            with gr.Row():
                clear = gr.Button("Clear", min_width=80, elem_id="nsm-clear")
                upload = gr.UploadButton(
                    "Upload a picture",
                    min_width=140,
                    file_types=[".png", ".jpg", ".jpeg"],
                    elem_id="nsm-upload",
                )
            message = panel("nsm-message")
        with gr.Column(elem_classes="nsm-b"):
            answer = panel("nsm-answer", panels.nothing())
            output = _Output(
                message, answer, panel("nsm-votes"), panel("nsm-distribution"), panel("nsm-turned")
            )
        with gr.Column(elem_classes="nsm-c"):
            digit = gr.Radio(
                list(DIGITS),
                value=_FIRST,
                label="Or take a handwritten digit",
                visible=questions.has_examples,
                elem_id="nsm-digit",
            )
            settings = _settings()
    _connect(questions, _Input(pad, angle, clear, upload, digit, *settings), output, page)
    return pad


def _settings() -> tuple[gr.Radio, gr.Slider, gr.Slider, gr.Number]:
    with gr.Accordion("How sure must it be?", open=False, elem_id="nsm-settings"):
        return (
            gr.Radio(
                [("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999)],
                value=0.99,
                label="Confidence that more samples would not change the class",
            ),
            slider("Least probability of an answer", *_LEAST, 0.5, 0.01, "nsm-least"),
            slider("Most samples", *_MOST, 200, 10, "nsm-most"),
            gr.Number(
                0,
                label="Seed of the samples",
                minimum=_SEEDS[0],
                maximum=_SEEDS[1],
                precision=0,
                elem_id="nsm-seed",
            ),
        )


def _connect(questions: Questions, given: _Input, seen: _Output, page: gr.Blocks) -> None:
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    settings = (given.confidence, given.least, given.most, given.seed)
    asked: dict[str, Any] = quiet | {
        "fn": questions.ask,
        "inputs": [given.pad, given.angle, *settings, gr.State(Latest())],
        "js": within(None, (-HALF_TURN, HALF_TURN), None, _LEAST, _MOST, _SEEDS, None),
        "outputs": [seen.answer, seen.votes, seen.distribution],
        # A newer question ends the older ones, and must not wait for them.
        "trigger_mode": "multiple",
        "concurrency_limit": 8,
    }
    around: dict[str, Any] = quiet | {
        "fn": questions.turn,
        "inputs": [given.pad, given.seed],
        "js": within(None, _SEEDS),
        "outputs": seen.chart,
        "trigger_mode": "always_last",
    }
    # A radio button that stays chosen cannot be chosen again: no digit is, once the pad shows something else.
    given.pad.drawn(lambda: ("", None), outputs=[seen.message, given.digit], **quiet)
    given.pad.drawn(**asked)
    given.pad.drawn(**around)
    given.angle.change(None, inputs=given.angle, js=_MARKER)
    for control in (given.angle, *settings):
        control.change(**asked)
    given.seed.change(**around)
    # However quickly choices follow one another, the last one is what the pad shows.
    renewed: dict[str, Any] = quiet | {"trigger_mode": "always_last"}
    on_pad = renewed | {"outputs": [given.pad, seen.message]}
    instead = renewed | {"outputs": [given.pad, seen.message, given.digit]}
    renewals = [
        given.clear.click(lambda: ("", "", None), **instead),
        given.upload.upload(questions.upload, inputs=given.upload, **instead),
    ]
    if questions.has_examples:
        renewals.append(given.digit.input(questions.example, inputs=given.digit, **on_pad))
        renewals.append(page.load(lambda: questions.example(_FIRST), **on_pad))
    for renewal in renewals:
        renewal.then(**asked)
        renewal.then(**around)
