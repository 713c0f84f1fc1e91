"""Event patterns: text in, a compiled `Pattern` out, which says whether an event matches.

The language is that of Amazon EventBridge, with the behaviour of AWS's open engine aws/event-ruler
[specification C.4]. What stands in a leaf is compiled in `esmd.mappings.matchers`; this module is about paths.

An event and a pattern are flattened: the key `a.b` and `b` inside `a` are one path. A pattern becomes *branches*, one
for each way through its `$or` lists; a branch maps flat paths to leaves, and all of them must be satisfied. Where one
branch names a path twice, the later one counts.

| event at the path                        | what the leaf is asked                                                  |
|------------------------------------------|-------------------------------------------------------------------------|
| string, number, true, false, null        | that value                                                              |
| list                                     | each element; lists in lists are one list; any accepted element will do |
| list with objects, path goes on          | each object                                                             |
| object where the path ends; `[]`; nothing | nothing: only `exists: false` is satisfied                             |

Two fields inside a list of objects must be satisfied by the *same* object. `exists: false` is judged against the
object that a field before it, in the order of names, has chosen; if none has, against the whole list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esmd.mappings.exact_json import InvalidPattern, Node, Path, read
from esmd.mappings.matchers import Leaf, PatternWarning, Test, compile_leaf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Branch", "Field", "InvalidPattern", "Pattern", "PatternWarning", "compile_pattern", "pattern_warnings"]

MAX_BRANCHES = 1000
"""Ways through the `$or` lists of one pattern, EventBridge's own limit."""

MAX_STEPS = 100
"""Names in one path, dots in keys counted."""

MAX_EVENT_DEPTH = 200
"""Levels walked inside an event on the way of a path. What lies deeper counts as not there: nested lists could
otherwise exhaust the stack, as objects cannot (a path has at most `MAX_STEPS` names)."""

_OPERATOR_NAMES = frozenset(
    ("exactly", "prefix", "suffix", "equals-ignore-case", "anything-but", "exists", "wildcard", "numeric", "cidr")
)
_COMPARISONS = frozenset(("=", "<", "<=", ">", ">="))
_FUTURE_NAMES = frozenset(
    ("regex", "not-wildcard", "not-equals-ignore-case", "ip-address-in-range", "ip-address-not-in-range")
) | frozenset(("date-after", "date-on-or-after", "date-before", "date-on-or-before", "in-date-range"))

_NOT_FIELDS_IN_OR = _OPERATOR_NAMES | _COMPARISONS | _FUTURE_NAMES
"""Names that event-ruler reserves inside `$or`."""

_MISSING = object()

# For each place in a path: the keys that an object there may have, each with the place it leads to. In `a.b` they are
# `a` (one step) and `a.b` (two) at the start. The end has no entry.
_Steps = tuple[tuple[tuple[str, int], ...], ...]

# What is still to be satisfied somewhere below: steps, the place reached, the test, whether absence will do.
_Want = tuple[_Steps, int, Test, bool]


@dataclass(frozen=True, slots=True)
class Field:
    """One path of a branch with what it accepts.

    Attributes:
        name: the flat path, as in `body.customer.id`.
        path: where the leaf stands inside the pattern.
        offset: the character in the pattern's text where the leaf starts, from 0.
    """

    name: str
    path: Path
    offset: int
    leaf: Leaf
    keys: tuple[str, ...]
    steps: _Steps


@dataclass(frozen=True, slots=True)
class Branch:
    """One way through the `$or` lists of a pattern: fields that must all be satisfied, in the order of names."""

    fields: tuple[Field, ...]

    def matches(self, event: dict[str, Any]) -> bool:
        """Whether an event satisfies all the fields."""
        for field in self.fields:
            value: Any = event
            for key in field.keys:
                value = value.get(key, _MISSING) if isinstance(value, dict) else _MISSING
            if value is _MISSING or isinstance(value, dict | list) or not field.leaf.test(value):
                break
        else:
            # Every field was found by plain steps and outside of lists: no element to agree on.
            return True
        wants = [(field.steps, 0, field.leaf.test, field.leaf.absent_ok) for field in self.fields]
        return _satisfied(event, wants, 0)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern.

    Attributes:
        text: the pattern as it was written.
        branches: any of them is enough.
        warnings: what is suspicious in it: duplicate keys, operators that real Lambda may refuse.
    """

    text: str
    branches: tuple[Branch, ...]
    warnings: tuple[PatternWarning, ...]

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether an event matches. Never raises, whatever JSON the event is made of.

        Args:
            event: an object as a JSON parser makes it: `dict`, `list`, `str`, `int`, `float` or `Decimal`, `bool`,
                `None`. With doubles, numbers compare by the shortest decimal text of the double.
        """
        plain = event if isinstance(event, dict) else dict(event)
        return any(branch.matches(plain) for branch in self.branches)


