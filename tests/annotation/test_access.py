"""Who may reach the server, as the command line says it; and where the app's code lies."""

from __future__ import annotations

import argparse
import os
import socket
import stat
from pathlib import Path

import pytest
from label_server import tiny_model

import monai_vggunet
from monai_vggunet.annotation.access import Access, access_options, chosen_access, require_no_password
from monai_vggunet.annotation.addresses import LOOPBACK, LOOPBACK_NAMES
from monai_vggunet.annotation.app_code import place_code, require_apart
from monai_vggunet.annotation.chosen_token import TOKEN_VARIABLE
from monai_vggunet.annotation.lock import held_alone
from monai_vggunet.annotation.placing import place_app
from monai_vggunet.annotation.serve import main, server_environment
from monai_vggunet.errors import ConfigurationError

TOKEN = "t0ken-of-the-tests"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    access_options(parser)
    return parser.parse_args(words)


def chosen(*words: str, **environment: str) -> Access:
    return chosen_access(parsed(*words), environment)


def test_this_machine_alone_and_no_token_unless_told() -> None:
    assert chosen() == Access()
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.2"):
        assert chosen("--host", host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "workstation.example", "127.0.0.1.evil.example"])
def test_others_are_let_in_with_a_token_alone(host: str) -> None:
    with pytest.raises(ConfigurationError, match="nothing would ask who they are: give --token-file, or set"):
        chosen("--host", host)
    assert chosen("--host", host, "--token", TOKEN).token == TOKEN


def test_another_name_is_answered_to_with_a_token_alone() -> None:
    with pytest.raises(ConfigurationError, match=r"--allow-host label\.example lets others in"):
        chosen("--allow-host", "label.example")
    names = chosen("--allow-host", "Label.Example", "--allow-host", "fd00::1", "--token", TOKEN).names
    assert names == ("localhost", "127.0.0.1", "[::1]", "label.example", "[fd00::1]")
    for name in ("*", "*.example", "", "a,b", "a/b", "label.example:8000"):
        with pytest.raises(ConfigurationError, match="expected one name or address"):
            chosen("--allow-host", name, "--token", TOKEN)


def test_a_server_on_all_addresses_answers_to_this_machines_names() -> None:
    names = chosen("--host", "0.0.0.0", "--token", TOKEN).names
    assert {"localhost", "127.0.0.1", os.uname().nodename.lower()} <= set(names)
    assert "0.0.0.0" not in names
    assert "10.0.0.5" in chosen("--host", "10.0.0.5", "--token", TOKEN).names


def test_a_token_comes_from_an_option_a_file_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken-of-a-file!\n")
    environment = {TOKEN_VARIABLE: "t0ken-of-the-environment"}
    assert chosen(**environment).token == "t0ken-of-the-environment"
    assert chosen("--token", "t0ken-of-an-option", **environment).token == "t0ken-of-an-option"
    assert chosen("--token-file", str(tmp_path / "token"), **environment).token == "t0ken-of-a-file!"
    with pytest.raises(ConfigurationError, match="expected one of them"):
        chosen("--token", "x", "--token-file", str(tmp_path / "token"))


@pytest.mark.parametrize(
    ("token", "word"),
    [
        ("x", "a token of 1 characters; expected 16 to 4096"),
        ("fifteen-letters", "a token of 15 characters"),
        ("abababababababab", "2 different characters, which can be guessed"),
        ("Ab1-" * 2000, "a token of more than 4096 characters"),
    ],
)
def test_a_token_that_can_be_guessed_is_refused_wherever_it_comes_from(token: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token)
    for words, environment in (
        (("--token", token), {}),
        (("--token-file", str(tmp_path / "token")), {}),
        ((), {TOKEN_VARIABLE: token}),
    ):
        with pytest.raises(ConfigurationError, match=f"{word}.*secrets.token_urlsafe") as refusal:
            chosen(*words, **environment)
        assert len(token) == 1 or token not in str(refusal.value)
    assert chosen("--token", "sixteen-letters!").token == "sixteen-letters!"


