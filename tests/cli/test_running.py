"""What a command shows of a result, and with which code it ends."""

import json

import pytest

from kcompress.cli.running import run
from kcompress.report.document import Document, Result


class Found(Result):
    def __init__(self, code=0, shown=True):
        self.code, self.first = code, shown

    @property
    def exit_code(self):
        return self.code

    @property
    def shown(self):
        return self.first

    def to_json(self):
        return {"found": 1}

    def document(self):
        return Document("What was found", self.to_json(), [], ["a remark"])


def ended(result, **options):
    settings = {"backend": None, "as_json": False, "quiet": False, **options}
    with pytest.raises(SystemExit) as raised:
        run(lambda hooks: result, **settings)
    return raised.value.code


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_is_that_of_the_result_and_people_read_the_document(code, capsys):
    assert ended(Found(code)) == code
    assert "a remark" in capsys.readouterr().out


def test_json_is_the_whole_output_and_quiet_is_none(capsys):
    assert ended(Found(), as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"found": 1}
    ended(Found(), quiet=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("as_json", [True, False])
def test_a_process_that_another_one_speaks_for_prints_nothing(as_json, capsys):
    run(lambda hooks: Found(1, shown=False), backend=None, as_json=as_json, quiet=False)
    assert capsys.readouterr().out == ""
