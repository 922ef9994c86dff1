"""Deletes documents and kills its own process at a chosen moment: `crash_deleter.py WHERE DOCUMENT...`."""

import os
import signal
import sys
from typing import Any, NoReturn

from footnote.config import load
from ingest.deletion.deleter import Deleter
from ingest.deletion.receipts import FOLDER
from retrieval.build import build_collections


def die(*_: Any, **__: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def main(where: str, *names: str) -> None:
    settings = load().settings.retrieval
    collections = build_collections(settings)
    dying: Any = collections.open("default") if where == "before-commit" else collections.keeper("default")
    setattr(type(dying), {"before-commit": "delete", "before-purge": "purge"}[where], die)
    dying.close()
    Deleter(collections, receipts=settings.path / FOLDER).delete("default", names)


if __name__ == "__main__":
    main(*sys.argv[1:])
