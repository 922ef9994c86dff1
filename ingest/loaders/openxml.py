"""What DOCX and PPTX have in common: core properties, and opening a package that may be damaged."""

import io
import zipfile
from collections.abc import Callable
from typing import Any

from ingest.loaders import archive
from ingest.loaders.builder import Origin
from retrieval.errors import CorruptFile


def open_package(opener: Callable[[io.BytesIO], Any], data: bytes, origin: Origin) -> Any:
    """The opened package. Raises CorruptFile, EncryptedFile."""
    archive.check(data, origin.name)
    try:
        return opener(io.BytesIO(data))
    except (KeyError, ValueError, zipfile.BadZipFile) as exc:
        raise CorruptFile(f"{origin.name!r} lacks parts that the format requires ({exc}); get a fresh copy") from exc


def core_properties(package: Any) -> dict[str, object]:
    """Author, subject and dates, as far as the file tells them."""
    properties = package.core_properties
    return {
        "author": properties.author,
        "subject": properties.subject,
        "keywords": properties.keywords,
        "category": properties.category,
        "created": properties.created,
        "modified": properties.modified,
    }
