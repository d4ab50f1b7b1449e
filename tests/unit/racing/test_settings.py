"""Settings are documented, bounded and refused with their name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from racing.settings import Settings, load_settings

OPERATIONS = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_says_what_it_does(name: str) -> None:
    """A setting without a description, or missing from the operations guide, fails here."""
    assert Settings.model_fields[name].description
    assert f"`SAIMA_{name.upper()}`" in OPERATIONS


def test_the_guide_names_no_setting_that_is_gone() -> None:
    """Every SAIMA_ variable in the guide's table is a setting."""
    named = set(re.findall(r"^\| `SAIMA_(\w+)`", OPERATIONS, flags=re.MULTILINE))

    assert {name.upper() for name in Settings.model_fields} == named


def test_a_value_out_of_bounds_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a wrong setting names the setting."""
    monkeypatch.setenv("SAIMA_PORT", "0")

    with pytest.raises(ValidationError, match="port"):
        load_settings()


def test_what_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option of the command line wins over the variable; None counts as not given."""
    monkeypatch.setenv("SAIMA_PORT", "9000")

    assert 9001 == load_settings(port=9001).port
    assert 9000 == load_settings(port=None).port
