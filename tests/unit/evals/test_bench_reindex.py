"""What the reindex benchmark counts as failed and as mixed."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from evals.bench.reindex import editions_of
from evals.bench.reindex_load import Load
from evals.bench.reindex_papers import fact, question, write_papers

CUT = {1: frozenset({("a", 0, 50), ("a", 50, 90)}), 2: frozenset({("a", 0, 20), ("a", 20, 50), ("a", 50, 90)})}


@pytest.mark.parametrize(
    ("spans", "editions"),
    [
        ([("a", 0, 50), ("a", 50, 90)], [1]),
        ([("a", 0, 20)], [2]),
        ([("a", 50, 90)], [1, 2]),
        ([("a", 0, 50), ("a", 0, 20)], []),
        ([("b", 0, 50)], []),
    ],
)
def test_chunks_of_two_editions_are_mixed(spans: list[tuple[str, int, int]], editions: list[int]) -> None:
    """No edition has them all; chunks that are alike in both tell nothing."""
    assert editions_of(spans, CUT) == editions


class Failing(BaseHTTPRequestHandler):
    """Answers 500 to all."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(500)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Not in the tests' output."""


def test_a_response_that_is_no_success_counts_as_failed() -> None:
    """Searches and questions alike, with the status."""
    server = HTTPServer(("127.0.0.1", 0), Failing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with Load(f"http://127.0.0.1:{server.server_port}", "c", papers=3, clients=2) as load:
            while len(load.samples) < 40:
                threading.Event().wait(0.01)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert all("500" in sample.problem for sample in load.samples)
    assert {sample.problem.split(":")[0] for sample in load.samples} == {"search", "answer"}


def test_each_paper_answers_its_own_questions(tmp_path: Path) -> None:
    """The fact that a question asks for stands in one paper only, the same each time."""
    for _ in range(2):
        write_papers(tmp_path, range(3))
    texts = [path.read_text() for path in sorted(tmp_path.iterdir())]
    assert len(texts) == 3
    assert question(2, 1) == "At what pressure does the valve 100021 open?"
    assert [text.count(fact(2, 1)) for text in texts] == [0, 0, 1]
