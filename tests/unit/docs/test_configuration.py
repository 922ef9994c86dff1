"""docs/configuration.md lists every setting with its default and its meaning, as the code has them."""

import pytest

from docs.write_configuration import PAGE, page, tables


def test_page_is_what_the_settings_say() -> None:
    """The page is up to date; if not: `.venv/bin/python -m docs.write_configuration`."""
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize(
    ("table", "name"), [(table, name) for table, settings in tables().items() for name in settings.model_fields]
)
def test_setting_says_what_it_means_and_has_a_default(table: str, name: str) -> None:
    """Footnote runs without configuration, and no setting is left unexplained."""
    field = tables()[table].model_fields[name]
    assert field.description
    assert not field.is_required()
