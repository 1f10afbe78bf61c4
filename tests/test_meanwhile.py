"""What is set for a while is as before afterwards, also after an exception."""

import os

import pytest
import torch

from gfla import meanwhile


def test_threads():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), meanwhile.threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="threads is 0"), meanwhile.threads(0):
        pass


@pytest.mark.parametrize("before", [None, "here"])
def test_a_variable_of_the_environment(monkeypatch, before):
    monkeypatch.delenv("GFLA_EXAMPLE", raising=False)
    if before:
        monkeypatch.setenv("GFLA_EXAMPLE", before)
    with pytest.raises(KeyError), meanwhile.environment("GFLA_EXAMPLE", "meanwhile"):
        assert os.environ["GFLA_EXAMPLE"] == "meanwhile"
        raise KeyError
    assert os.environ.get("GFLA_EXAMPLE") == before
