"""Keeping C code quiet without losing what was said."""

from __future__ import annotations

import logging
import os

import pytest

from sim.bullet import quiet


def test_what_is_printed_beneath_python_goes_to_the_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="sim.bullet"), quiet():
        os.write(1, b"argv[0]=\n")
        os.write(2, b"build time\n")
    assert capfd.readouterr() == ("", "")
    assert "argv[0]=" in caplog.text
    assert "build time" in caplog.text


def test_output_comes_back_even_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), quiet():
        raise KeyError
    os.write(1, b"heard")
    assert capfd.readouterr().out == "heard"
