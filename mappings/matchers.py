"""What one field of a pattern accepts: the list of values and operators at a leaf, compiled to one test.

Grammar of a leaf [specification C.4; engine: aws/event-ruler]. "may be refused": it works here and on an
EventBridge bus, but Lambda's own table does not list it, so `Leaf.warnings` names it.

| form                                                             | accepts                                   |
|------------------------------------------------------------------|-------------------------------------------|
| `"x"`, `5`, `true`, `null`                                       | the same value; numbers by exact value    |
| `{"prefix": s}`, `{"suffix": s}`, `{"equals-ignore-case": s}`    | strings                                   |
| `{"prefix": {"equals-ignore-case": s}}`, the same with suffix    | strings; may be refused                   |
| `{"wildcard": s}`                                                | strings; may be refused                   |
| `{"cidr": s}`                                                    | addresses inside; may be refused          |
| `{"numeric": [op, n]}`, `{"numeric": [lower, n, upper, m]}`      | numbers, compared as doubles              |
| `{"exists": true}`                                               | any value                                 |
| `{"exists": false}`                                              | no value: the path has no leaf            |
| `{"anything-but": s or n or a list of either}`                   | any value but these                       |
| `{"anything-but": {prefix, suffix, equals-ignore-case, wildcard}}` | any value but these strings; may be refused |

A test answers for one value and never raises. `true` and `false` are never numbers.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from esmd.mappings.exact_json import InvalidPattern, Node, Path
from esmd.mappings.wildcards import compile_wildcard

Test = Callable[[Any], bool]

_COMPARISONS = ("=", "<", "<=", ">", ">=")
_NUMBERS = (int, float, Decimal)


@dataclass(frozen=True, slots=True)
class PatternWarning:
    """Something in a pattern that is not an error here.

    Attributes:
        path: where inside the pattern.
        message: what it is, in plain words.
        offset: the character in the pattern's text where it starts, from 0.
    """

    path: Path
    message: str
    offset: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """A compiled list of values and operators.

    Attributes:
        test: whether a value at this path is accepted.
        absent_ok: whether the path may have no value at all (`exists: false`).
    """

    test: Test
    absent_ok: bool
    warnings: tuple[PatternWarning, ...]


@dataclass(frozen=True, slots=True)
class _Operator:
    test: Test
    absent_ok: bool = False
    refused_form: str = ""


def compile_leaf(items: tuple[Node, ...], *, path: Path, offset: int) -> Leaf:
    """Compile the list at a leaf, which stands at `path` and `offset` of the pattern.

    Raises:
        InvalidPattern: the list is empty, or holds something that is no value and no operator.
    """
    if not items:
        raise InvalidPattern(
            "an empty list matches nothing: list the wanted values, or [null] for null", path=path, offset=offset
        )
    values: list[Any] = []
    tests: list[Test] = []
    absent_ok = False
    warnings: list[PatternWarning] = []
    for index, item in enumerate(items):
        here = (*path, index)
        if isinstance(item.value, tuple):
            raise InvalidPattern(
                "a list inside the list of values: write the values side by side", path=here, offset=item.offset
            )
        if not isinstance(item.value, Mapping):
            values.append(item.value)
            continue
        operator = _compile_operator(item.value, here, item.offset)
        tests.append(operator.test)
        absent_ok = absent_ok or operator.absent_ok
        if operator.refused_form:
            message = f"works here, but real Lambda may refuse it: {operator.refused_form}"
            warnings.append(PatternWarning(here, message, item.offset))
    if values:
        tests.insert(0, _equals_any(values))
    return Leaf(_any_of(tests), absent_ok, tuple(warnings))


def _any_of(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def test(value: Any) -> bool:
        return any(accepts(value) for accepts in tests)

    return test


def _equals_any(values: list[Any]) -> Test:
    strings = frozenset(value for value in values if isinstance(value, str))
    numbers = frozenset(value for value in values if is_number(value))
    constants = [value for value in values if value is None or isinstance(value, bool)]

    def is_string(value: Any) -> bool:
        return isinstance(value, str) and value in strings

    def is_constant(value: Any) -> bool:
        return any(value is constant for constant in constants)

    tests: list[Test] = []
    if strings:
        tests.append(is_string)
    if numbers:
        tests.append(_equals_number(numbers))
    if constants:
        tests.append(is_constant)
    return _any_of(tests)


def is_number(value: Any) -> bool:
    """Whether a value is a JSON number; Python counts `True` as 1, JSON does not."""
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


def _equals_number(numbers: frozenset[Any]) -> Test:
    def test(value: Any) -> bool:
        if isinstance(value, float):
            # The shortest text of a double is the number its writer meant: 0.3, not 0.299999999999999988...
            return Decimal(repr(value)) in numbers
        return is_number(value) and value in numbers

    return test


def _double(value: Any) -> float:
    """A number as a double; what is no number becomes one that no comparison holds for."""
    if not is_number(value):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _compile_operator(members: Mapping[str, Node], path: Path, offset: int) -> _Operator:
    name, operand = _only_member(members, path, offset)
    compiler = _OPERATORS.get(name)
    if compiler is None:
        known = ", ".join(_OPERATORS)
        folded = name.lower()
        hint = f'write "{folded}", in small letters' if folded in _OPERATORS else f"known are {known}"
        raise InvalidPattern(f'"{name}" is not an operator: {hint}', path=path, offset=offset)
    return compiler(operand, (*path, name))


def _only_member(members: Mapping[str, Node], path: Path, offset: int) -> tuple[str, Node]:
    if len(members) != 1:
        raise InvalidPattern(
            "one operator to an object: write several side by side in the list, each in its own { }",
            path=path,
            offset=offset,
        )
    return next(iter(members.items()))


def _string(node: Node, path: Path, *, example: str) -> str:
    if not isinstance(node.value, str):
        raise InvalidPattern(f'"{path[-1]}" takes a string, as in {example}', path=path, offset=node.offset)
    return node.value


def _prefix_test(text: str) -> Test:
    return lambda value: isinstance(value, str) and value.startswith(text)


def _suffix_test(text: str) -> Test:
    return lambda value: isinstance(value, str) and value.endswith(text)


def _ignore_case_test(text: str) -> Test:
    # Upper case, as the reference engine folds: the German sharp s equals SS.
    upper = text.upper()
    return lambda value: isinstance(value, str) and value.upper() == upper


def _affix(node: Node, path: Path) -> _Operator:
    name = path[-1]
    if isinstance(node.value, Mapping):
        inner, operand = _only_member(node.value, path, node.offset)
        if inner != "equals-ignore-case":
            raise InvalidPattern(
                f'"{name}" takes a string or {{"equals-ignore-case": "..."}}', path=path, offset=node.offset
            )
        upper = _string(operand, (*path, inner), example=f'{{"{name}": {{"{inner}": "x"}}}}').upper()
        form = f'"{name}" with "equals-ignore-case"'
        if name == "prefix":
            return _Operator(
                lambda value: isinstance(value, str) and value.upper().startswith(upper), refused_form=form
            )
        return _Operator(lambda value: isinstance(value, str) and value.upper().endswith(upper), refused_form=form)
    text = _string(node, path, example=f'{{"{name}": "x"}}')
    return _Operator(_prefix_test(text) if name == "prefix" else _suffix_test(text))


def _equals_ignore_case(node: Node, path: Path) -> _Operator:
    return _Operator(_ignore_case_test(_string(node, path, example='{"equals-ignore-case": "x"}')))


def _wildcard(node: Node, path: Path) -> _Operator:
    return _Operator(_wildcard_test(node, path), refused_form='"wildcard"')


def _wildcard_test(node: Node, path: Path) -> Test:
    text = _string(node, path, example='{"wildcard": "a*b"}')
    try:
        accepts = compile_wildcard(text)
    except ValueError as error:
        raise InvalidPattern(str(error), path=path, offset=node.offset) from None
    return lambda value: isinstance(value, str) and accepts(value)


def _cidr(node: Node, path: Path) -> _Operator:
    example = '{"cidr": "10.0.0.0/24"}'
    text = _string(node, path, example=example)
    address, slash, bits = text.partition("/")
    try:
        # Shut out what the library takes besides a count of bits: a netmask, and an IPv6 zone.
        plain = bool(slash) and bits.isascii() and bits.isdigit() and "%" not in address
        network = ipaddress.ip_network((address, int(bits) if plain else -1), strict=False)
    except ValueError:
        raise InvalidPattern(
            f'"{text}" is not a block of IPv4 or IPv6 addresses, as in {example}', path=path, offset=node.offset
        ) from None
    if network.prefixlen == network.max_prefixlen:
        raise InvalidPattern(
            f'"{text}" is a single address: write the address itself as a value', path=path, offset=node.offset
        )

    def test(value: Any) -> bool:
        if not isinstance(value, str) or not ("." in value or ":" in value) or "%" in value:
            return False
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return _Operator(test, refused_form='"cidr"')


def _exists(node: Node, path: Path) -> _Operator:
    if node.value is True:
        return _Operator(lambda _: True)
    if node.value is False:
        return _Operator(lambda _: False, absent_ok=True)
    raise InvalidPattern('"exists" takes true or false, without quotes', path=path, offset=node.offset)


def _numeric(node: Node, path: Path) -> _Operator:
    example = '{"numeric": [">", 0, "<=", 10]}'
    if not isinstance(node.value, tuple) or len(node.value) not in (2, 4):
        raise InvalidPattern(
            f'"numeric" takes a list of one comparison or a range, as in {example}', path=path, offset=node.offset
        )
    steps: list[tuple[Any, float]] = []
    for index in range(0, len(node.value), 2):
        sign, bound = node.value[index : index + 2]
        if sign.value not in _COMPARISONS:
            raise InvalidPattern(
                f'"numeric" compares by {", ".join(_COMPARISONS)}, as in {example}',
                path=(*path, index),
                offset=sign.offset,
            )
        if not is_number(bound.value):
            raise InvalidPattern(
                '"numeric" compares with a number, without quotes', path=(*path, index + 1), offset=bound.offset
            )
        steps.append((sign.value, _double(bound.value)))
    tests = [_comparison(sign, bound) for sign, bound in steps]
    if len(tests) == 1:
        return _Operator(tests[0])
    (lower_sign, lower), (upper_sign, upper) = steps
    if lower_sign not in (">", ">=") or upper_sign not in ("<", "<="):
        raise InvalidPattern(
            f"a range is a lower bound, then an upper one, as in {example}", path=path, offset=node.offset
        )
    if not lower < upper:
        raise InvalidPattern(
            "the range is empty: its lower bound must be below its upper one", path=path, offset=node.offset
        )
    above, below = tests
    return _Operator(lambda value: above(value) and below(value))


def _comparison(sign: str, bound: float) -> Test:
    if sign == "=":
        return lambda value: _double(value) == bound
    if sign == "<":
        return lambda value: _double(value) < bound
    if sign == "<=":
        return lambda value: _double(value) <= bound
    if sign == ">":
        return lambda value: _double(value) > bound
    return lambda value: _double(value) >= bound


def _anything_but(node: Node, path: Path) -> _Operator:
    if isinstance(node.value, Mapping):
        name, operand = _only_member(node.value, path, node.offset)
        return _anything_but_operator(name, operand, (*path, name))
    items = node.value if isinstance(node.value, tuple) else (node,)
    strings = all(isinstance(item.value, str) for item in items)
    if not items or not (strings or all(is_number(item.value) for item in items)):
        raise InvalidPattern(
            '"anything-but" takes strings, or numbers, one or a list; not both kinds, and not true, false or null',
            path=path,
            offset=node.offset,
        )
    excluded = _equals_any([item.value for item in items])
    return _Operator(lambda value: not excluded(value))


def _anything_but_operator(name: str, node: Node, path: Path) -> _Operator:
    makers: Mapping[str, Callable[[Node], Test]] = {
        "prefix": lambda item: _prefix_test(_excluded_affix(item, path)),
        "suffix": lambda item: _suffix_test(_excluded_affix(item, path)),
        "equals-ignore-case": lambda item: _ignore_case_test(_excluded_string(item, path)),
        "wildcard": lambda item: _wildcard_test(item, path),
    }
    if name not in makers:
        raise InvalidPattern(
            f'"anything-but" combines with {", ".join(makers)}; not with "{name}"', path=path, offset=node.offset
        )
    items = node.value if isinstance(node.value, tuple) else (node,)
    if not items:
        raise InvalidPattern("an empty list excludes nothing: name at least one text", path=path, offset=node.offset)
    excluded = _any_of([makers[name](item) for item in items])
    return _Operator(lambda value: not excluded(value), refused_form=f'"anything-but" with "{name}"')


def _excluded_string(node: Node, path: Path) -> str:
    return _string(node, path, example=f'{{"anything-but": {{"{path[-1]}": "x"}}}} or a list of strings')


def _excluded_affix(node: Node, path: Path) -> str:
    text = _excluded_string(node, path)
    if not text:
        raise InvalidPattern(
            f'an empty "{path[-1]}" under "anything-but" would exclude every string', path=path, offset=node.offset
        )
    return text


_OPERATORS: Mapping[str, Callable[[Node, Path], _Operator]] = {
    "prefix": _affix,
    "suffix": _affix,
    "equals-ignore-case": _equals_ignore_case,
    "wildcard": _wildcard,
    "cidr": _cidr,
    "exists": _exists,
    "numeric": _numeric,
    "anything-but": _anything_but,
}
