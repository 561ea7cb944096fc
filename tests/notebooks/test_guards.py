"""The committed notebooks pass every guard, and every guard fails on a bad notebook."""

import copy
import getpass
import platform

import guards
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from prose import numbers, unexplained_numbers

from robustkit import notebooks, project

CHAPTERS = project.chapters()


def test_there_is_a_chapter():
    assert CHAPTERS


@pytest.fixture(params=CHAPTERS)
def chapter(request):
    return request.param


@pytest.fixture
def notebook(chapter):
    path = project.notebook_path(chapter)
    assert path.is_file(), f"{chapter} was never run: robustkit build --only {chapter}"
    return nbformat.read(path, as_version=4)


def test_every_executed_notebook_has_a_text():
    found = {path.stem for path in (project.root() / "notebooks").glob("*.ipynb")}
    assert found <= set(CHAPTERS)


def test_it_is_a_valid_notebook(notebook):
    assert list(nbformat.validator.iter_validate(notebook)) == []
    broken = nbformat.from_dict({**notebook, "cells": [{"cell_type": "code"}]})
    assert list(nbformat.validator.iter_validate(broken)) != []


def test_it_was_executed_from_top_to_bottom(notebook):
    assert guards.executed(notebook) == []


def test_it_has_the_cells_of_its_text(chapter, notebook):
    assert guards.paired(notebook, notebooks.read(project.text_path(chapter))) == []


def test_it_is_not_older_than_what_made_it(chapter, notebook):
    assert guards.fresh(notebook, project.text_path(chapter), project.root()) == []


def test_it_tells_nothing_of_the_machine(notebook):
    assert guards.anonymous(notebook) == []


def test_its_figures_are_described(notebook):
    assert guards.described(notebook) == []


def test_its_prose_has_no_numbers_of_its_own(chapter):
    assert unexplained_numbers(notebooks.read(project.text_path(chapter))) == []


def test_its_parameters_begin_as_in_every_chapter(chapter):
    specs = notebooks.parameters(project.text_path(chapter))
    assert [(spec.name, spec.annotation, spec.default) for spec in specs[:3]] == [
        ("profile", "str", "smoke"),
        ("seed", "int", 0),
        ("device", "str", "auto"),
    ]


def printed(text):
    output = new_output("stream", name="stdout", text=text)
    return new_notebook(cells=[new_code_cell("1", execution_count=1, outputs=[output])])


def shown(kind, content):
    output = new_output("display_data", data={kind: content})
    return new_notebook(cells=[new_code_cell("1", execution_count=1, outputs=[output])])


GOOD = new_notebook(
    cells=[
        new_markdown_cell("# Title"),
        new_code_cell("1", execution_count=1, id="one"),
        new_code_cell(
            "2",
            execution_count=2,
            id="two",
            outputs=[new_output("stream", name="stdout", text="record 01_tiny: 1 scalars\n")],
        ),
    ]
)


def test_a_good_notebook_passes():
    assert guards.executed(GOOD) == []
    assert guards.paired(GOOD, copy.deepcopy(GOOD)) == []
    assert guards.anonymous(GOOD) == []
    assert guards.described(GOOD) == []


@pytest.mark.parametrize(
    "counts", [(None, None), (1, None), (2, 1), (2, 3), (1, 3), (1, 1)], ids=str
)
def test_a_notebook_that_was_not_executed_in_order_fails(counts):
    notebook = copy.deepcopy(GOOD)
    for cell, count in zip(notebook.cells[1:], counts, strict=True):
        cell.execution_count = count
    assert "not executed in order" in guards.executed(notebook)[0]


def test_a_notebook_without_code_fails():
    assert guards.executed(new_notebook(cells=[new_markdown_cell("text")])) != []


@pytest.mark.parametrize(
    "output",
    [
        new_output("error", ename="ValueError", evalue="no", traceback=[]),
        new_output("stream", name="stderr", text="UserWarning: beware"),
    ],
)
def test_an_error_or_a_warning_in_an_output_fails(output):
    notebook = copy.deepcopy(GOOD)
    notebook.cells[1].outputs = [output]
    [problem] = guards.executed(notebook)
    assert problem.startswith("cell 2")


def changed(**fields):
    notebook = copy.deepcopy(GOOD)
    notebook.cells[1].update(fields)
    return notebook


