"""What a worker compiles ahead is what pytest would have compiled: its inner parts are called for that."""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.assertion import rewrite

from support import compiling


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "test_one.py"
    path.write_text("def test_it():\n    word = 'a'\n    assert word == 'b'\n")
    return path


def kept(module: Path) -> Path:
    return rewrite.get_cache_dir(module) / (module.stem + rewrite.PYC_TAIL)


def test_pytest_takes_it_and_its_assertions_say_what_was_compared(
    pytestconfig: pytest.Config, module: Path
) -> None:
    compiling.compile_test(pytestconfig, module)

    code = rewrite._read_pyc(module, kept(module))
    assert code is not None
    names: dict[str, object] = {}
    exec(code, names)
    test = names["test_it"]
    assert callable(test)
    with pytest.raises(AssertionError, match="assert 'a' == 'b'"):
        test()


def test_a_file_that_was_changed_since_is_compiled_by_pytest(
    pytestconfig: pytest.Config, module: Path
) -> None:
    compiling.compile_test(pytestconfig, module)
    module.write_text("def test_it():\n    pass\n")
    compiling.compile_test(pytestconfig, module)

    assert rewrite._read_pyc(module, kept(module)) is None
