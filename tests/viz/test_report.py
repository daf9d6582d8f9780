from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from kseg.viz import write_report


class Page(HTMLParser):
    VOID = {"meta", "img", "br", "hr"}

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.links, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attributes)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data


@pytest.fixture
def page(tmp_path):
    picture = tmp_path / "p.png"
    Image.fromarray(np.zeros((3, 3, 3), np.uint8)).save(picture)
    path = write_report(
        tmp_path / "report.html",
        title="U-Net on <cells>",
        figures=[("0.93", "mean IoU")],
        comparison=[("Otsu & watershed", "0.70")],
        per_class=[
            {"name": "a", "iou": 0.5, "dice": 2 / 3, "pixels": 12345, "share": 1.0},
            {"name": "b", "iou": float("nan"), "dice": float("nan"), "pixels": 0, "share": 0.0},
        ],
        curves=picture,
        confusion=picture,
        pictures=[(picture, 'worst: "x"')],
        settings={"jit": False, "lr": 1e-3, "crop size": None},
        notes=["Void pixels are left out."],
    )
    assert [file.name for file in tmp_path.iterdir() if "report" in file.name] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_holds_everything(page):
    parsed = Page(page)
    assert parsed.open == []
    for text in ("U-Net on <cells>", "0.93", "Otsu & watershed", "0.5000", "12,345", "100.00 %", "–", "no", "0.001",
                 "none", "Void pixels are left out.", 'worst: "x"'):  # fmt: skip
        assert text in parsed.text
    assert len(parsed.images) == 3
    assert all(image["alt"] for image in parsed.images)


def test_the_page_needs_nothing_else(page):
    parsed = Page(page)
    assert parsed.links
    assert all(link.startswith("data:image/png;base64,") for link in parsed.links)
    assert "<script" not in page
    assert re.search(r"url\(|@import|https?://", page) is None


def test_an_empty_report_is_a_page_too(tmp_path):
    parsed = Page(write_report(tmp_path / "r.html", title="Nothing yet").read_text(encoding="utf-8"))
    assert parsed.open == []
    assert "Nothing yet" in parsed.text
