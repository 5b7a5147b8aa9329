"""Another Kiro plugin in OpenCode's configuration: found, cut out of the text, put back byte by byte."""

from __future__ import annotations

import json
from pathlib import Path

import json5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.failures import ConfigFailed, KiroAuthError, StoreFailed
from kiro_auth.opencode.changes import FILE
from kiro_auth.opencode.plugin_list import COPY, Entry, other_kiro_plugins, put_back, take_out, without_kiro
from support.foreign import bytes_below

ORIGINAL = "@zhafron/opencode-kiro-auth"
COMMENTED = """{
  // "plugin": ["kiro"]
  "theme": "x", /* "plugin": [ */
  "plugin": [
    "other", // mine
    "opencode-kiro-auth@latest", // the old one
  ],
}
"""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param(json.dumps({"plugin": [ORIGINAL]}), [ORIGINAL], id="original"),
        pytest.param(COMMENTED, ["opencode-kiro-auth@latest"], id="comments-and-commas"),
        pytest.param('{"plugin": [["kiro", {"plugin": ["kiro"]}]]}', ["kiro"], id="with-options"),
        pytest.param('{"plugin": ["my-kiro-theme"]}', [], id="something-else-for-kiro"),
        pytest.param('{"plugin": ["other"], "provider": {"kiro": {}}}', [], id="provider-only"),
        pytest.param('{"provider": {"plugin": ["kiro"]}}', [], id="of-something-else"),
        pytest.param('{"plugin": "kiro"}', [], id="no-list"),
        pytest.param("not json at all", [], id="broken"),
        pytest.param('{"plugin": ["kiro', [], id="cut"),
        pytest.param("", [], id="empty"),
    ],
)
def test_other_kiro_plugins_are_found(tmp_path: Path, text: str, names: list[str]):
    path = tmp_path / "opencode.jsonc"
    path.write_text(text)
    assert other_kiro_plugins([path]) == [Entry(path, name) for name in names]
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "after"),
    [
        pytest.param('{"plugin": ["kiro"]}', '{"plugin": []}', id="alone"),
        pytest.param('{"plugin": ["kiro", "a"]}', '{"plugin": ["a"]}', id="first"),
        pytest.param('{"plugin": ["a", "kiro"]}', '{"plugin": ["a"]}', id="last"),
        pytest.param('{"plugin": ["a", "kiro", "b"]}', '{"plugin": ["a", "b"]}', id="between"),
        pytest.param('{"plugin": ["kiro-auth", "kiro.js"]}', '{"plugin": []}', id="two"),
        pytest.param(
            '{\n  "plugin": [\n    "a", // mine\n    "kiro"\n  ]\n}\n',
            '{\n  "plugin": [\n    "a" // mine\n  ]\n}\n',
            id="lines",
        ),
        pytest.param(
            '{\r\n  "plugin": [\r\n    "kiro",\r\n    "a"\r\n  ]\r\n}',
            '{\r\n  "plugin": [\r\n    "a"\r\n  ]\r\n}',
            id="lines-of-windows",
        ),
        pytest.param(
            COMMENTED, COMMENTED.replace('"opencode-kiro-auth@latest", // the', "// the"), id="comments"
        ),
    ],
)
def test_everything_else_stays_as_it_is(text: str, after: str):
    assert without_kiro(text) == after


SPACE = st.sampled_from(["", " ", "\n  ", "\r\n\t", ' // x, ["kiro"]\n', "/* , ] */", "/* // */ "])
KIRO = ["kiro", "@x/kiro-auth@2", "/* no comment */kiro.ts"]
NAME = st.sampled_from([*KIRO, "a", "b@1", "kiro-theme", 'with \\" quote', "kiro /* no comment", "[,]"])
ENTRY = st.one_of(NAME.map(lambda name: f'"{name}"'), NAME.map(lambda name: f'["{name}", {{"k": ["kiro"]}}]'))


@given(st.lists(st.tuples(SPACE, ENTRY, SPACE)), SPACE, st.booleans())
def test_any_list_however_it_is_written_loses_just_those(entries, space: str, comma: bool):
    text = ",".join("".join(entry) for entry in entries) + ("," if comma and entries else "") + space
    text = '{"a": {"plugin": ["kiro"]},' + space + f'"plugin":{space}[{text}]{space}}}'
    before, after = json5.loads(text), json5.loads(without_kiro(text))

    def is_kiro(entry):
        return (entry[0] if isinstance(entry, list) else entry) in KIRO

    assert after == {**before, "plugin": [entry for entry in before["plugin"] if not is_kiro(entry)]}


