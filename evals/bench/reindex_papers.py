"""Invented papers, each with facts of its own and long enough to be cut differently by each chunking."""

import random
from collections.abc import Iterable
from pathlib import Path

SECTIONS = 6
_THINGS = ("pump", "valve", "crane", "boiler", "winch", "hatch")
_WORDS = (
    "after again always bearing before between bolts careful casing check clean cold crew daily deck drain each engine "
    "every filter gauge grease hand harbour heat hour inspection joint keep later level log lower main manual master "
    "measure minute month motor never note oil order part pipe plate quarter rail report rope rule seal "
    "season shaft side small spare start steam stop supply tank test tight tool turn upper watch water week wheel"
).split()


def write_papers(folder: Path, numbers: Iterable[int]) -> None:
    """One Markdown file for each number, always the same for the same number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"paper-{number:06d}.md").write_text(_paper(number), encoding="utf-8")


def question(number: int, section: int) -> str:
    """What section number `section` of a paper answers."""
    return f"At what pressure does the {_name(number, section)} open?"


def fact(number: int, section: int) -> str:
    """How the sentence that answers it begins; no other paper or section has it."""
    return f"The {_name(number, section)} opens at a pressure of"


def _name(number: int, section: int) -> str:
    """Of a thing that no other paper or section speaks of."""
    return f"{_THINGS[section]} {100_000 + 10 * number + section}"


def _paper(number: int) -> str:
    rng = random.Random(number)
    parts = [f"# Paper {number}"]
    for section, thing in enumerate(_THINGS[:SECTIONS]):
        sentences = [_sentence(rng) for _ in range(8)]
        sentences.insert(rng.randrange(len(sentences)), f"{fact(number, section)} {rng.randint(10, 99)} bar.")
        parts += [f"## The {thing}, part {section + 1}", " ".join(sentences)]
    return "\n\n".join(parts) + "\n"


def _sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(8, 16))).capitalize() + "."
