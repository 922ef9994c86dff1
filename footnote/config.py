"""The configuration: footnote.toml, a table for each package, overridden by `FOOTNOTE_<PACKAGE>__<NAME>`.

This is the one place that reads the environment. A setting is looked for in the environment, then in the file, then
it has its default.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from api.settings import ApiSettings
from evals.settings import EvalSettings
from generation.settings import GenerationSettings
from ingest.settings import IngestSettings
from retrieval.errors import ConfigError
from retrieval.settings import RetrievalSettings

ENV_PREFIX = "FOOTNOTE_"
CONFIG_VARIABLE = "FOOTNOTE_CONFIG"
DEFAULT_FILE = Path("footnote.toml")
_USER_OF_URL = re.compile(r"(?<=://)\S*@|^[^\s/:]+:\S*@")
"""Who a URL logs in as; nothing that is shown has it."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        case_sensitive=False,
        env_ignore_empty=True,  # an empty path would be the working directory
    )

    retrieval: RetrievalSettings = RetrievalSettings()
    ingest: IngestSettings = IngestSettings()
    generation: GenerationSettings = GenerationSettings()
    api: ApiSettings = ApiSettings()
    evals: EvalSettings = EvalSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic calls it so
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose values come in as arguments."""
        return env_settings, init_settings


@dataclass(frozen=True, slots=True)
class Effective:
    """One setting as it is in force."""

    name: str
    """Dotted, e.g. 'retrieval.path'."""
    value: object
    """JSON types; a secret is masked."""
    origin: str
    """'default', the file's name, or the environment variable's."""
    description: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, and where they came from."""

    settings: Settings
    file: Path | None
    from_file: dict[str, Any]

    def effective(self) -> Iterator[Effective]:
        """Every setting, in the order of the packages."""
        variables = {name.upper(): name for name, value in os.environ.items() if value}
        for package in Settings.model_fields:
            values: BaseModel = getattr(self.settings, package)
            for name, field in type(values).model_fields.items():
                variable = f"{ENV_PREFIX}{package}__{name}".upper()
                origin = "default"
                if variable in variables:
                    origin = variables[variable]
                elif name in self.from_file.get(package, {}):
                    origin = str(self.file)
                shown = _shown(getattr(values, name))
                yield Effective(f"{package}.{name}", shown, origin, field.description or "")


def load(file: Path | None = None) -> Configuration:
    """Read the configuration: `file`, else the one that FOOTNOTE_CONFIG names, else ./footnote.toml if there is one.

    Raises ConfigError naming the setting, its origin and what is wrong with it.
    """
    named = file or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    path = named or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    from_file = _read(path) if path else {}
    _check_variables()
    try:
        return Configuration(Settings(**from_file), path, from_file)
    except SettingsError as exc:
        raise ConfigError(f"the environment: {exc}; lists are written as JSON") from exc
    except ValidationError as exc:
        raise ConfigError("; ".join(_problems(exc, path, from_file))) from exc


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"configuration {str(path)!r} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"configuration {str(path)!r} is not valid TOML: {exc}") from exc


def _check_variables() -> None:
    """A misspelt package would otherwise be passed over in silence."""
    for variable in os.environ:
        name = variable.upper()
        if name.startswith(ENV_PREFIX) and name != CONFIG_VARIABLE:
            package, _, setting = name.removeprefix(ENV_PREFIX).lower().partition("__")
            if package not in Settings.model_fields or not setting:
                known = ", ".join(f"{ENV_PREFIX}{package.upper()}__..." for package in Settings.model_fields)
                raise ConfigError(f"environment variable {variable!r} names no setting; they are called {known}")


def _problems(error: ValidationError, path: Path | None, from_file: dict[str, Any]) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        package, _, setting = name.partition(".")
        variable = f"{ENV_PREFIX}{package}__{setting}".upper()
        table = from_file.get(package)
        in_file = package in from_file and (not setting or not isinstance(table, dict) or setting in table)
        origin = variable if variable in {known.upper() for known in os.environ} or not in_file else f"{path}"
        if problem["type"] == "extra_forbidden":
            fields = Settings.model_fields
            model = fields[package].annotation if package in fields else Settings
            known = instead_of(setting or package, getattr(model, "model_fields", {}))
            yield f"{origin}: {name!r} is not a setting; {known}"
        else:
            yield f"{origin}: {name} = {_masked(name, problem['input'])}: {problem['msg']}"


def instead_of(name: str, known: Iterable[str]) -> str:
    """What may have been meant by the name of a setting that there is not: the nearest one, or else all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names)}"


def _masked(name: str, value: object) -> str:
    if any(word in name for word in ("key", "password", "postgres_url")):
        return "(secret)"
    return repr(_shown(value))[:100]


def _shown(value: object) -> object:
    """A setting as JSON types, without secrets."""
    if isinstance(value, SecretStr):
        return "**********"
    if isinstance(value, tuple | list):
        return [_shown(item) for item in value]
    return _USER_OF_URL.sub("(secret)@", str(value)) if isinstance(value, str | Path) else value
