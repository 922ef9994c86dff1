"""Follow-ups on the command line: `footnote ask --history`."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Footnote

SAID = [{"role": "user", "content": "What does a bicycle cost?"}, {"role": "assistant", "content": "4 EUR one way."}]
ASKED = "May their batteries be charged on board?"
SEARCHED = "May their batteries be charged on board? (bicycle)"


def test_a_follow_up_is_answered_for_what_it_means(ferry: Footnote, tmp_path: Path) -> None:
    """It does not name the thing that it asks about; the answer does, and tells what was searched for."""
    (tmp_path / "said.json").write_text(json.dumps(SAID))
    answer = ferry.json("ask", ASKED, "--history", tmp_path / "said.json")
    assert answer["plan"]["query"] == SEARCHED
    assert answer["question"] == ASKED
    assert "may not be charged on board" in " ".join(answer["text"].split())


def test_people_are_told_what_was_searched_for(ferry: Footnote) -> None:
    """On stderr, with the history from stdin."""
    done = ferry("ask", ASKED, "--history", "-", stdin=json.dumps(SAID))
    assert f"searched for: {SEARCHED}" in " ".join(done.stderr.split())
    assert "searched for" not in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("{}", "history: expected a list"),
        ('[{"role": "robot", "content": "x"}]', "history[0].role: expected 'user' or 'assistant'"),
        ('[{"role": "user"}]', "history[0]: expected"),
        ('[{"role": "user", "content": 7}]', "history[0].content: expected str"),
    ],
)
def test_a_history_that_is_none_is_refused(ferry: Footnote, text: str, said: str) -> None:
    """With the place and what to write instead."""
    done = ferry("ask", "Why?", "--history", "-", code=1, stdin=text)
    assert said in done.stderr.replace("\n", " ")
