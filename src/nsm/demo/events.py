"""The tab on which recordings are played: its controls, and what each of them does."""

from __future__ import annotations

from typing import Any

import gradio as gr

from nsm.data.classes import DIGITS
from nsm.demo.controls import panel
from nsm.demo.latest import Latest
from nsm.demo.playing import Player
from nsm.demo.subject import Subject


def events_tab(subject: Subject, pad: gr.HTML) -> None:
    """Lay out the tab; ``pad`` is what was drawn on the other one."""
    player = Player(subject)
    with gr.Row(elem_classes="nsm-grid"):
        with gr.Column(elem_classes="nsm-a"):
            digit = gr.Radio(
                list(DIGITS), label="Play a simulated recording of a digit", elem_id="nsm-recorded"
            )
            drawing = gr.Button("Play my drawing", elem_id="nsm-play-drawing")
            upload = gr.UploadButton(
                "Play an N-MNIST file", file_types=[".bin"], elem_id="nsm-upload-recording"
            )
            again = gr.Button("Play again", elem_id="nsm-again")
            message = panel("nsm-recording-message")
        with gr.Column(elem_classes="nsm-b"):
            course = panel("nsm-course")
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    recording = gr.State(None)
    played: dict[str, Any] = quiet | {
        "fn": player.play,
        "inputs": [recording, gr.State(Latest())],
        "outputs": course,
        "trigger_mode": "multiple",
        "concurrency_limit": 4,
    }
    # However quickly choices follow one another, the last one is played.
    chosen: dict[str, Any] = quiet | {"trigger_mode": "always_last"}
    found = chosen | {"outputs": [recording, message]}
    # With no digit chosen, so that the same one can be chosen again.
    instead = chosen | {"outputs": [recording, message, digit]}
    for begun in (
        digit.input(player.digit, inputs=digit, **found),
        drawing.click(lambda url: (*player.drawing(url), None), inputs=pad, **instead),
        upload.upload(lambda path: (*player.upload(path), None), inputs=upload, **instead),
    ):
        begun.then(**played)
    again.click(**played)
