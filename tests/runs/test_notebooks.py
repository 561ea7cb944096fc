import json
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from robustkit import notebooks
from robustkit.errors import InputError


def test_reading_a_text_twice_gives_the_same_valid_notebook(checkout):
    first, second = notebooks.read(checkout.text), notebooks.read(checkout.text)
    assert first == second
    nbformat.validate(first)
    assert [cell.cell_type for cell in first.cells] == ["markdown", "code", "code", "code"]
    assert first.cells[1].metadata == {"tags": ["parameters"]}
    assert first.metadata.kernelspec.name == "python3"
    assert "jupytext" not in first.metadata


def test_figure_metadata_survive():
    text = '# %% mystnb={"figure": {"name": "fig"}, "image": {"alt": "a line"}}\n1\n'
    [cell] = notebooks.from_text(text).cells
    assert cell.metadata["mystnb"] == {"figure": {"name": "fig"}, "image": {"alt": "a line"}}


def test_identifiers_follow_from_position_and_source():
    one, two = notebooks.from_text("# %%\n1\n# %%\n1\n").cells
    assert one.id != two.id
    [changed, _] = notebooks.from_text("# %%\n2\n# %%\n1\n").cells
    assert changed.id != one.id


def code_hash(text):
    return notebooks.code_hash(notebooks.from_text(text))


def test_the_hash_of_the_code_is_the_same_for_either_line_end(tmp_path):
    unix, windows = tmp_path / "unix.py", tmp_path / "windows.py"
    unix.write_bytes(b"# %%\n1\n2\n")
    windows.write_bytes(b"# %%\r\n1\r\n2\r\n")
    first, second = (notebooks.code_hash(notebooks.read(path)) for path in (unix, windows))
    assert first == second


def test_the_hash_of_the_code_is_of_the_code_alone_and_of_its_order():
    plain = code_hash("# %%\n1\n\n# %%\n2\n")
    assert code_hash('# %% tags=["a"]\n1\n\n# %% [markdown]\n# text\n\n# %%\n2\n') == plain
    assert code_hash("# %%\n2\n\n# %%\n1\n") != plain
    assert code_hash("# %%\n1\n2\n") != plain


def test_a_refreshed_notebook_keeps_injected_parameters_and_refuses_other_code():
    text = '# %% tags=["parameters"]\nx: int = 1\n\n# %%\nx\n'
    executed = notebooks.from_text(text)
    injected = new_code_cell("x = 2", metadata={"tags": ["injected-parameters"]}, execution_count=2)
    executed.cells.insert(1, injected)
    page = notebooks.refreshed(executed, notebooks.from_text("# %% [markdown]\n# a\n\n" + text))
    assert [cell.source for cell in page.cells] == ["a", "x: int = 1", "x = 2", "x"]
    assert page.cells[2].execution_count == 2
    with pytest.raises(InputError, match="the code has changed"):
        notebooks.refreshed(executed, notebooks.from_text(text + "1\n"))


def test_an_absent_chapter_is_named(tmp_path):
    with pytest.raises(InputError, match="no chapter at"):
        notebooks.read(tmp_path / "01_absent.py")


def test_the_parameters_of_a_chapter_are_read(checkout):
    assert [spec.name for spec in notebooks.parameters(checkout.text)] == [
        *("profile", "seed", "device", "scale")
    ]


@pytest.mark.parametrize(
    "tags", ["", ' tags=["parameters"]\nseed: int = 1\n# %% tags=["parameters"]']
)
def test_a_chapter_has_exactly_one_parameters_cell(tmp_path, tags):
    path = tmp_path / "01_odd.py"
    path.write_text(f"# %%{tags}\nseed: int = 0\n")
    with pytest.raises(InputError, match=r"01_odd\.py has \d cells tagged 'parameters'"):
        notebooks.parameters(path)