@pytest.mark.parametrize(
    "other",
    [
        changed(source="3"),
        changed(metadata={"tags": ["injected-parameters"]}),
        changed(cell_type="markdown"),
        changed(id="other"),
        new_notebook(cells=GOOD.cells[:2]),
    ],
)
def test_a_notebook_that_is_not_its_text_fails(other):
    assert guards.paired(other, GOOD) != []
    assert guards.paired(GOOD, other) != []


@pytest.fixture
def recorded(tmp_path):
    """A notebook with a record, its text, and the checkout it was made in."""
    import robustkit
    from robustkit import inputs

    text, claims = tmp_path / "01_tiny.py", tmp_path / "book" / "claims" / "01_tiny.yml"
    claims.parent.mkdir(parents=True)
    text.write_text("# %%\n1\n")
    claims.write_text("claims: []")
    read = {
        "robustkit/__init__.py": inputs.digest([guards.Path(robustkit.__file__)]),
        "book/claims/01_tiny.yml": inputs.digest([claims]),
        "cifar10": "0" * 64,
    }
    notebook = copy.deepcopy(GOOD)
    notebook.metadata["robustkit"] = {
        "record": {
            "provenance": {"notebook": notebooks.code_hash(notebooks.read(text)), "inputs": read}
        }
    }
    assert guards.fresh(notebook, text, tmp_path) == []
    return notebook, text, tmp_path


def test_a_notebook_older_than_its_text_fails(recorded):
    recorded[1].write_text("# %%\n2\n")
    assert guards.fresh(*recorded) == ["the code of 01_tiny.py has changed since the run"]


def test_new_prose_does_not_make_a_notebook_old(recorded):
    recorded[1].write_text("# %% [markdown]\n# New words.\n\n# %% tags=['new']\n1\n")
    assert guards.fresh(*recorded) == []


def test_a_notebook_older_than_the_claims_it_shows_fails(recorded):
    (recorded[2] / "book" / "claims" / "01_tiny.yml").unlink()
    assert guards.fresh(*recorded) == ["book/claims/01_tiny.yml has changed since the run"]


def test_a_notebook_older_than_the_package_fails(recorded):
    read = recorded[0].metadata["robustkit"]["record"]["provenance"]["inputs"]
    read["robustkit/errors.py"] = "0" * 64
    read["robustkit/gone.py"] = "0" * 64
    assert guards.fresh(*recorded) == [
        "robustkit/errors.py has changed since the run",
        "robustkit/gone.py has changed since the run",
    ]


def test_a_record_without_package_files_fails(recorded):
    recorded[0].metadata["robustkit"]["record"]["provenance"]["inputs"] = {}
    assert guards.fresh(*recorded) == ["the record does not say which package files were used"]


def test_a_notebook_without_a_record_fails(recorded):
    del recorded[0].metadata["robustkit"]
    assert "carries no record" in guards.fresh(*recorded)[0]


@pytest.mark.parametrize(
    "text",
    [
        "saved to /home/somebody/figure.png",
        "('/tmp/x/y.npy',)",
        "~/data was read",
        r"C:\Users\somebody",
        "file:///x",
        "<Figure object at 0x7f8c2c1d2e50>",
        "done at 2026-01-31T12:00:00",
        "done at 2026-01-31 12:00",
        "took until 23:59:59",
    ],
)
def test_a_trace_of_the_machine_fails(text):
    assert len(guards.anonymous(printed(text))) == 1
    assert len(guards.anonymous(shown("text/html", f"<p>{text}</p>"))) == 1


@pytest.mark.parametrize("module", [getpass, platform])
def test_the_name_of_the_user_or_the_host_fails(monkeypatch, module):
    monkeypatch.setattr(module, "getuser" if module is getpass else "node", lambda: "zebra7")
    assert "zebra7" in guards.anonymous(printed("made by zebra7."))[0]
    assert guards.anonymous(printed("zebra77")) == []


@pytest.mark.parametrize(
    "text",
    [
        "images/second and/or 3/4",
        "<td>1</td></tr>",
        '<svg xmlns="http://www.w3.org/2000/svg">',
        '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/svg11.dtd">',
        "robust accuracy at 8/255: 0.5",
        "shape 0x10",
        "published 2016-06-27",
    ],
)
def test_harmless_outputs_pass(text):
    assert guards.anonymous(printed(text)) == []


