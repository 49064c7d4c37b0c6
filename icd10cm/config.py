"""One YAML file = one run: read it, lay command-line overrides over it, and name every mistake at once.

An entry describes its settings as a frozen pydantic model; each field is a YAML key and a flag (`n_boot: 500`, `--n-boot 500`),
each field of a nested one a flag with a dot (`--multiple.train 500`).
"""

from __future__ import annotations

import argparse
import difflib
import sys
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticUndefined

from icd10cm.errors import ConfigError


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys are errors, defaults are validated too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


S = TypeVar("S", bound=Settings)


def load_settings(
    model: type[S], argv: Sequence[str] | None = None, *, doc: str, prog: str | None = None, positional: str | None = None
) -> S:
    """Read `--config FILE` and overrides from `argv` into `model`; an override replaces the whole value, one with a dot a part.

    Args:
        model: the settings to fill; a field's description becomes its help text.
        argv: arguments without the program name; `sys.argv` when None.
        doc: the entry's docstring, shown by `--help`.
        prog: program name in the usage line.
        positional: a field that may also be given without its flag.

    Raises:
        ConfigError: one line that names the file and every unknown key, wrong type and missing file in it.
    """
    parser = build_parser(model, doc, prog, positional)
    parts, whole = _take_parts(model, sys.argv[1:] if argv is None else argv)
    parsed, rest = parser.parse_known_args(_spell_booleans(model, whole))
    given = {key: value for key, value in vars(parsed).items() if value is not None}
    config = given.pop("config", None)
    overrides = {key: _read_override(value, model.model_fields[key].annotation) for key, value in given.items()}
    values = {**(read_yaml(Path(config)) if config else {}), **overrides, **_collect_unknown(rest)}
    for path, value in parts.items():
        values = _replace_part(values, path, value)
    return check_settings(model, values, source=config or "command line")


def build_parser(model: type[Settings], doc: str, prog: str | None, positional: str | None) -> argparse.ArgumentParser:
    """Return a parser with a flag for each field of `model`."""
    parser = _Parser(prog=prog, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file with any of the settings below; --a.b VALUE sets b in its mapping a"
    )
    for name, field in model.model_fields.items():
        default = "" if field.default in (None, "", PydanticUndefined) else f" (default: {field.default})"
        text = f"{field.description or ''}{default}".replace("%", "%%")
        flags = _list_flags(name)
        many = _holds_list(field.annotation)
        if name == positional:
            parser.add_argument(name, nargs="*" if many else "?", default=argparse.SUPPRESS, help=text)
        if field.annotation is bool:
            parser.add_argument(*flags, dest=name, nargs="?", const="true", metavar="BOOL", help=text)
        elif many:
            parser.add_argument(*flags, dest=name, nargs="+", action="extend", metavar="VALUE", help=text)
        else:
            parser.add_argument(*flags, dest=name, metavar="VALUE", help=text)
    return parser


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file. Raises `ConfigError`."""
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path after --config") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}, line {line}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: holds no settings; write one `key: value` per line")
    return loaded


def check_settings(model: type[S], values: Mapping[str, Any], source: str) -> S:
    """Return `model(**values)`. Raises `ConfigError` that names every problem, each with its key and the nearest known key."""
    given = {str(key): value for key, value in values.items()}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wanted: dict[tuple[str, ...], list[str]] = {}
        for problem in error.errors():
            location = _locate(problem, given)
            wanted.setdefault(location, []).append(_explain(problem, location, model))
        # Each branch of a union complains for itself; the user made one mistake.
        problems = [texts[0] if len(texts) == 1 else _join_branches(texts) for texts in wanted.values()]
        count = f"{len(problems)} problems: " if len(problems) > 1 else ""
        raise ConfigError(f"{source}: {count}{'; '.join(problems)}") from None


def suggest_name(wrong: str, known: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` for the known name nearest to `wrong`, or the list of known names."""
    names = sorted(known)
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    return f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"


def _locate(problem: Mapping[str, Any], given: Any) -> tuple[str, ...]:
    """Return where a problem is in the file: its location less the names pydantic gives to the branches of a union."""
    path: list[str] = []
    last = len(problem["loc"]) - 1
    for position, part in enumerate(problem["loc"]):
        inside = (isinstance(given, Mapping) and part in given) or (isinstance(given, list) and isinstance(part, int))
        if inside or (position == last and problem["type"] in ("missing", "extra_forbidden")):
            path.append(str(part))
            given = given[part] if inside else None
        elif position == 0:
            path.append(str(part))
    return tuple(path)


def _join_branches(texts: Sequence[str]) -> str:
    """Return one sentence for the complaints of a union's branches, which differ only in what they wanted."""
    start, end = texts[0].partition(" should be ")[0], texts[0].rpartition(", not ")[2]
    wishes = [text.partition(" should be ")[2].rpartition(", not ")[0] for text in texts]
    return f"{start} should be {' or '.join(dict.fromkeys(wish for wish in wishes if wish))}, not {end}"


