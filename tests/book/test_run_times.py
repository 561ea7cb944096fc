"""What the page of run times reads from a record."""

import pytest
from robustkit_book import run_times

MADE = {
    "cpu": "<b>A processor",
    "platform": "Linux",
    "python": "3.11",
    "robustkit": "1",
    "packages": {"torch": "2"},
    "commit": "a" * 40,
    "peak_memory_mib": 1536,
    "gpu_peak_memory_mib": 512,
    "threads": 2,
    "cores": 4,
}


def test_facts_are_those_of_the_record() -> None:
    assert list(run_times.facts(MADE)) == [
        ("processor", "<b>A processor"),
        ("system", "Linux"),
        ("python", "3.11"),
        ("robustkit", "1"),
        ("torch", "2"),
        ("commit", "a" * 12),
    ]
    assert list(run_times.facts({})) == []


def test_a_run_is_described_by_what_it_needed() -> None:
    said = [text.replace("\N{NO-BREAK SPACE}", " ") for text in run_times.described(MADE)]
    assert said == ["1.5 GiB", "512 MiB on the GPU", "2 of 4 cores"]
    assert list(run_times.described({})) == []


@pytest.mark.parametrize(("mebibytes", "text"), [(1023, "1023 MiB"), (1024, "1.0 GiB")])
def test_sizes_are_in_a_unit_for_people(mebibytes: int, text: str) -> None:
    assert run_times.memory(mebibytes).replace("\N{NO-BREAK SPACE}", " ") == text
