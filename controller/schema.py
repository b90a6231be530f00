"""Kinds of configuration values: how each one is read, described and corrected.

A schema is a value: sections with keys, lists and scalars, each a row of a table.  From
that one table come the check of a file, the reference page and the JSON Schema.  It
reads `Node`s, so it knows no file format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Protocol

WRONG = object()  # read() returns it for a value whose mistake has been noted


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a configuration file, and where it stands.

    tag   what the format takes it for: "str", "int", "float", "bool", "null", ...;
          "list" and "map" for the two that hold others
    line  counted from 1
    text  of a scalar, as it was written, without quotes
    """

    tag: str
    line: int
    text: str = ""
    items: tuple[Node, ...] = ()
    pairs: tuple[tuple[Node, Node], ...] = ()

    @property
    def is_scalar(self) -> bool:
        return self.tag not in ("list", "map")

    def __str__(self) -> str:
        """What it is, for a message about something else being expected."""
        if self.is_scalar:
            return "nothing" if self.tag == "null" else repr(self.text)
        return "a list" if self.tag == "list" else "a section with keys"


class Wrong(Exception):
    """A scalar is not what its kind asks for."""

    def __init__(self, problem: str, hint: str) -> None:
        self.problem, self.hint = problem, hint
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: where it is, what it is, and what to write instead."""

    where: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}" + (f"\n  {self.hint}" * bool(self.hint))


@dataclass(slots=True)
class Notes:
    """The mistakes of one file, with their lines.

    root  the whole schema, to tell where a misplaced key belongs
    """

    file: str
    root: Kind
    mistakes: list[tuple[int, Mistake]] = field(default_factory=list)

    def add(self, node: Node, path: str, problem: str, hint: str) -> object:
        where = f"{self.file}:{node.line} {path}".rstrip()
        self.mistakes.append((node.line, Mistake(where, problem, hint)))
        return WRONG

    @property
    def in_order(self) -> tuple[Mistake, ...]:
        ordered = sorted(self.mistakes, key=lambda noted: noted[0])
        return tuple(mistake for _, mistake in ordered)


class Kind(Protocol):
    """How a value is read (WRONG after a note), and how it is described."""

    @property
    def words(self) -> str: ...

    def read(self, node: Node, path: str, notes: Notes) -> object: ...

    def rows(self, path: str) -> Iterator[Row]: ...

    def json_schema(self) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the reference table of keys."""

    path: str
    words: str
    default: str
    help: str


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value.

    words  what may be written, in words
    parse  gives the value or raises Wrong
    json   its part of a JSON Schema
    """

    words: str
    parse: Callable[[Node], object]
    json: Mapping[str, object]

    def read(self, node: Node, path: str, notes: Notes) -> object:
        try:
            if not node.is_scalar or node.tag == "null":
                raise Wrong(f"{node} stands where one value belongs", self.example)
            return self.parse(node)
        except Wrong as wrong:
            return notes.add(node, path, wrong.problem, wrong.hint)

    @property
    def example(self) -> str:
        return f"write {self.words}, or leave the key out"

    def rows(self, path: str) -> Iterator[Row]:
        return iter(())

    def json_schema(self) -> dict[str, object]:
        return dict(self.json)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a section.

    help      what the value means
    default   as one would write it; the value itself is the default of what is built
    """

    name: str
    kind: Kind
    help: str
    default: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Clash:
    """Values of one list that cannot stand together, or with what the file says
    elsewhere; said of the one at `position`."""

    position: int
    problem: str
    hint: str


