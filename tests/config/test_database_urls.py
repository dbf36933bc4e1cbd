"""Passwords of databases are moved out of whatever is printed or stored."""

import os

import pytest

from thaw.config.database_urls import (
    PASSWORD_VARIABLE,
    hide_password,
    is_hidden,
    move_password,
    password_of,
    show_password,
)

PG = "postgresql://me:s%40/crt@host:5432/sweeps"
HIDDEN_PG = "postgresql://me:***@host:5432/sweeps"
QUERY = "postgresql://host/sweeps?user=me&password=s%40/crt"


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        (PG, HIDDEN_PG),
        ("mysql+pymysql://me:secret@host/db", "mysql+pymysql://me:***@host/db"),
        (QUERY, "postgresql://host/sweeps?user=me&password=***"),
    ],
)
def test_a_password_is_hidden_and_can_be_put_back(url: str, hidden: str) -> None:
    password = password_of(url)
    assert password is not None
    assert hide_password(url) == hidden
    assert is_hidden(hidden)
    assert password_of(hidden) is None
    assert show_password(hidden, password) == url


@pytest.mark.parametrize(
    "url",
    ["sqlite:////my:folder@home/sweeps.db", "sqlite:///sweeps.db", "postgresql://me@host/db", "http://host:5000", ""],
)
def test_a_url_without_a_password_stays_as_it_is(url: str) -> None:
    assert hide_password(url) == url
    assert password_of(url) is None
    assert not is_hidden(url)


@pytest.mark.parametrize("key", ["sweep.storage", "+sweep.storage", "++sweep.storage"])
def test_an_arguments_password_is_moved_to_the_environment(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "of before")
    moved = move_password([f"{key}='{PG}'", "seed=1"])
    assert moved == [f"{key}='{HIDDEN_PG}'", "seed=1"]
    assert os.environ[PASSWORD_VARIABLE] == "s%40/crt"


def test_a_hidden_password_on_the_command_line_leaves_the_environment_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "of before")
    assert move_password([f"sweep.storage={HIDDEN_PG}"]) == [f"sweep.storage={HIDDEN_PG}"]
    assert os.environ[PASSWORD_VARIABLE] == "of before"
