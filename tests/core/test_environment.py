"""What the command asks of torch by the environment."""

import os

import pytest

from omnisae import environment


def test_sets_what_the_user_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.WISHES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    environment.prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"
