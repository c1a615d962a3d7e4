"""Files and folders are known by their content, wherever they lie.

Covers: versions.py.
"""

import hashlib

from kcompress import versions
from kcompress.run.provenance import sha256_of


def test_a_file_has_the_digest_that_other_tools_give(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"123").hexdigest()


def test_a_folder_has_that_of_names_and_contents_and_of_nothing_else(tmp_path):
    def folder(name, **files):
        for file, content in files.items():
            path = tmp_path / name / file.replace("_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return sha256_of(tmp_path / name)

    first = folder("one", a_x="1", b_x="2")
    assert folder("two", b_x="2", a_x="1") == first
    assert (
        len({first, folder("three", a_x="2", b_x="1"), folder("four", a_x="1", c_x="2"), folder("five", a_x="1")}) == 4
    )


def test_versions_are_of_what_is_installed(monkeypatch):
    assert {"python", "kcompress", "keras"} <= set(versions.versions())
    monkeypatch.setattr(versions, "LIBRARIES", ("keras", "not-there"))
    assert set(versions.versions()) == {"python", "keras"}