@given(st.text(alphabet='{}[]",:/*kiro plugin\\\n'))
def test_no_text_is_too_odd(text: str):
    without_kiro(text)


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where changes are written down."""
    return tmp_path_factory.mktemp("state") / "kiro-auth"


def test_what_was_taken_out_is_put_back_byte_by_byte(tmp_path: Path, state: Path):
    path = tmp_path / "opencode.jsonc"
    path.write_text(COMMENTED)
    path.chmod(0o644)
    copy = take_out(path, state)
    assert copy.read_text() == COMMENTED
    assert "opencode-kiro-auth" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(put_back(state)) == [(path, True)]
    assert path.read_text() == COMMENTED
    assert [file.name for file in tmp_path.iterdir()] == ["opencode.jsonc"]
    assert list(state.iterdir()) == []


def test_a_file_that_was_changed_since_is_left_alone_and_told_of_once(tmp_path: Path, state: Path):
    path = tmp_path / "opencode.json"
    path.write_text('{"plugin": ["kiro"]}')
    copy = take_out(path, state)
    path.write_text('{"plugin": [], "theme": "new"}')
    assert list(put_back(state)) == [(copy, False)]
    path.write_text('{"plugin": []}')  # by chance as it was after the cut
    assert list(put_back(state)) == []
    assert path.read_text() == '{"plugin": []}'
    assert copy.exists()


def test_a_copy_that_nobody_wrote_down_is_not_touched(tmp_path: Path, state: Path):
    path = tmp_path / "opencode.json"
    path.write_text('{"plugin": []}')
    (tmp_path / f"{path.name}{COPY}20200101T000000Z").write_text('{"plugin": ["kiro"]}')
    before = bytes_below(tmp_path)
    assert list(put_back(state)) == []
    assert bytes_below(tmp_path) == before


def test_what_the_user_put_back_or_removed_is_not_touched(tmp_path: Path, state: Path):
    again, gone = tmp_path / "opencode.json", tmp_path / "opencode.jsonc"
    for path in (again, gone):
        path.write_text('{"plugin": ["kiro"]}')
    take_out(again, state)
    take_out(gone, state).unlink()
    again.write_text('{"plugin": ["kiro", "a"]}')
    before = bytes_below(tmp_path)
    assert list(put_back(state)) == []
    assert bytes_below(tmp_path) == before


def test_of_two_changes_of_one_file_the_last_is_undone(tmp_path: Path, state: Path):
    path, other = tmp_path / "opencode.json", tmp_path / "config.json"
    for file, text in ((path, '{"plugin": ["kiro"]}'), (other, '{"plugin": ["kiro"]}')):
        file.write_text(text)
        take_out(file, state)
    path.write_text('{"plugin": ["a", "kiro"]}')
    take_out(path, state)
    assert list(put_back(state)) == [(other, True), (path, True)]
    assert path.read_text() == '{"plugin": ["a", "kiro"]}'


def test_a_note_of_changes_that_cannot_be_read_stops_before_a_change(tmp_path: Path, state: Path):
    path = tmp_path / "opencode.json"
    path.write_text('{"plugin": ["kiro"]}')
    state.mkdir()
    (state / FILE).write_text("{")
    with pytest.raises(StoreFailed, match=FILE):
        take_out(path, state)
    with pytest.raises(StoreFailed, match=FILE):
        list(put_back(state))
    assert bytes_below(tmp_path) == {"opencode.json": b'{"plugin": ["kiro"]}'}


def test_a_state_folder_that_cannot_be_used_stops_before_a_change(tmp_path: Path, state: Path):
    path = tmp_path / "opencode.json"
    path.write_text('{"plugin": ["kiro"]}')
    state.write_text("a file in its place")
    with pytest.raises(KiroAuthError, match=str(state)):
        take_out(path, state)
    assert bytes_below(tmp_path) == {"opencode.json": b'{"plugin": ["kiro"]}'}


def test_the_schema_that_opencode_adds_is_no_change(tmp_path: Path, state: Path):
    path = tmp_path / "opencode.json"
    path.write_text('{\n  "plugin": ["kiro"]\n}')
    take_out(path, state)
    path.write_text('{\n  "$schema": "https://opencode.ai/config.json",\n  "plugin": []\n}')
    assert list(put_back(state)) == [(path, True)]


def test_a_second_window_does_not_copy_what_is_already_cut(tmp_path: Path, state: Path):
    path = tmp_path / "opencode.json"
    path.write_text('{"plugin": ["kiro"]}')
    take_out(path, state)
    assert take_out(path, state) is None
    assert list(put_back(state)) == [(path, True)]
    assert path.read_text() == '{"plugin": ["kiro"]}'


def test_a_link_stays_one(tmp_path: Path, state: Path):
    (tmp_path / "dotfiles").mkdir()
    real, path = tmp_path / "dotfiles" / "opencode.json", tmp_path / "opencode.json"
    real.write_text('{"plugin": ["kiro"]}')
    path.symlink_to(real)
    take_out(path, state)
    assert path.is_symlink()
    assert real.read_text() == '{"plugin": []}'


def test_what_cannot_be_edited_safely_is_not_edited(tmp_path: Path, state: Path):
    path = tmp_path / "opencode.json"
    text = '{"plugin": ["kiro"], "plugin": ["a"] "b"}'
    path.write_text(text)
    with pytest.raises(ConfigFailed, match="yourself"):
        take_out(path, state)
    assert path.read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["opencode.json"]


@pytest.mark.parametrize("text", ['{"plugin": ["opencode-kiro-auth",', '{"plugin": ["opencode-kiro-auth"'])
def test_a_list_without_an_end_has_no_entries(tmp_path: Path, state: Path, text: str):
    path = tmp_path / "opencode.json"
    path.write_text(text)
    assert other_kiro_plugins([path]) == []
    assert take_out(path, state) is None