def _explain(problem: Mapping[str, Any], location: Sequence[str], model: type[BaseModel]) -> str:
    key = ".".join(location)
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key {key!r}{suggest_name(location[-1], _known_keys(model, location[:-1]))}"
        case "missing":
            return f"key {key!r} is required"
        case "path_not_file":
            return f"{key!r}: file {str(problem['input'])!r} does not exist"
        case "path_not_directory":
            return f"{key!r}: folder {str(problem['input'])!r} does not exist"
        case "value_error":
            text = str(problem["ctx"]["error"])
            return f"{key!r}: {text}" if key else text
        case _ if problem["msg"].startswith("Input should be "):
            return f"{key!r} should be {problem['msg'].removeprefix('Input should be ')}, not {problem['input']!r}"
        case _:
            return f"{key!r}: {problem['msg']}, not {problem['input']!r}"


def _known_keys(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """Return the keys of the settings that `location` leads to inside `model`."""
    return list(_find_model(model, location).model_fields)


def _find_model(model: type[BaseModel], location: Sequence[str]) -> type[BaseModel]:
    """Return the settings that `location` leads to inside `model`, as far as there are any."""
    for part in location:
        field = model.model_fields.get(part)
        inner = [t for t in _flatten(field.annotation) if isinstance(t, type) and issubclass(t, BaseModel)] if field else []
        if inner:
            model = inner[0]
    return model


def _flatten(annotation: Any) -> list[Any]:
    arguments = typing.get_args(annotation)
    return [annotation] if not arguments else [leaf for argument in arguments for leaf in _flatten(argument)]


def _holds_list(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_holds_list(argument) for argument in typing.get_args(annotation))
    return origin in (list, tuple)


def _read_override(value: str | list[str], annotation: Any) -> Any:
    """Read a flag's value as YAML would, so that numbers, booleans and `{a: 1}` mean the same in both places; text as it is."""
    if isinstance(value, list):
        return [_read_override(item, annotation) for item in value]
    if _is_text(annotation) and value != "null":
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _is_text(annotation: Any) -> bool:
    """Whether a field holds only text: reading "pain: left knee" or "2026" as YAML would change it."""
    if typing.get_origin(annotation) is typing.Literal:
        return all(isinstance(choice, str) for choice in typing.get_args(annotation))
    if typing.get_origin(annotation) is typing.Annotated:
        return _is_text(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, list, tuple):
        return all(_is_text(part) for part in typing.get_args(annotation) if part not in (type(None), Ellipsis))
    return annotation in (str, Path)


def _list_flags(name: str) -> list[str]:
    """Return the flags of a field; `as_json` is `--json` too: a field cannot have the name of a method of pydantic."""
    short = [f"--{name.removeprefix('as_')}"] if name.startswith("as_") else []
    return list(dict.fromkeys((*short, f"--{name.replace('_', '-')}", f"--{name}")))


def _spell_booleans(model: type[Settings], argv: Sequence[str]) -> list[str]:
    """Write a boolean flag without a value as `--flag=true`, or it would take the positional text behind it for its value."""
    booleans = {flag for name, field in model.model_fields.items() if field.annotation is bool for flag in _list_flags(name)}
    following = [*argv[1:], ""]
    return [
        f"{flag}=true" if flag in booleans and value.lower() not in _BOOLEAN_WORDS else flag
        for flag, value in zip(argv, following, strict=False)
    ]


_BOOLEAN_WORDS = ("true", "false", "yes", "no", "on", "off", "1", "0")


def _take_parts(model: type[Settings], argv: Sequence[str]) -> tuple[dict[tuple[str, ...], Any], list[str]]:
    """Return the overrides of nested fields (`--multiple.train 500`) by their path, and the other arguments."""
    parts: dict[tuple[str, ...], Any] = {}
    others: list[str] = []
    waiting = list(argv)
    while waiting:
        flag, equals, value = waiting.pop(0).partition("=")
        path = tuple(flag[2:].replace("-", "_").split("."))
        if not (flag.startswith("--") and len(path) > 1 and path[0] in model.model_fields):
            others.append(flag + equals + value)
            continue
        if not equals and (not waiting or waiting[0].startswith("--")):
            raise ConfigError(f"command line: argument {flag}: expected one argument; --help lists every setting")
        parts[path] = _read_override(value if equals else waiting.pop(0), _find_annotation(model, path))
    return parts, others


def _replace_part(values: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """Return `values` with the one at `path` replaced; what is no mapping on the way there becomes one."""
    key, *deeper = path
    if not deeper:
        return {**values, key: value}
    inner = values.get(key)
    return {**values, key: _replace_part(inner if isinstance(inner, Mapping) else {}, deeper, value)}


def _find_annotation(model: type[BaseModel], path: Sequence[str]) -> Any:
    """Return the annotation of a nested field; `Any` where there is none, which `check_settings` tells."""
    *location, name = path
    field = _find_model(model, location).model_fields.get(name)
    return field.annotation if field else Any


def _collect_unknown(rest: Sequence[str]) -> dict[str, None]:
    """Return the keys of flags that the settings do not have, to be refused together with every other mistake."""
    if rest and not rest[0].startswith("--"):
        raise ConfigError(f"command line: unexpected argument {rest[0]!r}; settings are given as --key value")
    return {argument[2:].partition("=")[0].replace("-", "_"): None for argument in rest if argument.startswith("--")}


class _Parser(argparse.ArgumentParser):
    """A parser that reports mistakes as everything else does: in one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"command line: {message}; --help lists every setting")


class _StrictLoader(yaml.SafeLoader):
    """YAML without keys given twice, of which the last would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping at `node`. Raises `yaml.YAMLError` on a repeated key."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is given twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)
