"""Another Kiro plugin in OpenCode's configuration: found, cut out of the text, put back byte by byte."""

from __future__ import annotations

import json
from pathlib import Path

import json5
import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.failures import ConfigFailed
from kiro_auth.opencode.install import configuration_files
from kiro_auth.opencode.plugin_list import Entry, other_kiro_plugins, put_back, take_out, without_kiro
from support.programs import KIRO_AUTH, Home

ORIGINAL = "@zhafron/opencode-kiro-auth"
COMMENTED = """{
  // "plugin": ["kiro-not-this"]
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
        pytest.param('{"plugin": [["kiro-x", {"plugin": ["kiro"]}]]}', ["kiro-x"], id="with-options"),
        pytest.param('{"plugin": ["file:///home/kiro/mine/it.js"]}', [], id="a-user-of-that-name"),
        pytest.param(
            '{"plugin": ["/src/opencode-kiro/index.js"]}', ["/src/opencode-kiro/index.js"], id="path"
        ),
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
        pytest.param('{"plugin": ["kiro-a", "kiro-b"]}', '{"plugin": []}', id="two"),
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
NAME = st.sampled_from(["a", "b@1", "kiro", "@x/kiro-auth@2", 'with \\" quote', "kiro /* no comment", "[,]"])
ENTRY = st.one_of(NAME.map(lambda name: f'"{name}"'), NAME.map(lambda name: f'["{name}", {{"k": ["kiro"]}}]'))


@given(st.lists(st.tuples(SPACE, ENTRY, SPACE)), SPACE, st.booleans())
def test_any_list_however_it_is_written_loses_just_those(entries, space: str, comma: bool):
    text = ",".join("".join(entry) for entry in entries) + ("," if comma and entries else "") + space
    text = '{"a": {"plugin": ["kiro"]},' + space + f'"plugin":{space}[{text}]{space}}}'
    before, after = json5.loads(text), json5.loads(without_kiro(text))

    def is_kiro(entry):
        return "kiro" in (entry[0] if isinstance(entry, list) else entry)

    assert after == {**before, "plugin": [entry for entry in before["plugin"] if not is_kiro(entry)]}


@given(st.text(alphabet='{}[]",:/*kiro plugin\\\n'))
def test_no_text_is_too_odd(text: str):
    without_kiro(text)


def test_what_was_taken_out_is_put_back_byte_by_byte(tmp_path: Path):
    path = tmp_path / "opencode.jsonc"
    path.write_text(COMMENTED)
    path.chmod(0o644)
    copy = take_out(path)
    assert copy.read_text() == COMMENTED
    assert "opencode-kiro-auth" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(put_back([path])) == [(path, True)]
    assert path.read_text() == COMMENTED
    assert [file.name for file in tmp_path.iterdir()] == ["opencode.jsonc"]


def test_a_file_that_was_changed_since_is_left_alone(tmp_path: Path):
    path = tmp_path / "opencode.json"
    path.write_text('{"plugin": ["kiro"]}')
    copy = take_out(path)
    path.write_text('{"plugin": [], "theme": "new"}')
    assert list(put_back([path])) == [(copy, False)]
    assert path.read_text() == '{"plugin": [], "theme": "new"}'
    assert copy.exists()


def test_the_schema_that_opencode_adds_is_no_change(tmp_path: Path):
    path = tmp_path / "opencode.json"
    path.write_text('{\n  "plugin": ["kiro"]\n}')
    take_out(path)
    path.write_text('{\n  "$schema": "https://opencode.ai/config.json",\n  "plugin": []\n}')
    assert list(put_back([path])) == [(path, True)]


def test_a_second_window_does_not_copy_what_is_already_cut(tmp_path: Path):
    path = tmp_path / "opencode.json"
    path.write_text('{"plugin": ["kiro"]}')
    take_out(path)
    assert take_out(path) is None
    assert list(put_back([path])) == [(path, True)]
    assert path.read_text() == '{"plugin": ["kiro"]}'


def test_one_file_by_two_names_is_one(tmp_path: Path):
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "opencode").symlink_to(tmp_path / "dotfiles")
    named = {"OPENCODE_CONFIG": str(tmp_path / "dotfiles" / "opencode.json")}
    assert len(configuration_files(tmp_path / "opencode", named)) == 3


def test_a_link_stays_one(tmp_path: Path):
    (tmp_path / "dotfiles").mkdir()
    real, path = tmp_path / "dotfiles" / "opencode.json", tmp_path / "opencode.json"
    real.write_text('{"plugin": ["kiro"]}')
    path.symlink_to(real)
    take_out(path)
    assert path.is_symlink()
    assert real.read_text() == '{"plugin": []}'


def test_what_cannot_be_edited_safely_is_not_edited(tmp_path: Path):
    path = tmp_path / "opencode.json"
    text = '{"plugin": ["kiro"], "plugin": ["a"] "b"}'
    path.write_text(text)
    with pytest.raises(ConfigFailed, match="yourself"):
        take_out(path)
    assert path.read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["opencode.json"]


def test_where_nobody_can_be_asked_nothing_of_the_user_s_is_changed(tmp_path: Path):
    home = Home(tmp_path)
    home.config.mkdir(parents=True)
    config = home.config / "opencode.json"
    config.write_text(json.dumps({"plugin": [ORIGINAL]}))
    done = home.run("install", "opencode")
    assert f"{ORIGINAL} goes out of {config}" in done.stdout
    assert "--yes" in done.stderr
    assert json.loads(config.read_text()) == {"plugin": [ORIGINAL]}


@pytest.mark.parametrize(("answer", "kept"), [("y", []), ("n", [ORIGINAL])])
def test_a_person_is_asked_first(tmp_path: Path, answer: str, kept: list[str]):
    home = Home(tmp_path)
    home.config.mkdir(parents=True)
    config = home.config / "opencode.json"
    config.write_text(json.dumps({"plugin": [ORIGINAL]}))
    child = pexpect.spawn(
        KIRO_AUTH[0], [*KIRO_AUTH[1:], "install", "opencode"], env=home.environment, encoding="utf-8",
        dimensions=(40, 200),
    )  # fmt: skip
    child.expect_exact("Do this?")
    child.send(answer + "\r")
    child.expect(pexpect.EOF)
    child.close()
    assert json.loads(config.read_text()) == {"plugin": kept}
    assert (home.config / "plugin" / "kiro.js").exists() == (answer == "y")
