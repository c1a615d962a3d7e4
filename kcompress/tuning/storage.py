"""Where a search is kept: in memory, in a database, or in a journal file that several machines append to."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kcompress.backend import installed
from kcompress.errors import MissingExtraError, UsageError, one_line

JOURNAL = "journal://"
SUFFIXES = (".journal", ".log")
ADVICE = "give sqlite:///FILE.db, postgresql://USER@HOST/NAME, or the path of a .journal file"


def require() -> None:
    """MissingExtraError unless Optuna is installed."""
    if not (installed("optuna") and installed("scipy")):
        raise MissingExtraError("search", "kcompress search")


def journal_path(url: str) -> Path | None:
    """The path of a journal file, if that is what is meant."""
    if url.startswith(JOURNAL):
        return Path(url.removeprefix(JOURNAL))
    return Path(url) if url.endswith(SUFFIXES) and "://" not in url else None


def open_storage(url: str | None) -> Any:
    """The storage, in memory without a URL; UsageError with one line if it can't be reached."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if url is None:
        return optuna.storages.InMemoryStorage()
    path = journal_path(url)
    if path is None and "://" not in url:
        raise UsageError(f"--storage {url}: no kind of storage; {ADVICE}")
    try:
        with without_warnings():
            if path is None:
                return optuna.storages.RDBStorage(url)
            with path.open("ab"):
                pass
            return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    except ImportError as error:
        raise UsageError(
            f"--storage {url}: can't be reached, for the driver of this database is not installed; for PostgreSQL, "
            "run: pip install 'psycopg[binary]'"
        ) from error
    except Exception as error:  # of the database's driver, whichever that is
        raise UsageError(f"--storage {url}: can't be reached ({one_line(error)}); {ADVICE}") from error


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Meanwhile, Optuna says nothing but errors."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Meanwhile, drop what Optuna has to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