def test_an_endless_token_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigurationError, match="holds no token"):
        chosen("--token-file", "/dev/zero")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("[::1]", "::1"), ("127.1", LOOPBACK), ("0x7f.1", LOOPBACK), ("2130706433", LOOPBACK), ("127.0.0.1.", LOOPBACK),
        ("::ffff:127.0.0.1", LOOPBACK), ("[::ffff:7f00:1]", LOOPBACK), ("localhost.", "localhost"),
        ("LocalHost", "localhost"), ("0:0:0:0:0:0:0:1", "::1"),
    ],
)  # fmt: skip
def test_this_machine_is_known_however_it_is_written(given: str, meant: str) -> None:
    access = chosen("--host", given)
    assert access.host == meant
    assert set(access.names) <= {*LOOPBACK_NAMES, meant}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("0", "0.0.0.0"), ("0.", "0.0.0.0"), ("0x0", "0.0.0.0"), ("::ffff:0.0.0.0", "0.0.0.0"), ("[::]", "::"),
        ("0:0:0:0:0:0:0:0", "::"), ("10.5", "10.0.0.5"), ("::ffff:10.0.0.5", "10.0.0.5"), ("128.1", "128.0.0.1"),
        ("localhost.evil.example", "localhost.evil.example"), ("evil.localhost", "evil.localhost"),
    ],
)  # fmt: skip
def test_no_other_address_passes_for_this_machine(given: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match="nothing would ask who they are"):
        chosen("--host", given)
    access = chosen("--host", given, "--token", TOKEN)
    assert access.host == meant
    assert meant not in ("0.0.0.0", "::") or not {meant, f"[{meant}]"} & set(access.names)  # no request is to them


@pytest.mark.parametrize(
    "given", ["", " ", "[]", "[::1", "127.0.0.1 x", "-c", "a/b", "127.0.0.1:8000", "a\nb", "１", "."]
)
def test_what_is_no_host_is_refused_with_a_token_too(given: str) -> None:
    for words in ((), ("--token", TOKEN)):
        with pytest.raises(ConfigurationError, match="expected a name or an address"):
            chosen_access(argparse.Namespace(**{**vars(parsed(*words)), "host": given}), {})


def test_localhost_that_leads_elsewhere_is_not_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0)), (socket.AF_INET, 1, 6, "", ("10.0.0.5", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(ConfigurationError, match="nothing would ask who they are"):
        chosen("--host", "localhost")


def test_an_address_is_written_as_urls_have_it() -> None:
    assert (chosen("--host", "[::1]").host, chosen("--host", "::1").address) == ("::1", "[::1]")
    assert chosen("--host", "localhost").address == "localhost"


@pytest.mark.parametrize("token", ["", " ", "two words", "é", "a\nb"])
def test_what_is_no_token_is_refused_and_not_taken_for_none(token: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token)
    for words in (("--token", token), ("--token-file", str(tmp_path / "token"))):
        with pytest.raises(ConfigurationError, match="holds no token"):
            chosen(*words)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        chosen("--token-file", str(tmp_path / "missing"))


def test_the_token_is_in_no_environment_but_the_servers(model: Path, tmp_path: Path) -> None:
    place_app(tmp_path, model)
    environment = server_environment(tmp_path, access=chosen("--token", TOKEN))
    assert [name for name, value in environment.items() if TOKEN in value] == [TOKEN_VARIABLE]


def test_one_process_serves_and_believes_no_forwarded_address(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several would empty each other's temporary folder; and each guess could come from another address."""
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    place_app(tmp_path, model)
    environment = server_environment(tmp_path)
    assert (environment["WEB_CONCURRENCY"], environment["FORWARDED_ALLOW_IPS"]) == ("1", "")


def test_folders_that_settings_name_are_the_ones_that_were_checked(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server runs in a folder of its code, from which another place would be meant."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONAI_LABEL_SESSION_PATH", "../sessions")
    monkeypatch.setenv("MONAI_LABEL_DICOMWEB_CACHE_PATH", " ")
    place_app(tmp_path / "app", model)
    environment = server_environment(tmp_path / "app")
    assert environment["MONAI_LABEL_SESSION_PATH"] == str(tmp_path.parent / "sessions")
    assert environment["MONAI_LABEL_DICOMWEB_CACHE_PATH"] == str(tmp_path / "app" / "cache" / "dicom")


@pytest.mark.parametrize("url", ["http://reader:s3cret@pacs:8042/dicom-web", "https://s3cret@pacs/dicom-web"])
def test_a_url_with_a_password_is_refused_with_the_variables_to_use(url: str) -> None:
    with pytest.raises(
        ConfigurationError, match="set MONAI_LABEL_DICOMWEB_USERNAME and MONAI_LABEL_DICOMWEB_PASSWORD"
    ) as error:
        require_no_password(url)
    assert "s3cret" not in str(error.value)
    assert "//pacs" in str(error.value)
    require_no_password("http://pacs:8042/dicom-web")
    with pytest.raises(ConfigurationError, match="has a query") as error:
        require_no_password("http://pacs/dicom-web?key=s3cret")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["http://reader:s3cret@pacs/dicom-web"], "MONAI_LABEL_DICOMWEB_PASSWORD"),
        (["HTTP://reader:s3cret@pacs/dicom-web"], "MONAI_LABEL_DICOMWEB_PASSWORD"),
        (["http://reader:s3cret@[pacs/"], "is no URL"),
        (["ftp://pacs/dicom-web"], "is no DICOMweb URL"),
        (["STUDIES", "--host", "0.0.0.0"], "nothing would ask who they are"),
        (["STUDIES", "--app", "STUDIES/app"], "one must not lie in the other"),
        (["STUDIES", "--app", "."], "one must not lie in the other"),
    ],
)
def test_the_command_refuses_with_status_2_and_writes_nothing(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    expected: str,
) -> None:
    (tmp_path / "STUDIES").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert main([*words, "--model", str(model)]) == 2
    told = capsys.readouterr()
    assert expected in told.err
    assert "s3cret" not in told.err + told.out
    assert list(tmp_path.rglob("*")) == [tmp_path / "STUDIES"]


