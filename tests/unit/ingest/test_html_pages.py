"""What of a page is content: pages that mark their parts, and pages that do not."""

import pytest

from tests.unit.ingest.files import read, shown

PROSE = [
    "The first paragraph of the article is long enough that nobody would take it for the label of a link. " * 3,
    "The second one goes on about the same matter and says a good deal more about it than the first. " * 3,
]
LINKS = "".join(f'<li><a href="/{name}">{name}</a></li>' for name in ("Home", "Products", "Prices", "Blog"))
ARTICLE = f"<h1>The article</h1><p>{PROSE[0]}</p><p>{PROSE[1]}</p>"
EXPECTED = "\n\n".join(["The article", PROSE[0].strip(), PROSE[1].strip()])


def text(body: str, head: str = "") -> str:
    return read(f"<html><head>{head}</head><body>{body}</body></html>", "a.html").text


@pytest.mark.parametrize(
    "around",
    [
        "<div><ul>{links}</ul></div>{article}",
        "<table><tr><td><ul>{links}</ul></td><td>{article}</td></tr></table>",
        "<div>{article}</div><div><ul>{links}</ul></div>",
        "<div>{article}</div><div><h4>Related articles</h4></div><div><ul>{links}</ul></div>",
        "<div class='site-navBar'><ul>{links}</ul></div><div>{article}<div id=breadcrumbs>{links}</div></div>",
        "<div>{article}</div><div class='cookie-banner'><p>We use cookies.</p><a href=x>OK</a></div>",
        "<span class=sr-only>Skip to content</span>{article}",
        "<div role=navigation>{links}</div>{article}<aside>Aside</aside><nav>{links}</nav>",
        "<div>Site news</div><article>{article}</article><div>Promoted: buy more</div>",
        "<p style='display:none'>Hidden</p><p hidden>Hidden</p><template>Hidden</template>{article}",
        "{article}<i aria-hidden=true>icon</i>",
    ],
)
def test_what_stands_around_an_article_is_left_out(around: str) -> None:
    """Menus, notices and hidden parts, marked as such or not."""
    found = text(around.format(links=LINKS, article=ARTICLE))
    assert found.replace("\n\nRelated articles", "") == EXPECTED


@pytest.mark.parametrize(
    "body",
    [
        f"<h1>Guides</h1><p>Choose one.</p><ul>{LINKS}</ul><div><p>{PROSE[0][:150]}</p></div>",
        f"<div><ul>{LINKS}</ul></div>",
        f"<div>{ARTICLE}<ul>{LINKS}</ul></div>",
        f"<div>{ARTICLE}</div><div><h2>External links</h2><ul>{LINKS}</ul></div>",
        f"<div>{ARTICLE}</div><ul><li>one</li><li>Products</li><li>three</li></ul>",
        f"<main>{ARTICLE}</main>".replace("</main>", f"<ul>{LINKS}</ul></main>"),
        f"<div class=menu><h1>Our menu</h1><p>Products of the day</p></div><p>{PROSE[0]}</p>",
    ],
)
def test_lists_of_links_that_are_content_stay(body: str) -> None:
    """An index page, a list within the article or under a heading of its own, a restaurant's menu."""
    assert "Products" in text(body)


def test_the_whole_page_is_never_lost() -> None:
    """Whatever the page calls its parts."""
    assert text(f"<div class='cookie-consent nav'><p>{PROSE[0]}</p></div>") == PROSE[0].strip()
    assert text(f"<main><p>x</p></main><p>{PROSE[0]}</p>").endswith(PROSE[0].strip())


def test_the_head_becomes_metadata() -> None:
    """Under one name for what pages call differently; the first that is found counts."""
    head = (
        "<title>The title</title><meta property='og:title' content='Other'><meta name=Author content=Eva>"
        "<meta property='article:author' content=Tom><meta property='og:description' content='About it'>"
        "<meta property='article:published_time' content='2024-02-03T04:05:06Z'><meta name=keywords content='a, b'>"
        "<meta http-equiv=content-language content=de-AT><link rel=canonical href='https://example.org/a'>"
        "<meta property='og:site_name' content='Example'>"
    )
    document = read(f"<html><head>{head}</head><body><p>Text</p></body></html>", "a.html")
    assert document.title == "The title"
    assert document.metadata == {
        "author": "Eva",
        "description": "About it",
        "date": "2024-02-03T04:05:06Z",
        "keywords": "a, b",
        "language": "de",
        "canonical_url": "https://example.org/a",
        "site": "Example",
    }


def test_a_list_beside_the_text_keeps_its_place() -> None:
    """Code, tables and lists within the article come through with it."""
    body = f"<div><ul>{LINKS}</ul></div><article>{ARTICLE}<pre>x = 1</pre><ul><li>one</li></ul></article>"
    document = read(f"<html><body>{body}</body></html>", "a.html")
    assert [kind for kind, _ in shown(document)] == ["heading", "paragraph", "paragraph", "code", "list"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        "<div class=nav>" * 30_000 + "x<p>y",
        "<ul>" + LINKS * 20_000 + "</ul>",
        "<a href=x>z" * 20_000,
        "<p><a href=x>y</a>" * 20_000,
    ],
)
def test_pages_without_end_end(body: str) -> None:
    """In time that grows with their size."""
    assert text(body)
