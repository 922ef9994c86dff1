"""What is installed: our names are ours alone, and starting up imports nothing heavy."""

import subprocess
import sys
from importlib.metadata import metadata, packages_distributions

import pytest

OURS = ("api", "evals", "footnote", "generation", "ingest", "retrieval")
HEAVY = ("torch", "transformers", "llama_index", "unstructured", "ragas", "sentence_transformers")
SLOW = ("faiss", "onnxruntime", "fastapi", "pypdfium2", "docx", "pptx", "openpyxl", "lxml", "boto3", "scipy")


@pytest.mark.parametrize("name", OURS)
def test_no_other_distribution_owns_our_names(name: str) -> None:
    """Our top-level names are plain words: another package of the same name would shadow or be shadowed."""
    assert set(packages_distributions().get(name, ["footnote"])) == {"footnote"}


def test_it_cannot_be_uploaded_by_accident() -> None:
    """The classifier that package indexes refuse."""
    assert "Private :: Do Not Upload" in (metadata("footnote").get_all("Classifier") or [])


def imported(*arguments: str) -> set[str]:
    """Top-level modules in memory after `footnote ARGUMENTS`."""
    script = (
        "import sys\nfrom footnote.__main__ import main\n"
        f"sys.argv = ['footnote', *{list(arguments)!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('\\nMODULES', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("MODULES ")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["ingest", "--help"], ["config", "show"], ["models", "list"]])
def test_light_commands_import_nothing_slow(arguments: list[str]) -> None:
    """Help, configuration and listings start at once."""
    assert imported(*arguments) & {*HEAVY, *SLOW} == set()


@pytest.mark.parametrize("arguments", [["ask", "x", "-c", "nope"], ["ingest", "nowhere"], ["search", "x"]])
def test_no_command_of_the_default_imports_torch(arguments: list[str]) -> None:
    """The embedded default needs none of the extras."""
    assert imported(*arguments) & set(HEAVY) == set()
