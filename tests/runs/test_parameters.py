import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit import parameters
from robustkit.errors import InputError, UnknownNameError

CELL = """\
# The usual three.
profile: str = "smoke"  # smoke | laptop | paper
seed: int = 0  # where the random numbers start
device: str = "auto"  # auto | cpu | cuda
radius: float = 0.5  # in units of the image range
exact: bool = False
sizes: list[int] = [8, 16]  # of the patches
rates: list[float] = [0.5]
names: list[str] = ["one"]  # one | two | both of them
kinds: list[str] = ["one"]  # one | two
network: str = "resnet20"  # a name of robustkit.models
"""
SPECS = parameters.parse(CELL, "01_tiny.py")


def resolve(**given):
    return parameters.resolve(SPECS, given)


def test_the_cell_is_read_with_types_defaults_and_comments():
    assert [spec.name for spec in SPECS] == [
        *("profile", "seed", "device", "radius", "exact", "sizes", "rates", "names", "kinds"),
        "network",
    ]
    assert SPECS[0].choices == ("smoke", "laptop", "paper")
    assert SPECS[1] == parameters.Parameter("seed", "int", 0, "where the random numbers start")
    assert SPECS[-1].choices == ()


def test_a_profile_without_a_comment_has_the_three_values():
    [spec] = parameters.parse('profile: str = "smoke"', "x.py")
    assert spec.choices == ("smoke", "laptop", "paper")


@pytest.mark.parametrize(
    "line",
    [
        "seed = 0",
        "seed: int",
        "seed: complex = 0",
        "seed: int = 1 + n",
        "seed: int = 0.5",
        'profile: str = "smok"',
        "import os",
        "seed: int = (",
    ],
)
def test_a_cell_that_is_not_typed_is_refused(line):
    with pytest.raises(InputError):
        parameters.parse(line, "x.py")


def test_defaults_hold_where_nothing_is_given():
    assert resolve(seed=3) == {
        "profile": "smoke",
        "seed": 3,
        "device": "auto",
        "radius": 0.5,
        "exact": False,
        "sizes": [8, 16],
        "rates": [0.5],
        "names": ["one"],
        "kinds": ["one"],
        "network": "resnet20",
    }


def test_an_integer_stands_for_a_float_and_becomes_one():
    assert type(resolve(radius=2)["radius"]) is float
    assert resolve(rates=(1, 0.5))["rates"] == [1.0, 0.5]


@pytest.mark.parametrize(
    "given",
    [
        {"seed": True},
        {"seed": 1.0},
        {"seed": "1"},
        {"radius": True},
        {"radius": math.nan},
        {"exact": 1},
        {"sizes": 8},
        {"sizes": [8.0]},
        {"network": None},
    ],
)
def test_a_wrong_type_is_refused_with_type_and_comment(given):
    [name] = given
    spec = next(spec for spec in SPECS if spec.name == name)
    with pytest.raises(InputError) as caught:
        parameters.resolve(SPECS, given)
    assert f"parameter {name!r} is {spec.annotation}" in str(caught.value)
    assert spec.comment in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sede": 1}, "unknown parameter 'sede'. Did you mean 'seed'"),
        ({"profile": "labtop"}, "unknown profile 'labtop'. Did you mean 'laptop'"),
        ({"device": "gpu"}, "unknown value of parameter 'device' 'gpu'"),
        ({"kinds": ["tow"]}, "unknown value of parameter 'kinds' 'tow'. Did you mean 'two'"),
    ],
)
def test_an_unknown_name_gets_the_near_match(given, message):
    with pytest.raises(UnknownNameError, match=message):
        parameters.resolve(SPECS, given)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "7", 7),
        ("radius", "1e-3", 0.001),
        ("radius", "2", 2.0),
        ("radius", "inf", math.inf),
        ("exact", "true", True),
        ("network", "1", "1"),
        ("network", "a=b, c", "a=b, c"),
        ("sizes", "[1, 2]", [1, 2]),
        ("rates", "[1e-3, 2]", [0.001, 2.0]),
        ("names", "[x, y z]", ["x", "y z"]),
    ],
)
def test_command_line_texts_are_read_by_type(name, text, value):
    found = parameters.from_text(SPECS, {name: text})
    assert found == {name: value}
    assert type(found[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("seed", "x"), ("seed", "1.5"), ("seed", "[1"), ("exact", "1"), ("names", "[1]")],
)
def test_command_line_texts_of_the_wrong_type_are_refused(name, text):
    with pytest.raises(InputError, match=f"parameter '{name}' is"):
        parameters.from_text(SPECS, {name: text})


def test_an_unknown_name_on_the_command_line_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'radius'"):
        parameters.from_text(SPECS, {"radios": "1"})


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2, 3", ["1", "2", "3"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("1,", ["1", ""]),
    ],
)
def test_grid_values_are_split_outside_brackets(text, values):
    assert parameters.split_values(text) == values


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers()), min_size=1))
def test_splitting_undoes_joining(lists):
    texts = [str(item) for item in lists]
    assert parameters.split_values(",".join(texts)) == texts
