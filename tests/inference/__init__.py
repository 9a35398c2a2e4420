"""Tests of the room for inference."""