def compile_pattern(text: str) -> Pattern:
    """Compile a pattern.

    Raises:
        InvalidPattern: it is not JSON, or not a pattern.
    """
    document = read(text)
    root = document.root
    if not isinstance(root.value, dict):
        raise InvalidPattern(
            'a pattern is a JSON object of fields, as in {"body": {"kind": ["order"]}}', offset=root.offset
        )
    compiler = _Compiler()
    for duplicate in document.duplicates:
        message = f'the key "{duplicate.path[-1]}" is there twice: only the later one counts'
        compiler.warn(PatternWarning(duplicate.path, message, duplicate.offset))
    branches = compiler.fields(root.value, (), (), [{}], offset=root.offset, inside_or=False)
    ordered = tuple(Branch(tuple(sorted(branch.values(), key=lambda field: field.name))) for branch in branches)
    return Pattern(text, ordered, tuple(sorted(compiler.warnings, key=lambda warning: warning.offset)))


def pattern_warnings(text: str) -> tuple[PatternWarning, ...]:
    """What is suspicious in a pattern, in the order of its text.

    Raises:
        InvalidPattern: the pattern cannot be used at all.
    """
    return compile_pattern(text).warnings


class _Compiler:
    """Flattens a pattern into branches and gathers its warnings."""

    def __init__(self) -> None:
        self.warnings: list[PatternWarning] = []

    def warn(self, warning: PatternWarning) -> None:
        # Branches share their fields, so the same finding may come up once for each of them.
        if warning not in self.warnings:
            self.warnings.append(warning)

    def fields(
        self,
        members: dict[str, Node],
        path: Path,
        names: tuple[str, ...],
        branches: list[dict[str, Field]],
        *,
        offset: int,
        inside_or: bool,
    ) -> list[dict[str, Field]]:
        """The branches, after the fields of an object of the pattern were added to them."""
        if not members:
            raise InvalidPattern("an empty object matches nothing: name a field in it", path=path, offset=offset)
        for key, child in members.items():
            here = (*path, key)
            if key == "$or":
                branches = self._either(child, here, names, branches)
                continue
            if inside_or and key in _NOT_FIELDS_IN_OR:
                raise InvalidPattern(
                    f'"{key}" cannot be the name of a field inside "$or"; operators belong into the list of a field',
                    path=here,
                    offset=child.offset,
                )
            if isinstance(child.value, dict):
                branches = self.fields(
                    child.value, here, (*names, key), branches, offset=child.offset, inside_or=inside_or
                )
            elif isinstance(child.value, tuple):
                self._leaf(child.value, here, ".".join((*names, key)), branches, offset=child.offset)
            else:
                raise InvalidPattern(
                    f'the value of "{key}" is not in a list: write [ ] around it', path=here, offset=child.offset
                )
        return branches

    def _leaf(
        self, items: tuple[Node, ...], path: Path, name: str, branches: list[dict[str, Field]], *, offset: int
    ) -> None:
        keys = tuple(name.split("."))
        if len(keys) > MAX_STEPS:
            raise InvalidPattern(f"a path has at most {MAX_STEPS} names", path=path, offset=offset)
        leaf = compile_leaf(items, path=path, offset=offset)
        for warning in leaf.warnings:
            self.warn(warning)
        field = Field(name, path, offset, leaf, keys, _steps(keys))
        for branch in branches:
            if name in branch:
                message = f'the path "{name}" is already given: only this later one counts'
                self.warn(PatternWarning(path, message, offset))
            branch[name] = field

    def _either(
        self, node: Node, path: Path, names: tuple[str, ...], branches: list[dict[str, Field]]
    ) -> list[dict[str, Field]]:
        alternatives = node.value
        if not isinstance(alternatives, tuple) or len(alternatives) < 2:
            raise InvalidPattern('"$or" takes a list of two or more objects', path=path, offset=node.offset)
        forked: list[dict[str, Field]] = []
        for index, alternative in enumerate(alternatives):
            here = (*path, index)
            if not isinstance(alternative.value, dict):
                raise InvalidPattern(
                    'only objects can stand in "$or": write the field and its list of values in { }',
                    path=here,
                    offset=alternative.offset,
                )
            copies = [dict(branch) for branch in branches]
            forked += self.fields(alternative.value, here, names, copies, offset=alternative.offset, inside_or=True)
            if len(forked) > MAX_BRANCHES:
                raise InvalidPattern(
                    f'the "$or" lists of the pattern combine to more than {MAX_BRANCHES} ways: split it into filters',
                    path=path,
                    offset=node.offset,
                )
        return forked