@dataclass(frozen=True, slots=True)
class Section:
    """A set of keys.  `build` makes the value from those that are written, or raises
    Wrong.

    renamed      keys of earlier releases, and what is written instead
    tells_where  `build` is also given where="file:line"
    clashes      what is wrong with the elements of one key because of other keys
    """

    build: Callable[..., object]
    keys: tuple[Key, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    tells_where: bool = False
    clashes: Mapping[str, Callable[[Mapping[str, Any]], Iterable[Clash]]] = field(
        default_factory=dict
    )

    @property
    def words(self) -> str:
        names = ", ".join(key.name for key in self.keys)
        return f"a section with the keys {names}" if names else "an empty section, {}"

    def read(self, node: Node, path: str, notes: Notes) -> object:
        pairs = pairs_of(node, path, notes, self.words)
        if pairs is None:
            return WRONG
        known = {key.name: key for key in self.keys}
        values: dict[str, object] = {}
        for name, at, value in pairs:
            if name in known:
                inner = joined(path, name)
                values[name] = known[name].kind.read(value, inner, notes)
            else:
                values[name] = self.unknown(name, at, path, notes)
        for key in self.keys:
            if key.required and key.name not in values:
                hint = f"add '{key.name}: ...', {key.kind.words}"
                values[key.name] = notes.add(
                    node, path, f"the key {key.name!r} is missing", hint
                )
        if WRONG in values.values():
            return WRONG
        nodes = {name: value for name, _, value in pairs}
        for name, clashes in self.clashes.items():
            for clash in clashes(values):
                inner = f"{joined(path, name)}[{clash.position}]"
                item = nodes[name].items[clash.position]
                notes.add(item, inner, clash.problem, clash.hint)
        place = {"where": f"{notes.file}:{node.line}"} if self.tells_where else {}
        try:
            return self.build(**values, **place)
        except Wrong as wrong:
            return notes.add(node, path, wrong.problem, wrong.hint)

    def unknown(self, name: str, at: Node, path: str, notes: Notes) -> object:
        if name in self.renamed:
            problem = f"the key {name!r} has another name now"
            return notes.add(at, path, problem, f"write {self.renamed[name]}")
        hint = correction(name, self, notes.root)
        return notes.add(at, path, f"unknown key {name!r}", hint)

    def rows(self, path: str) -> Iterator[Row]:
        for key in self.keys:
            inner = joined(path, key.name)
            default = "required" if key.required else key.default
            yield Row(inner, key.kind.words, default, key.help)
            yield from key.kind.rows(inner)

    def json_schema(self) -> dict[str, object]:
        required = [key.name for key in self.keys if key.required]
        return {
            "type": ["object", "null"],
            "properties": {
                key.name: {"description": key.help, **key.kind.json_schema()}
                for key in self.keys
            },
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }


@dataclass(frozen=True, slots=True)
class Named:
    """A section whose keys are names that the reader chooses; a dict by name."""

    name: Scalar
    of: Kind

    @property
    def words(self) -> str:
        return f"a section with one key for each: {self.name.words}"

    def read(self, node: Node, path: str, notes: Notes) -> object:
        pairs = pairs_of(node, path, notes, self.words)
        if pairs is None:
            return WRONG
        values: dict[object, object] = {}
        for name, at, value in pairs:
            key = self.name.read(at, path, notes)
            inner = self.of.read(value, joined(path, name), notes)
            values[key] = inner
        return WRONG if WRONG in (*values, *values.values()) else values

    def rows(self, path: str) -> Iterator[Row]:
        yield Row(f"{path}.NAME", self.of.words, "", f"NAME is {self.name.words}")
        yield from self.of.rows(f"{path}.NAME")

    def json_schema(self) -> dict[str, object]:
        return {
            "type": ["object", "null"],
            "propertyNames": self.name.json_schema(),
            "additionalProperties": self.of.json_schema(),
        }


@dataclass(frozen=True, slots=True)
class ListOfScalars:
    """Any number of single values; a tuple."""

    of: Scalar

    @property
    def words(self) -> str:
        return f"a list; each element is {self.of.words}"

    def read(self, node: Node, path: str, notes: Notes) -> object:
        if node.tag != "list":
            hint = f"write [...], {self.words}"
            return notes.add(node, path, f"{node} stands where a list belongs", hint)
        values = [
            self.of.read(item, f"{path}[{position}]", notes)
            for position, item in enumerate(node.items)
        ]
        return WRONG if WRONG in values else tuple(values)

    def rows(self, path: str) -> Iterator[Row]:
        return iter(())

    def json_schema(self) -> dict[str, object]:
        return {"type": "array", "items": self.of.json_schema()}


@dataclass(frozen=True, slots=True)
class ListOf:
    """Any number of values of one kind; a tuple.

    identity  what no two of them may share
    shared    the words for it
    clashes   what else is wrong with all of them together
    """

    of: Kind
    identity: Callable[[object], object]
    shared: Callable[[object], str]
    clashes: Callable[[tuple[Any, ...]], Iterable[Clash]] = lambda values: ()

    @property
    def words(self) -> str:
        return f"a list; each element is {self.of.words}"

    def read(self, node: Node, path: str, notes: Notes) -> object:
        if node.tag == "null":
            return ()
        if node.tag != "list":
            hint = "begin each element with '- ', as in '- {...}'"
            return notes.add(node, path, f"{node} stands where a list belongs", hint)
        values = []
        first: dict[object, int] = {}
        for position, item in enumerate(node.items):
            inner = f"{path}[{position}]"
            value = self.of.read(item, inner, notes)
            identity = WRONG if value is WRONG else self.identity(value)
            if identity in first and identity is not WRONG:
                self.twice(value, item, inner, first[identity], notes)
            first.setdefault(identity, item.line)
            values.append(value)
        if WRONG in values:
            return WRONG
        for clash in self.clashes(tuple(values)):
            at = f"{path}[{clash.position}]"
            notes.add(node.items[clash.position], at, clash.problem, clash.hint)
        return tuple(values)

    def twice(
        self, value: object, item: Node, path: str, line: int, notes: Notes
    ) -> None:
        problem = f"{self.shared(value)} again; line {line} has it already"
        notes.add(item, path, problem, f"keep one of lines {line} and {item.line}")

    def rows(self, path: str) -> Iterator[Row]:
        yield from self.of.rows(f"{path}[]")

    def json_schema(self) -> dict[str, object]:
        return {"type": ["array", "null"], "items": self.of.json_schema()}


def joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def pairs_of(
    node: Node, path: str, notes: Notes, words: str
) -> list[tuple[str, Node, Node]] | None:
    """Name, key and value; each name once.  None if it is no section at all."""
    if node.tag == "null":
        return []
    hint = f"write {words}"
    if node.tag != "map":
        notes.add(node, path, f"{node} stands where a section belongs", hint)
        return None
    first: dict[str, Node] = {}
    found = []
    for key, value in node.pairs:
        if not key.is_scalar:
            notes.add(key, path, f"{key} stands where a name belongs", hint)
        elif key.text in first:
            line = first[key.text].line
            problem = f"the key {key.text!r} again; line {line} has it already"
            notes.add(key, path, problem, "write it once, with all that belongs to it")
        else:
            first[key.text] = key
            found.append((key.text, key, value))
    return found


def correction(name: str, section: Section, root: Kind) -> str:
    """What was probably meant by an unknown key."""
    names = [key.name for key in section.keys]
    if near := get_close_matches(name, names, n=1):
        return f"did you mean {near[0]!r}?"
    elsewhere = {row.path.rpartition(".")[2]: row.path for row in root.rows("")}
    if near := get_close_matches(name, [*elsewhere], n=1, cutoff=0.8):
        return f"did you mean {elsewhere[near[0]]!r}? It belongs there"
    return f"known keys: {', '.join(names)}"


# --- scalars that any configuration needs -----------------------------------------


def integer(low: int, high: int, unit: str = "") -> Scalar:
    measure = f" {unit}" if unit else ""
    words = f"a whole number, {low} to {high}{measure}"

    def parse(node: Node) -> int:
        digits = node.text.strip()
        if not (node.tag == "int" and is_decimal(digits)):
            raise Wrong(
                f"{node.text!r} is not a whole number", number_hint(node, words)
            )
        if not low <= int(digits) <= high:
            size = "small" if int(digits) < low else "great"
            raise Wrong(f"{int(digits)} is too {size}", f"write {words}")
        return int(digits)

    return Scalar(words, parse, {"type": "integer", "minimum": low, "maximum": high})


def is_decimal(text: str) -> bool:
    """Neither YAML 1.1's octal 010, nor hexadecimal, nor its 1:30 for 90."""
    digits = text.lstrip("+-")
    return digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0")


def number_hint(node: Node, words: str) -> str:
    number = node.text.lstrip("+-0 ").rstrip("smhKMG ")
    if node.tag == "str" and number == node.text and is_decimal(number):
        return f"write it without quotes: {number}"
    if is_decimal(number) and number != node.text:
        return f"write the number alone, as in {number}: {words}"
    return f"write {words}"


def choice(*names: str) -> Scalar:
    words = f"{', '.join(names[:-1])} or {names[-1]}"

    def parse(node: Node) -> str:
        if node.text not in names:
            near = get_close_matches(node.text.lower(), names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"write {words}"
            raise Wrong(f"{node.text!r} is none of {words}", hint)
        return node.text

    return Scalar(words, parse, {"enum": list(names)})


def flag() -> Scalar:
    words = "true or false"

    def parse(node: Node) -> bool:
        if node.tag != "bool":
            quoted = node.text.lower() in ("true", "false")
            hint = f"write {words}" + (", without quotes" if quoted else "")
            raise Wrong(f"{node.text!r} is neither true nor false", hint)
        return is_true(node)

    return Scalar(words, parse, {"type": "boolean"})


def is_true(node: Node) -> bool:
    return node.text.lower() in ("true", "yes", "on")
