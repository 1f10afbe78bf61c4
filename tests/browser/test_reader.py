"""The reader of these tests does not overlook a notebook that fails."""

import nbformat
import pytest
import servers
from nbformat.v4 import new_code_cell, new_notebook

from gfla import notebooks


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.ipynb"
    cells = [new_code_cell("print('fine')"), new_code_cell("1 / 0"), new_code_cell("2")]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": notebooks.KERNEL}), path)
    return path


def test_a_cell_that_fails_in_jupyterlab_is_told(lab, reader, broken):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        reader.run_notebook(lab, broken)


def test_a_cell_that_fails_in_voila_is_told(reader, broken, tmp_path):
    with (
        servers.voila(broken, tmp_path / "voila") as page,
        pytest.raises(AssertionError, match="ZeroDivisionError"),
    ):
        reader.open_page(page)


def test_a_page_that_asks_other_machines_is_told(reader):
    reader.page.goto("data:text/html,<img src='http://192.0.2.1/picture.png'>")  # nobody's address
    with pytest.raises(AssertionError, match="192.0.2.1"):
        reader.expect_no_complaint()
