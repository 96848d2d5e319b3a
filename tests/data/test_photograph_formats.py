"""Formats of images: those that are listed are decoded, and no other reaches a decoder."""

from __future__ import annotations

import io

import pytest
from PIL import EpsImagePlugin, Image

from harness.data import photographs


def encoded(form: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 100, 0)).save(out, form)
    return out.getvalue()


@pytest.mark.parametrize("form", photographs.FORMATS)
def test_a_listed_format_is_decoded(form):
    red, green, blue = photographs.decode(encoded(form)).getpixel((4, 4))
    assert red > green > blue


def test_an_eps_file_never_reaches_ghostscript(monkeypatch):
    def never(*_, **__):
        raise AssertionError("Ghostscript was called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", never)
    with pytest.raises(ValueError, match="not an image of a known format"):
        photographs.decode(encoded("EPS"))


@pytest.mark.parametrize("form", ["PCX", "SGI", "ICO", "IM"])
def test_a_format_that_is_not_listed_is_named_among_none(form):
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, form)
    with pytest.raises(ValueError, match="PNG, JPEG"):
        photographs.decode(out.getvalue())
