"""Errors that nobody foresaw, and streams that can't be written to: one line, and the exit code is right."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shell import light

BREAK = """
import sys
from kcompress.cli import program
import kcompress.cli.commands.check as check

def broken(ctx):
    raise {error}

check.command.invoke = broken
sys.argv = ["kcompress", "check", "secret"]
program.main()
"""


def broken(error: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", BREAK.format(error=error)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_one_line_and_a_file_with_all_that_a_report_needs(tmp_path):
    done = broken("ZeroDivisionError('of \\x1b[31mred')", TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (70, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(r"Error: ZeroDivisionError: of \x1b[31mred; this is a bug in kcompress")
    text = Path(re.search(r"with (\S+)$", line)[1]).read_text()
    for word in ("kcompress check secret", "python 3", "keras ", "in broken"):
        assert word in text


def test_the_traceback_is_shown_where_it_is_asked_for(tmp_path):
    done = broken("KeyError(1)", TMPDIR=str(tmp_path), KCOMPRESS_DEBUG="1")
    assert done.returncode == 70
    assert "Traceback" in done.stderr


def test_a_temporary_folder_that_can_not_be_written_to_loses_no_error():
    done = broken("KeyError(1)", TMPDIR="/proc", TEMP="/proc", TMP="/proc")
    assert done.returncode == 70
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "redirected", [">&-", "2>&-", ">&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full"]
)
def test_the_exit_code_is_right_whatever_becomes_of_the_output(redirected, tmp_path):
    (tmp_path / "a.keras").write_bytes(bytes(2000))
    for limit, code in (("1KB", 1), ("1MB", 0), ("nothing", 2)):
        command = f"{sys.executable} -m kcompress.cli check a.keras --max-size {limit} {redirected}"
        assert subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=False).returncode == code


@pytest.mark.parametrize("redirected", ["2>&-", "<&- >&- 2>&-"])
def test_a_verb_that_reports_progress_works_without_standard_files(redirected, tmp_path):
    command = f"{sys.executable} -m kcompress.cli inspect none.keras {redirected}"
    assert subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=False).returncode == 2


def test_what_is_opened_next_gets_no_standard_file(tmp_path):
    """Else what libraries print would be written to it."""
    code = (
        "import os, sys\n"
        "from kcompress.cli.program import _standard_files_opened\n"
        "kept = _standard_files_opened()\n"
        "os._exit(os.open(sys.executable, os.O_RDONLY))"
    )
    command = f"{sys.executable} -c '{code}' <&- >&- 2>&-"
    assert subprocess.run(command, shell=True, check=False).returncode > 2


def test_control_characters_of_a_file_never_reach_the_terminal(tmp_path):
    name = "evil\x1b]0;title\x07.keras"
    done = light("inspect", name, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.isprintable() or done.stderr.strip().isprintable()
    assert r"\x1b" in done.stderr
