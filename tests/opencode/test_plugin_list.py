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
from kiro_auth.opencode.plugin_list import (
    COPY,
    Entry,
    hiding_entry,
    other_kiro_plugins,
    put_back,
    take_out,
    without_kiro,
)
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
        pytest.param(
            '{"plugins": [{"package": "kiro@2", "options": {"package": "a"}}]}', ["kiro@2"], id="object"
        ),
        pytest.param(
            '{"plugins": [{"options": {"package": "kiro"}, "package": "a"}]}', [], id="options-only"
        ),
        pytest.param('{"plugins": [{"package": "a", "package": "kiro"}]}', ["kiro"], id="last-of-two"),
        pytest.param('{"plugins": ["./kiro.ts"], "plugin": ["kiro"]}', ["./kiro.ts", "kiro"], id="both-keys"),
        pytest.param('{"plugins": {"plugin": ["kiro"]}}', [], id="nested-in-the-other"),
        pytest.param('{"plugins": ["-kiro", "-@x/opencode-kiro-auth", "*", "-*", "-a.*"]}', [], id="hiding"),
        pytest.param('{"plugins": ["kiro-auth", {"package": "kiro-auth"}]}', [], id="our-own-id"),
        pytest.param(
            '{"plugins": ["kiro-auth@1.0.0"]}', ["kiro-auth@1.0.0"], id="a-package-called-like-ours"
        ),
        pytest.param('{"plugin": ["\\u006biro"]}', ["kiro"], id="escaped"),
        pytest.param(
            '{"plugins": [5, null, [], {}, {"package": 5}, [["kiro"]], ["a", "kiro"]]}', [], id="odd"
        ),
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
    assert [(entry.file, entry.name) for entry in other_kiro_plugins([path])] == [
        (path, name) for name in names
    ]
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
            '{"plugin": ["a", "kiro"], /* and */ "plugins": [{"package": "kiro"}, "-*"]}',
            '{"plugin": ["a"], /* and */ "plugins": ["-*"]}',
            id="both-keys",
        ),
        pytest.param(
            '{\n  "plugins": [\n    {\n      "package": "kiro", // x\n    }, // here\n    "a",\n  ],\n}\n',
            '{\n  "plugins": [\n    // here\n    "a",\n  ],\n}\n',
            id="lines-of-an-object",
        ),
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
SHAPES = [
    '"{name}"',
    '["{name}", {{"k": ["kiro"]}}]',
    '{{"package": "{name}"}}',
    '{{"options": {{"package": "kiro", "k": ["kiro"]}}, /* "package": "kiro" */ "package" : "{name}",}}',
]
ENTRY = st.builds(lambda shape, name: shape.format(name=name), st.sampled_from(SHAPES), NAME)
LIST = st.tuples(st.lists(st.tuples(SPACE, ENTRY, SPACE)), SPACE, st.booleans())
LISTS = st.dictionaries(st.sampled_from(["plugin", "plugins"]), LIST)


def written(lists, space: str) -> str:
    """A configuration with these lists, and one that is nested and none of OpenCode's."""
    members = ['"a": {"plugin": ["kiro"], "plugins": [{"package": "kiro"}]}']
    for key, (entries, end, comma) in lists.items():
        text = ",".join("".join(entry) for entry in entries) + ("," if comma and entries else "") + end
        members.append(f'{space}"{key}"{space}:{space}[{text}]')
    return "{" + ",".join(members) + space + "}"


@given(LISTS, SPACE)
def test_any_lists_however_they_are_written_lose_just_those(lists, space: str):
    text = written(lists, space)
    before, after = json5.loads(text), json5.loads(without_kiro(text))

    def name(entry):
        if isinstance(entry, dict):
            return entry["package"]
        return entry[0] if isinstance(entry, list) else entry

    kept = {key: [entry for entry in before[key] if name(entry) not in KIRO] for key in lists}
    assert after == {**before, **kept}


@given(LISTS, SPACE)
def test_nothing_outside_of_an_entry_that_goes_is_written_anew(lists, space: str):
    """What is left is the text of before without some pieces: no character is changed or moved."""
    before = written(lists, space)
    rest = iter(before)
    assert all(character in rest for character in without_kiro(before))


@given(LISTS, SPACE)
def test_cutting_twice_changes_nothing(lists, space: str):
    once = without_kiro(written(lists, space))
    assert without_kiro(once) == once


@given(st.text(alphabet='{}[]",:/*kiro plugin\\\n'), st.sampled_from(["", '{"plugins":[{"package":']))
def test_no_text_is_too_odd(text: str, begin: str):
    without_kiro(begin + text)


@pytest.mark.parametrize(
    ("entries", "hiding"),
    [
        (["-kiro-auth"], "-kiro-auth"),
        (["-*"], "-*"),
        (["*", "-a.*", "a", {"package": "b"}], None),
        (["-kiro-auth-window", "-kiro", "-kiro-auth.*", "-kiro-auth@1.0.0"], None),
        (["-*", "kiro-auth"], None),
        (["-kiro-auth", "*"], None),
        (["kiro-auth", "-kiro-auth"], "-kiro-auth"),
        (["-", "", 5, None, []], None),
    ],
)
def test_an_entry_that_hides_our_plugin_is_found_and_a_later_one_shows_it_again(
    tmp_path: Path, entries: list[object], hiding: str | None
):
    path = tmp_path / "opencode.json"
    path.write_text(json.dumps({"plugins": entries}))
    assert hiding_entry([path]) == (Entry(path, "plugins", hiding) if hiding else None)
    path.write_text(json.dumps({"plugin": entries}))
    assert hiding_entry([path]) is None


def test_of_several_files_the_last_word_counts(tmp_path: Path):
    first, last = tmp_path / "opencode.json", tmp_path / "opencode.jsonc"
    first.write_text('{"plugins": ["-*"]}')
    last.write_text('{"plugins": ["kiro-auth"]}')
    assert hiding_entry([first, last]) is None
    assert hiding_entry([last, first]) == Entry(first, "plugins", "-*")


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
