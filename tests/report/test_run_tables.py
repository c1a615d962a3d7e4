"""The table of rounded layers: worst first, the noise of passes added."""

import math

import kcompress
from kcompress.report.report import PassRecord
from kcompress.report.run_tables import WORST, rounded, tables
from tests.models import batch_for, residual


class Run:
    """Of a report, the passes: each a list of entries of `changed`."""

    def __init__(self, *passes):
        self.passes = [PassRecord("p", {}, 0.0, tuple(changed), (), 0, 0, None) for changed in passes]


def entry(layer, bits=4, weights=20.0, outputs=30.0):
    return {"layer": layer, "detail": "", "bits": bits, "weight_sqnr_db": weights, "output_sqnr_db": outputs}


def test_those_that_rounding_hurt_most_come_first_and_a_terminal_shows_only_some():
    run = Run([entry(str(n), outputs=float(n)) for n in (3, 1, 7, 2, 6, 5, 4)])
    (table,) = rounded(run)
    assert table.rows == tuple((str(n), "4", "20.0", f"{n}.0") for n in range(1, 8))
    assert table.shown == WORST == 5


def test_the_noise_of_two_passes_adds_up():
    kept = {"layer": "a", "detail": "", "bits": 4, "output_sqnr_db": 30.0}
    (table,) = rounded(Run([entry("a")], [kept]))
    assert table.rows == (("a", "4", "20.0", f"{30 - 10 * math.log10(2):.1f}"),)


def test_a_layer_without_noise_is_exact_and_last_and_one_that_was_not_heard_goes_by_its_weights():
    unheard = {"layer": "b", "detail": "", "bits": 8, "weight_sqnr_db": 40.0}
    (table,) = rounded(Run([entry("a", weights=None, outputs=None), unheard]))
    assert table.rows == (("b", "8", "40.0", "-"), ("a", "4", "exact", "exact"))


def test_without_rounding_there_is_no_such_table():
    assert rounded(Run([{"layer": "a", "detail": ""}])) == []


def test_a_run_reports_bits_and_noise_of_every_rounded_layer(tmp_path):
    x = batch_for(residual(), 32)["image"]
    report = kcompress.compress(residual(), tmp_path / "o.keras", passes=["quantize.weights:bits=4"], calibration=x)
    changed = report.to_json()["passes"][0]["changed"]
    assert [sorted(c) for c in changed] == [["bits", "detail", "layer", "output_sqnr_db", "weight_sqnr_db"]] * 6
    assert len(tables(report)[-1].rows) == 6
