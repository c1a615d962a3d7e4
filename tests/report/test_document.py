"""A report in every form, from one document.

Covers: report/html.py, report/markdown.py, report/plot.py, report/table.py, report/terminal.py.
"""

import json
from xml.etree import ElementTree

import pytest

from kcompress.errors import MissingExtraError, OutputError, UsageError
from kcompress.report import html, plot
from kcompress.report.document import PLOTS, TEXTS, Document, check
from kcompress.report.table import Table

TABLE = Table("Some <b>bold</b> title", ("name", "figure"), (("a & b", "1"), ("<script>", "2")))


def draw():
    figure = plot.figure(2, 1)
    figure.subplots().plot([1, 2], [3, 1])
    return figure


DOCUMENT = Document("A title", {"a": [1]}, [TABLE], ["budget NOT MET", "fine"], draw)


def test_json_holds_the_data():
    assert json.loads(DOCUMENT.render(".json")) == {"a": [1]}


def test_markdown_holds_title_table_and_remarks():
    text = DOCUMENT.render(".md").decode()
    assert text.startswith("# A title\n")
    assert "| a & b | 1 |" in text
    assert text.endswith("- budget NOT MET\n- fine\n")


def test_html_is_one_page_that_loads_nothing():
    text = DOCUMENT.render(".html").decode()
    assert text.startswith("<!DOCTYPE html>")
    assert text.count("<svg") == text.count("</svg>") == 1
    assert "<?xml" not in text
    assert not [part for part in ("src=", 'href="http', "@import", "url(http") if part in text]
    assert "<td>a &amp; b</td>" in text


def test_html_escapes_all_text_but_figures():
    text = html.page("<i>", [TABLE], ["<svg></svg>"], ["<u>"])
    assert "<script>" not in text
    assert "<i>" not in text
    assert "<u>" not in text
    assert "<svg></svg>" in text


def test_html_marks_what_was_missed():
    assert html.page("t", [], [], ["budget NOT MET", "fine"]).count('class="missed"') == 1


def test_plots_are_files_of_their_kind_and_the_same_each_time():
    svg, png = DOCUMENT.render(".svg"), DOCUMENT.render(".png")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert png.startswith(b"\x89PNG")
    assert (DOCUMENT.render(".svg"), DOCUMENT.render(".png")) == (svg, png)


@pytest.mark.parametrize(("missing", "suffixes"), [("jinja2", {".html"}), ("matplotlib", {".html", ".png", ".svg"})])
def test_what_a_form_needs_is_named_beforehand(missing, suffixes, monkeypatch, tmp_path):
    for module in (html, plot):
        monkeypatch.setattr(module, "installed", lambda name: name != missing)
    for suffix in TEXTS + PLOTS:
        if suffix in suffixes:
            with pytest.raises(MissingExtraError, match=r"\.\w+ needs the 'report' extra"):
                check([tmp_path / f"r{suffix}"], plotted=True)
        else:
            check([tmp_path / f"r{suffix}"], plotted=True)


def test_a_path_that_no_report_can_have_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"no report as '\.pdf'; allowed: \.json, \.md, \.html, \.png, \.svg"):
        check([tmp_path / "r.pdf"], plotted=True)
    with pytest.raises(OutputError, match="make it first"):
        check([tmp_path / "none" / "r.md"])
