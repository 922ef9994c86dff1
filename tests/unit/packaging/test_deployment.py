"""docker-compose.yml and Dockerfile name settings, commands, files and volumes that there are."""

import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from docs.write_cli import commands
from footnote.config import load
from retrieval.stores.pgvector import upkeep

ROOT = Path(__file__).resolve().parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
OURS = [name for name, service in SERVICES.items() if "build" in service]
FOOTNOTE_COMMANDS = {name.removeprefix("footnote ") for name, _ in commands()}


def filled_in(text: str, **given: str) -> str:
    """`text` as Compose substitutes variables: ${NAME:-default}, ${NAME:?message}, $$ for a dollar."""

    def value(match: re.Match[str]) -> str:
        name, _, default = match.group(1).partition(":-")
        return given.get(name.partition(":?")[0], default)

    return re.sub(r"\$\{([^}]+)\}", value, text).replace("$$", "$")


def test_there_are_the_services_that_the_manual_names() -> None:
    """The API, a worker and PostgreSQL; one with everything embedded, only when it is asked for."""
    assert set(SERVICES) == {"api", "worker", "postgres", "embedded"}
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["embedded"]


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The configuration loads with the service's environment, which says where the password is."""
    monkeypatch.chdir(tmp_path)
    for variable, text in SERVICES[name]["environment"].items():
        monkeypatch.setenv(variable, filled_in(text, API_KEY="0" * 48))
    settings = load().settings
    if name == "embedded":
        assert settings.retrieval.store == "faiss"
        return
    assert settings.retrieval.store == "pgvector"
    assert settings.retrieval.postgres_password_file == Path("/run/secrets/postgres-password")
    url = urlsplit(settings.retrieval.postgres_url.get_secret_value())
    postgres = SERVICES["postgres"]["environment"]
    assert url.hostname in SERVICES
    assert (url.username, url.path, url.password) == (postgres["POSTGRES_USER"], f"/{postgres['POSTGRES_DB']}", None)


def test_the_api_asks_for_a_key() -> None:
    """It listens beyond its container, so a key is not left to chance, nor is the port open to the network."""
    for name in ("api", "embedded"):
        assert "${API_KEY:?" in SERVICES[name]["environment"]["FOOTNOTE_API__API_KEYS"]
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])
    assert "ports" not in SERVICES["postgres"]


def test_every_command_is_one_of_footnote() -> None:
    """Those in the file, and those that its comments tell people to type."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    typed = re.findall(r"(?:run --rm|exec) \w+ footnote (\w+)", text)
    typed += [word for name in ("api", "embedded") for word in SERVICES[name]["command"]]
    assert {*typed} == {"status", "ingest", "serve"}
    assert {*typed} <= FOOTNOTE_COMMANDS
    script = SERVICES["worker"]["command"][-1]
    words = shlex.split(filled_in(script).replace(";", " ; "))
    assert words[words.index("footnote") + 1] in FOOTNOTE_COMMANDS
    for variable in re.findall(r"\$([A-Z]+)", filled_in(script)):
        assert variable in SERVICES["worker"]["environment"]


def test_what_services_refer_to_is_there() -> None:
    """Volumes and secrets are declared and used, dependencies have a health check, folders and files exist."""
    named, secrets = set(), set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = filled_in(volume).split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_dir()
            else:
                named.add(source)
        secrets.update(service.get("secrets", []))
        for dependency, wanted in service.get("depends_on", {}).items():
            assert wanted == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[dependency]
        assert (ROOT / service.get("build", ".") / "Dockerfile").is_file()
    assert named == set(COMPOSE["volumes"])
    assert secrets == set(COMPOSE["secrets"])


def test_secrets_stay_out_of_git_and_of_the_image() -> None:
    """The file with the password is neither committed nor copied into a layer, and the comments say how to make it."""
    file = COMPOSE["secrets"]["postgres-password"]["file"].removeprefix("./")
    folder = file.split("/")[0]
    assert f"/{folder}/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert folder in (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert f"> {file}" in (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def test_shared_memory_suffices_for_the_largest_index_build() -> None:
    """Workers of a build share its memory in /dev/shm, of which a container has 64 MB unless it asks for more."""
    size = SERVICES["postgres"]["shm_size"]
    assert int(size.removesuffix("m")) > upkeep._BUILD_MEMORY_MIB[1]


def test_the_image_holds_what_the_services_need() -> None:
    """The PostgreSQL client is an extra; the folders of volumes belong to the user that the image runs as."""
    assert "'.[pgvector]'" in DOCKERFILE
    assert "USER footnote" in DOCKERFILE
    assert re.search(r"install --directory --owner footnote .*/data /data/models", DOCKERFILE)
    health = re.search(r"urlopen\('http://127\.0\.0\.1:(\d+)", DOCKERFILE)
    assert health
    for name in ("api", "embedded"):
        assert SERVICES[name]["ports"] == [f"127.0.0.1:8080:{health.group(1)}"]
    assert SERVICES["worker"]["healthcheck"] == {"disable": True}
