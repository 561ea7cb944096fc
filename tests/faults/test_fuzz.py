"""Whatever public functions are given, they do their work or say what is wrong with it."""

from collections.abc import Callable
from typing import Any

import fuzz_targets
import pytest
from fuzz_exceptions import NOT_FED, NOT_SPOILED, OBJECTS, REFUSED


@pytest.fixture(scope="module")
def told(told_by: Callable[..., list[Any]]) -> dict[str, dict[str, Any]]:
    """What became of every call, by target."""
    return {answer["target"]: answer for answer in told_by("fuzz_worker.py")}


def test_everything_public_is_fed_or_listed(told: dict[str, dict[str, Any]]) -> None:
    names = fuzz_targets.names()
    assert set(told) | set(NOT_FED) == set(names)
    assert set(told) & set(NOT_FED) == set()
    modules = {name.partition(".")[0] for name in names}
    assert modules >= {"attacks", "augment", "corruptions", "margins", "models", "translation"}


def test_every_argument_is_exchanged_or_of_a_listed_kind(told: dict[str, dict[str, Any]]) -> None:
    kinds = {kind for answer in told.values() for kind in answer["kinds"].values()}
    # Either truth value is good; the calls of an empty mixture are none.
    assert kinds - {"bool", "tuple"} == OBJECTS


def test_what_is_listed_exists() -> None:
    targets = {target.name: target for target in fuzz_targets.targets()}
    assert set(REFUSED) <= set(targets)
    for name in NOT_SPOILED:
        target, _, parameter = name.rpartition(".")
        assert parameter in {known.name for known in targets[target].parameters}, name


def test_every_call_with_good_values_succeeds(told: dict[str, dict[str, Any]]) -> None:
    failed = {name: answer["good"] for name, answer in told.items() if answer["good"] != "done"}
    assert failed == dict.fromkeys(REFUSED, "refused")


def test_bad_input_is_done_or_refused_in_words_of_robustkit(
    told: dict[str, dict[str, Any]],
) -> None:
    wrong = {name: answer["wrong"] for name, answer in told.items() if answer["wrong"]}
    assert wrong == {}


def test_bad_input_is_indeed_refused(told: dict[str, dict[str, Any]]) -> None:
    # A public function of tensors that refuses nothing would have no check at all.
    silent = {
        target.name
        for target in fuzz_targets.targets()
        if target.name in told
        and target.owner is None
        and not isinstance(target.call, type)
        and any("Tensor" in str(parameter.annotation) for parameter in target.parameters)
        and told[target.name]["refused"] == 0
    }
    assert silent == set()
    assert sum(answer["refused"] for answer in told.values()) > 2000


def test_the_global_generators_are_left_as_they_were(told: dict[str, dict[str, Any]]) -> None:
    # Augmentations draw from the generator of torch unless they are given one, and say so.
    drawing = {
        target.name
        for target in fuzz_targets.targets()
        if any(parameter.name == "generator" for parameter in target.parameters)
    }
    moved = {name for name, answer in told.items() if not answer["kept"]}
    assert moved - drawing == set()
