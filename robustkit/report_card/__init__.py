"""A report card for any classifier: how robust and how invariant it is, on four axes.

`report` measures a model on labelled images and returns a `Report`: minimal perturbations in l2 and
in pixels, margins by frequency, accuracy under corruptions and under translations, each with its
interval, a reading and the worst images. `reports` measures several models on the same images and
`compare` pairs two of them. `robustkit.report(model, images, labels)` is the same function.
"""

from robustkit.report_card.card import AXES, Axis, Examples, Report, Scalar
from robustkit.report_card.comparison import Comparison, Difference, compare
from robustkit.report_card.measure import report, reports
from robustkit.report_card.paired import PairedTest, holm, mcnemar, sign_test
from robustkit.report_card.recording import add_to_record

__all__ = [
    "AXES",
    "Axis",
    "Comparison",
    "Difference",
    "Examples",
    "PairedTest",
    "Report",
    "Scalar",
    "add_to_record",
    "compare",
    "holm",
    "mcnemar",
    "report",
    "reports",
    "sign_test",
]
