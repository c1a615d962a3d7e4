"""What `kcompress passes` prints is derived from the passes, and complete."""

import re

import pytest

from kcompress import recipe
from kcompress.cli import manual
from kcompress.errors import UsageError
from kcompress.passes import find, names


def test_the_overview_has_one_line_per_pass_with_its_first_sentence():
    lines = manual.overview().splitlines()
    assert [line.split()[0] for line in lines[: len(names())]] == list(names())
    for name, line in zip(names(), lines, strict=False):
        assert line.split(maxsplit=1)[1] == find(name).__doc__.splitlines()[0]
        assert len(line) <= 120
    starts = {line.index(line.split(maxsplit=1)[1]) for line in lines[: len(names())]}
    assert len(starts) == 1  # one column


@pytest.mark.parametrize("name", names())
def test_a_page_explains_every_field(name):
    page = manual.page(name)
    for field, info in find(name).model_fields.items():
        assert re.search(rf"^  {field}( |$)", page, re.MULTILINE), field
        assert " ".join(info.description.split()) in page, field
    for need in find(name).needs:
        assert need in page
    assert page.count("\n\n\n") == 0


def test_a_page_says_what_is_allowed_and_what_holds_otherwise():
    page = manual.page("prune.magnitude")
    assert "  sparsity (in [0, 1))\n" in page
    assert "  ranking (one of per_layer, global) [default per_layer]\n" in page
    assert "  amount (in (0, 1]) [default 1.0]\n" in page
    assert "  biases (true or false)\n" in page
    assert "Needs: nothing but the model." in page


def test_a_page_tells_needs_of_all_settings_from_needs_of_some():
    assert "Needs: calibration data.\n" in manual.page("quantize.int8")
    assert "Needs: calibration data, with some settings.\n" in manual.page("quantize.weights")


@pytest.mark.parametrize("name", names())
def test_the_example_can_be_run(name):
    example = manual.page(name).rpartition("--apply ")[2].strip()
    assert recipe.build(example).name == name


def test_an_unknown_pass_suggests_the_nearest():
    with pytest.raises(UsageError, match=r"did you mean 'quantize\.float16'"):
        manual.page("quantize.float61")