def test_cleaning_strips_what_the_tools_left_and_keeps_the_rest():
    cell = new_code_cell(
        "1 + 1",
        execution_count=4,
        metadata={
            "papermill": {"start_time": "2026-01-01T00:00:00"},
            "execution": {"iopub.status.busy": "2026-01-01T00:00:00Z"},
            "tags": [],
            "mystnb": {"image": {"alt": "two"}},
        },
        outputs=[
            new_output("stream", name="stdout", text="a"),
            new_output("stream", name="stdout", text="b\n"),
            new_output("stream", name="stderr", text="c"),
            new_output("execute_result", data={"text/plain": "2"}, execution_count=4),
        ],
    )
    notebook = new_notebook(
        cells=[cell, new_markdown_cell("text", metadata={"tags": ["kept"]})],
        metadata={
            "papermill": {"input_path": "/home/somebody/x.ipynb"},
            "kernelspec": {"name": "other", "display_name": "Other"},
            "language_info": {"name": "python", "version": "3.99"},
            "kept": 1,
        },
    )
    notebooks.clean(notebook)
    nbformat.validate(notebook)
    text = json.dumps(notebook)
    for trace in ("papermill", "2026", "somebody", "3.99", "other"):
        assert trace not in text
    assert notebook.metadata["kept"] == 1
    assert cell.metadata == {"mystnb": {"image": {"alt": "two"}}}
    assert notebook.cells[1].metadata == {"tags": ["kept"]}
    assert [output.get("text") for output in cell.outputs] == ["ab\n", "c", None]
    assert cell.execution_count == 4


def test_cleaning_puts_a_drawing_on_one_line_and_changes_none_of_it():
    drawing = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg">
 <!-- a > b -->
 <path d="M 0 0
L 1 1
"/>
  <g>
   <text>two words</text>
  </g>
</svg>
"""
    output = new_output("display_data", data={"image/svg+xml": drawing, "text/plain": "a\n b"})
    notebook = new_notebook(cells=[new_code_cell("1", outputs=[output])])
    notebooks.clean(notebook)
    data = notebook.cells[0].outputs[0].data
    assert data["text/plain"] == "a\n b"
    assert "\n" not in data["image/svg+xml"]
    before, after = (
        list(ElementTree.fromstring(text).iter())
        for text in (drawing, *data.values())
        if text.startswith("<")
    )
    assert [element.tag for element in before] == [element.tag for element in after]
    assert after[1].get("d").split() == before[1].get("d").split()
    assert after[-1].text == "two words"
    once = data["image/svg+xml"]
    notebooks.clean(notebook)
    assert notebook.cells[0].outputs[0].data["image/svg+xml"] == once


def test_cleaning_rounds_the_places_of_a_drawing_and_no_other_number():
    drawing = (
        '<svg><path id="a1.23456" d="M 0.123456 -12.345678 L 3 4.5 z "/>'
        '<use x="1.999999" y="2.25" style="fill-opacity: 0.123456"/>'
        '<image href="data:image/png;base64,AB d=1.23456" transform="scale(0.015625)"/>'
        "<text>0.123456</text></svg>"
    )
    output = new_output("display_data", data={"image/svg+xml": drawing})
    notebook = new_notebook(cells=[new_code_cell("1", outputs=[output])])
    notebooks.clean(notebook)
    assert notebook.cells[0].outputs[0].data["image/svg+xml"] == (
        drawing.replace("0.123456 -12.345678", "0.12 -12.34").replace("1.999999", "1.99")
    )


def test_a_written_notebook_carries_its_record_in_order(tmp_path):
    path = tmp_path / "x.ipynb"
    record = {"scalars": {"z": 1, "a": None}}
    notebooks.write(path, notebooks.from_text("# %%\n'é'\n"), record)
    back = nbformat.read(path, as_version=4)
    nbformat.validate(back)
    assert list(back.metadata["robustkit"]["record"]["scalars"]) == ["z", "a"]
    assert "é" in path.read_text(encoding="utf-8")
