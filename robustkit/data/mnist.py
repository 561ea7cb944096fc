"""`mnist`: 60,000 and 10,000 handwritten digits (LeCun, Cortes and Burges)."""

from robustkit.data import published
from robustkit.data.dataset import Content

MNIST = published.Published(
    name="mnist",
    torchvision="MNIST",
    images=(1, 28, 28),
    classes=tuple("0123456789"),
    digests={
        "train": "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
        "test": "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
    },
)


def read(split: str) -> Content:
    """Read "train" or "test"; raises `DataError` when absent or damaged."""
    return published.read(MNIST, split)