def _steps(keys: Sequence[str]) -> _Steps:
    return tuple(
        tuple((".".join(keys[start:end]), end) for end in range(start + 1, len(keys) + 1)) for start in range(len(keys))
    )


def _satisfied(node: Any, wants: list[_Want], depth: int) -> bool:
    """Whether one choice of list elements below `node` satisfies all the wants, which are in the order of names."""
    if depth > MAX_EVENT_DEPTH:
        return all(absent_ok for _, _, _, absent_ok in wants)
    if isinstance(node, dict):
        return _satisfied_in_object(node, wants, depth)
    if isinstance(node, list):
        return _satisfied_in_list(node, wants, depth)
    return all(test(node) if place == len(steps) else absent_ok for steps, place, test, absent_ok in wants)


def _satisfied_in_object(node: Mapping[str, Any], wants: list[_Want], depth: int) -> bool:
    by_key: dict[str, list[_Want]] = {}
    for steps, place, test, absent_ok in wants:
        ways = [way for way in steps[place] if way[0] in node] if place < len(steps) else []
        if len(ways) == 1:
            key, next_place = ways[0]
            by_key.setdefault(key, []).append((steps, next_place, test, absent_ok))
        elif not ways:
            if not absent_ok:
                return False
        elif not _satisfied_on_its_own(node, ways, (steps, place, test, absent_ok), depth):
            return False
    for key, below in by_key.items():  # noqa: SIM110 - a plain loop keeps the stack at one frame a level
        if not _satisfied(node[key], below, depth + 1):
            return False
    return True


def _satisfied_on_its_own(node: Mapping[str, Any], ways: list[tuple[str, int]], want: _Want, depth: int) -> bool:
    """A field that the event spells in two ways at once, `a.b` and `b` inside `a`, is asked without the others.

    To make it agree with them on list elements would take every combination of spellings, which an event could be
    written to make endless.
    """
    steps, _, test, absent_ok = want
    for key, place in ways:
        if _satisfied(node[key], [(steps, place, test, False)], depth + 1):
            return True
    return absent_ok and not any(_occurs(node[key], steps, place, depth + 1) for key, place in ways)


def _satisfied_in_list(items: list[Any], wants: list[_Want], depth: int) -> bool:
    inner = [item for item in items if isinstance(item, dict | list)]
    scalars = [item for item in items if not isinstance(item, dict | list)]
    remaining: list[_Want] = []
    for steps, place, test, absent_ok in wants:
        if scalars and place == len(steps):
            # A plain element belongs to nobody: it does not tie the other fields to itself.
            if any(test(item) for item in scalars):
                continue
            remaining.append((steps, place, test, False))
        elif not absent_ok or any(_occurs(item, steps, place, depth + 1) for item in inner):
            remaining.append((steps, place, test, absent_ok))
    if not remaining:
        return True
    # Before the first field nothing is chosen, so its absence would have to hold for the whole list; it does not,
    # or the field would be gone by now.
    steps, place, test, _ = remaining[0]
    remaining[0] = (steps, place, test, False)
    for item in inner:  # noqa: SIM110 - a plain loop keeps the stack at one frame a level
        if _satisfied(item, remaining, depth + 1):
            return True
    return False


def _occurs(node: Any, steps: _Steps, place: int, depth: int) -> bool:
    """Whether there is any value at a path."""
    if depth > MAX_EVENT_DEPTH:
        return False
    if isinstance(node, dict):
        for key, next_place in steps[place] if place < len(steps) else ():
            if key in node and _occurs(node[key], steps, next_place, depth + 1):
                return True
        return False
    if isinstance(node, list):
        for item in node:  # noqa: SIM110 - a plain loop keeps the stack at one frame a level
            if _occurs(item, steps, place, depth + 1):
                return True
        return False
    return place == len(steps)
