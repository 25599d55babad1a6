"""docs/settings.md has every setting as fnd.config has it."""

from __future__ import annotations

from pathlib import Path

from fnd.config import SETTINGS, Setting

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


def row(setting: Setting) -> str:
    """Return the setting's row of the table."""
    flag = f"`{setting.flag}`" if setting.flag else "—"
    variable = f"`{setting.variable}`" if setting.variable else "—"
    reload = "yes" if setting.reloadable else ""
    allowed = setting.kind.allowed.replace("|", "\\|")
    return (
        f"| `{setting.name}` | {flag} | {variable} | {setting.default} | {reload} | {setting.help} Takes {allowed}. |"
    )


def test_the_table_has_a_row_for_each_setting_and_no_other() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    assert rows == [row(setting) for setting in SETTINGS.values()]