def test_an_encoded_image_is_not_searched_but_a_drawing_is():
    trace = "/home/somebody/x.png"
    assert guards.anonymous(shown("image/png", trace)) == []
    assert len(guards.anonymous(shown("image/svg+xml", f"<svg>{trace}</svg>"))) == 1


def test_an_image_inside_a_drawing_is_not_searched_but_the_drawing_is():
    image = "data:image/png;base64,iVBOR/w0KGgo/AAAA\nNSUhEU+ /gAAA/BBBB/CCCC=="
    assert guards.anonymous(printed(image.partition(",")[2])) != []
    drawing = f'<svg><image xlink:href="{image}"/>%s</svg>'
    assert guards.anonymous(shown("image/svg+xml", drawing % "<text>a</text>")) == []
    [problem] = guards.anonymous(shown("image/svg+xml", drawing % "<desc>/home/x/y.png</desc>"))
    assert "/home/x/y.png" in problem


METADATA = {"figure": {"caption": "A curve.", "name": "fig-curve"}, "image": {"alt": "It falls."}}


@pytest.mark.parametrize(
    ("part", "key", "what"),
    [
        ("figure", "caption", "caption"),
        ("figure", "name", "name"),
        ("image", "alt", "alternative text"),
    ],
)
def test_a_figure_without_its_words_fails(part, key, what):
    notebook = shown("image/png", "")
    notebook.cells[0].metadata["mystnb"] = copy.deepcopy(METADATA)
    assert guards.described(notebook) == []
    notebook.cells[0].metadata["mystnb"][part][key] = " "
    assert guards.described(notebook) == [f"the figure of cell 1 has no {what}"]
    notebook.cells[0].metadata = nbformat.NotebookNode()
    assert len(guards.described(notebook)) == 3


def test_two_figures_of_one_name_fail():
    notebook = shown("image/png", "")
    notebook.cells[0].metadata["mystnb"] = METADATA
    notebook.cells *= 2
    assert guards.described(notebook) == ["two figures are named 'fig-curve'"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It reaches 92.1% accuracy.", ["92.1%"]),
        ("The median is 0.25.", ["0.25"]),
        ("From -3 to 1e-3, or 10,000 images.", ["-3", "1e-3", "10,000"]),
        ("## The 7 wonders", ["7"]),
        ("(8/255)", ["8", "255"]),
        ("```{note}\n:class: tip-3\nIt took 5 minutes.\n```", ["5"]),
        (":::{exercise}\n:label: ex-1\n\nTry 9.\n:::", ["9"]),
        ("::::{note}\n```python\nx = 1\n```\nand 6\n::::\n7", ["6", "7"]),
        ("a [12](https://example.org/34)", ["12"]),
        ("- 3 images", ["3"]),
        ("Chapters 2 and 3 took 4 hours.", ["4"]),
        ("$x$ costs 5 and 6 $y$ or \\$7", ["5", "6", "7"]),
    ],
)
def test_a_number_in_prose_is_found(text, found):
    assert numbers(text) == found
    [*problems] = unexplained_numbers(new_notebook(cells=[new_markdown_cell(text)]))
    assert len(problems) == len(found)


@pytest.mark.parametrize(
    "text",
    [
        "ResNet-20 on CIFAR-10 in 2-D, with l2 and 32x32 crops, 8-bit",
        "`x = 1` and ``y = `2` ``",
        "$r = 0.5$ and \\$ and $a_1$, $$\nx = 2\n$$ (eq-2)",
        "\\begin{align}\nx &= 3\n\\end{align}",
        "```python\nx = 4\n```\n\n~~~\n5\n~~~",
        "```{math}\nx = 6\n```",
        "{cite:p}`moosavi2016deepfool` and {numref}`Figure 7 <fig-7>`",
        "{value}`laptop.median:.3f|interval`",
        "1. first\n2. second\n\n## 1.2. Third\n(label-4)=",
        "[text](https://example.org/8/9) and <https://example.org/10>",
        "[x]: https://example.org/11\n\nsee[^1]",
        "Table 2, Sections 3.1 and 4, Equation (see eq. 9), Figures 1-3, Appendix B2",
        '<a href="x12" title="13">text</a> <!-- 14 -->',
        "```{code-cell}\n15\n```",
        "```{note}\n:class: 16\n```",
    ],
)
def test_what_is_no_number_in_prose_passes(text):
    assert numbers(text) == []


def test_code_cells_have_no_prose():
    assert unexplained_numbers(new_notebook(cells=[new_code_cell("x = 3")])) == []
