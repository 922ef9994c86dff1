"""Reports of a comparison: what they say, and that no text from outside becomes markup, a mention or a control code."""

import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from evals.comparison.records import Comparison, RankedDocument, SettingChange, Verdict
from evals.reports import html, junit, markdown, plots, terminal
from evals.reports.wording import printable
from tests.unit.evals.comparisons import HOSTILE, comparison, metric, moved, side, unmeasured

VOID = {"meta", "br", "hr"}


def hostile() -> Comparison:
    """The worst of texts wherever a text can come from outside."""
    query = moved("q07", text=HOSTILE)
    document = RankedDocument(HOSTILE, 1, 1.0, 1, title=HOSTILE)
    query = type(query)(
        HOSTILE, HOSTILE, "nDCG@10", 0.5, 0.2, (document,), (document,), query.relevant, query.baseline_explanation
    )
    return comparison(
        verdict=Verdict("fail", (HOSTILE,)),
        baseline=side(HOSTILE),
        candidate=side(HOSTILE),
        moved=(query,),
        changes=(SettingChange(HOSTILE, HOSTILE, None),),
        missing=(HOSTILE,),
        notes=(HOSTILE,),
    )


class Page(HTMLParser):
    """Reads a page back: which elements it has, with which attributes and text, and whether all are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_says_what_was_found() -> None:
    """Verdict, reason, numbers in points, settings, both rankings with stages and terms."""
    text = Page(html.render(comparison())).text
    for said in (
        "FAIL", "more than the 1 point that matters", "retrieval.language", "At what pressure", "On valves",
        "lexical #1 (14.2) · dense #3 (0.61)", "terms pump 7.10", "baseline: removed by k: rank 47 of 10", "+24%",
    ):  # fmt: skip
        assert said in text


def test_the_page_needs_nothing_from_anywhere() -> None:
    """No script, no link, no image, no address but the name of SVG; and a policy that forbids them."""
    page = html.render(comparison())
    read = Page(page)
    assert not {"script", "link", "img", "iframe", "object"} & {*read.tags}
    assert set(re.findall(r"https?://[^\s\"<]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_hostile_text_is_text_in_the_page() -> None:
    """It is shown as it is, makes no element and no attribute, and can be written as UTF-8."""
    page = html.render(hostile())
    read = Page(page)
    assert "script" not in read.tags
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert '<script>alert("1")</script> | @octocat' in read.text
    assert "\x1b" not in page
    page.encode("utf-8")


def test_a_plot_has_a_name_and_stays_in_its_frame() -> None:
    """Listeners hear a label; no shape lies outside of the view box, whatever the values."""
    far = {f"q{number}": (number % 2 * 1.0, number % 3 / 2) for number in range(1_000)}
    same = {"q1": (0.5, 0.5)}
    drawn = [plots.scatter(far), plots.scatter(same), plots.differences(far, {}), plots.differences(same, {})]
    drawn.append(plots.forest([metric("nDCG@10", gated=True, outcome="fail")], min_effect=0.0))
    for figure in drawn:
        assert figure.get("aria-label")
        width, height = map(float, figure.get("viewBox", "").split()[2:])
        for shape in figure.iter():
            for name, most in (
                ("x", width),
                ("cx", width),
                ("x1", width),
                ("y", height),
                ("cy", height),
                ("y2", height),
            ):
                assert 0 <= float(shape.get(name, 0)) <= most


def test_bars_go_from_worst_to_best_and_name_their_query() -> None:
    """Queries that did not move have none."""
    figure = plots.differences({"a": (0.5, 0.9), "b": (0.5, 0.1), "c": (0.5, 0.5)}, {"b": "Why?"})
    bars = [(bar.get("class"), bar.findtext("title")) for bar in figure.iter("rect")]
    assert bars == [("worse", "b Why?: −40.00"), ("better", "a: +40.00")]


def test_metrics_that_were_not_measured_have_no_plot() -> None:
    """The problem stands where the numbers would be."""
    text = Page(html.render(comparison(metrics=(unmeasured("nDCG@10", "the candidate has NaN for 3 queries"),)))).text
    assert "the candidate has NaN for 3 queries" in text
    assert "recall@100 by query" not in text


def test_a_plain_run_knows_less() -> None:
    """Without settings, latency, texts and explanations there is still a page."""
    bare = comparison(baseline=side("a.run"), candidate=side("b.run"), changes=(), moved=(), metrics=())
    text = Page(html.render(bare)).text
    assert "nothing could be compared" in text
    assert "Latency" not in text


def test_junit_has_a_case_per_metric() -> None:
    """A failed gate is a failure with its reason, what is not gated is skipped, the counts add up."""
    suite = ET.fromstring(junit.render(comparison()))[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "1", "errors": "0", "skipped": "1",
    }  # fmt: skip
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert list(cases) == ["comparable", "nDCG@10", "recall@100", "MRR"]
    failure = cases["nDCG@10"].find("failure")
    assert failure is not None
    assert "1.91 points worse" in str(failure.get("message"))
    assert cases["MRR"].find("skipped") is not None


def test_junit_passes_a_warning_and_says_so() -> None:
    """Build servers know no warnings."""
    warned = metric("nDCG@10", gated=True, outcome="warn", reason="worse by 0.3 points, which is little")
    suite = ET.fromstring(junit.render(comparison(verdict=Verdict("warn", ()), metrics=(warned,))))[0]
    assert suite.get("failures") == "0"
    assert "warning: worse by 0.3 points" in str(suite.findtext("testcase[2]/system-out"))


@pytest.mark.parametrize("missing", [("the candidate lacks 3 queries",), ()])
def test_junit_never_passes_what_the_gate_fails(missing: tuple[str, ...]) -> None:
    """A failed verdict has a failure even when no metric failed."""
    failed = comparison(
        verdict=Verdict("fail", ("no",)), missing=missing, metrics=(metric("MRR", gated=False, outcome=None),)
    )
    assert ET.fromstring(junit.render(failed))[0].get("failures") == "1"


def test_junit_stays_well_formed() -> None:
    """Control characters are not allowed in XML 1.0, not even as references."""
    text = junit.render(hostile())
    root = ET.fromstring(text)
    assert '<script>alert("1")</script>' in str(root[0].get("name"))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]", text)


def test_markdown_says_the_verdict_first() -> None:
    """Then the table, with the gated metrics in bold; queries are folded away."""
    text = markdown.render(comparison())
    assert text.startswith("### ❌ Ranking: FAIL\n\nnDCG&#64;&#8203;10 59.03 → 57.56")
    assert "| **nDCG&#64;&#8203;10** | 59.03 | 57.56 | −1.47 |" in text
    assert text.count("<details>") == text.count("</details>") == 3
    assert "1. <code>On pumps</code> | relevant |" in text


def test_markdown_from_outside_pings_nobody_and_is_no_markup() -> None:
    """No mention, no issue number, no HTML but ours, no cell or line more than there should be."""
    text = markdown.render(hostile())
    assert "@" not in text
    assert not re.search(r"(?<!&)#\d", text)
    assert {*re.findall(r"<(/?[a-z]+)", text)} == {
        "code", "/code", "details", "/details", "summary", "/summary", "sub", "/sub",
    }  # fmt: skip
    assert "javascript:" not in text
    assert "www." not in text
    assert "`" not in text
    for table in re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    text.encode("utf-8")


def test_markdown_fits_into_a_comment() -> None:
    """Long queries are cut and the last ones are left out."""
    long = [moved(f"q{number}", text="@" * 5_000) for number in range(50)]
    text = markdown.render(comparison(moved=tuple(long), missing=("@" * 9_000,) * 50))
    assert 10_000 < len(text) < 65_536
    assert text.count("<details>") == text.count("</details>")


def shown(compared: Comparison) -> str:
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(terminal.comparison(compared))
    return console.export_text()


def test_the_terminal_shows_verdict_metrics_and_queries() -> None:
    """A line each, in points."""
    text = shown(comparison())
    assert text.startswith("FAIL  nDCG@10 59.03 → 57.56: −1.47 points")
    assert re.search(r"recall@100 +63\.\d\d +62\.\d\d .* pass", text)
    assert "median 10.1 ms → 12.5 ms (+24%)" in text
    assert "At what pressure" in text


def test_the_terminal_obeys_no_text() -> None:
    """Neither escape sequences nor rich's own markup."""
    text = shown(hostile())
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[a](javascript:b)" in text


def test_what_is_printable_stays() -> None:
    """Letters of any script, emoji, tabs and line ends."""
    plain = "naïve Ελληνικά 中文 🙂 a\tb\nc"
    assert printable(plain) == plain
    assert printable("a\x00b\x9bc\ud800d\uffff") == "a\ufffdb\ufffdc\ufffdd\ufffd"
