from __future__ import annotations

import os
from pathlib import Path

import pytest

from graymw.errors import Problem, SettingsError
from graymw.settings.files import read_dotenv, read_table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "graymw.yaml"


def refused(path: Path) -> Problem:
    with pytest.raises(SettingsError) as error:
        read_table(path)
    (problem,) = error.value.problems
    assert problem.path == str(path)
    return problem


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.yaml", "service: orders\nservices: {A.b: [{url: 'http://h'}]}\n"),
        ("x.yml", "service: orders\nservices: {A.b: [{url: 'http://h'}]}\n"),
        ("x.toml", 'service = "orders"\n[[services."A.b"]]\nurl = "http://h"\n'),
        ("x.json", '{"service": "orders", "services": {"A.b": [{"url": "http://h"}]}}'),
    ],
)
def test_every_format_gives_the_same_table(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert read_table(path) == {"SERVICE": "orders", "SERVICES": {"A.b": [{"url": "http://h"}]}}


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_sets_nothing(file: Path, text: str) -> None:
    file.write_text(text)
    assert read_table(file) == {}


@pytest.mark.parametrize(
    "text", ["@format {env[HOME]}", "@jinja {{ 7 * 7 }}", "@int 3", "@read_file /etc/passwd", "@merge a", "${HOME}"]
)
def test_text_is_never_evaluated(file: Path, text: str) -> None:
    file.write_text(
        f"AUTO_CAST_FOR_DYNACONF: true\nzone: '{text}'\nuser: ['{text}']\nservices: {{a: [{{zone: '{text}'}}]}}\n"
    )
    table = read_table(file)
    assert table["ZONE"] == text
    assert table["USER"] == [text]
    assert table["SERVICES"] == {"a": [{"zone": text}]}


def test_directives_to_dynaconf_are_settings_like_any_other(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("service: other\n")
    file.write_text(
        "dynaconf_include: other.yaml\nINCLUDES_FOR_DYNACONF: other.yaml\nservices: {dynaconf_merge: true}\n"
    )
    assert read_table(file) == {
        "DYNACONF_INCLUDE": "other.yaml",
        "INCLUDES_FOR_DYNACONF": "other.yaml",
        "SERVICES": {"dynaconf_merge": True},
    }


def test_hooks_and_variables_of_the_application_do_not_reach_us(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dynaconf_hooks.py").write_text("raise SystemExit('the hook of the application ran')\n")
    (tmp_path / "settings.toml").write_text('service = "of the application"\n')
    for name, value in {
        "ENV_FOR_DYNACONF": "production",
        "ENVIRONMENTS_FOR_DYNACONF": "true",
        "SETTINGS_FILE_FOR_DYNACONF": str(tmp_path / "settings.toml"),
        "LOADERS_FOR_DYNACONF": '["no.such.module"]',
        "REDIS_ENABLED_FOR_DYNACONF": "true",
        "AUTO_CAST_FOR_DYNACONF": "true",
        "YAML_LOADER_FOR_DYNACONF": "unsafe_load",
        "DYNACONF_SERVICE": "of the application",
    }.items():
        monkeypatch.setenv(name, value)
    file.write_text("version: v1\nzone: '@format {env[HOME]}'\n")
    assert read_table(file) == {"VERSION": "v1", "ZONE": "@format {env[HOME]}"}


def test_yaml_tags_do_not_make_objects(file: Path) -> None:
    file.write_text("service: !!python/object/apply:os.getcwd []\n")
    assert "malformed" in refused(file).message


def test_a_dynaconf_of_the_application_is_as_before(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dynaconf

    monkeypatch.setenv("SHOP_PRICE", "1.10")
    (tmp_path / "shop.toml").write_text('name = "@format {this.PRICE}"\n')
    shop = dynaconf.Dynaconf(envvar_prefix="SHOP", settings_files=[str(tmp_path / "shop.toml")])
    before = shop.NAME, shop.PRICE
    file.write_text("service: orders\nprice: 3\n")
    read_table(file)
    assert (shop.NAME, shop.PRICE) == before == ("1.1", 1.1)
    shop.reload()
    assert before == (shop.NAME, shop.PRICE)
    assert "SERVICE" not in shop


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("x.yaml", "a: 1\n  b: [\n", 2),
        ("x.yaml", "a: 1\na: 2\n", 2),
        ("x.toml", "a = 1\nb = \n", 2),
        ("x.json", '{"a": 1,\n "b" 2}', 2),
    ],
)
def test_a_malformed_file_is_one_problem_with_its_line(tmp_path: Path, name: str, text: str, line: int) -> None:
    path = tmp_path / name
    path.write_text(text)
    problem = refused(path)
    assert problem.line == line
    assert "\n" not in str(problem)


@pytest.mark.parametrize(
    ("name", "text"), [("x.yaml", "- a\n"), ("x.yaml", "text\n"), ("x.json", "[1]"), ("x.json", "3")]
)
def test_a_file_that_is_no_table(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert refused(path).message == "the file is no table"


@pytest.mark.parametrize("name", ["x.yaml", "x.toml", "x.json"])
def test_a_file_in_another_encoding(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b'a = "\xff\xfe\xff"\n')
    refused(path)


def test_a_kind_of_file_that_would_be_executed(tmp_path: Path) -> None:
    path = tmp_path / "settings.py"
    path.write_text("raise SystemExit('executed')\n")
    assert ".yaml" in refused(path).mend


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.mkdir()
    assert "cannot be read" in refused(path).message


def test_a_dotenv_file_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# x\nexport A=1.10\nB=\"a b\"\nC=${HOME}\nD\nE='@format {x}'\n")
    before = dict(os.environ)
    assert read_dotenv(path) == {"A": "1.10", "B": "a b", "C": "${HOME}", "E": "@format {x}"}
    assert dict(os.environ) == before