def test_the_apps_code_is_for_reading_alone_and_written_anew(model: Path, tmp_path: Path) -> None:
    bundle = place_app(tmp_path, model)
    code = tmp_path / "code"
    code.chmod(0o755)
    (code / "main.py").chmod(0o644)
    (code / "main.py").write_text("evil = True")
    (code / "sitecustomize.py").write_text("evil = True")
    (code / "__pycache__").mkdir()
    (tmp_path / "bin").chmod(0o755)
    (tmp_path / "bin" / "ls").write_text("evil")
    place_app(tmp_path, model)
    assert {path.name for path in code.iterdir()} == {"main.py", "lib", "bin", "model", "logs"}
    assert "VGGUNetLabelApp" in (code / "main.py").read_text()
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {"itkimage2segimage", "segimage2itkimage"}
    locked = [code, code / "lib", code / "main.py", tmp_path / "bin", *(tmp_path / "bin").iterdir()]
    locked += (bundle / "configs").iterdir()
    for path in locked:
        assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH), path
    for link, target in (("model", tmp_path / "model"), ("logs", tmp_path / "logs"), ("bin", tmp_path / "bin")):
        assert (code / link).resolve() == target.resolve()


def test_what_stands_in_the_place_of_the_code_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    (tmp_path / "code").symlink_to("elsewhere")
    place_code(tmp_path / "code", {"main.py": ""})
    assert not (tmp_path / "code").is_symlink()
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["kept"]


def test_the_app_and_what_requests_write_to_are_apart(tmp_path: Path) -> None:
    app = tmp_path / "app"
    require_apart(app, [tmp_path / "studies", app / "cache" / "dicom", tmp_path / "app2"])
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="where the program itself lies"):
        require_apart(app, [Path(monai_vggunet.__file__).parents[1]])
    for place in (app, tmp_path, app / "code", app / "model", app / "cache" / ".." / "code", tmp_path / "link"):
        with pytest.raises(ConfigurationError, match="one must not lie in the other"):
            require_apart(app, [place])


def test_two_servers_do_not_share_an_app(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "studies").mkdir()
    with held_alone(tmp_path / "app" / "server.lock", "held"):
        assert main([str(tmp_path / "studies"), "--model", str(model), "--app", str(tmp_path / "app")]) == 2
    assert "another server runs on" in capsys.readouterr().err
    assert not (tmp_path / "app" / "code").exists()
    with held_alone(tmp_path / "app" / "server.lock", "held"):
        pass
