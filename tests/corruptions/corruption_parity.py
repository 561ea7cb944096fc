"""How far a corruption may be from what it is compared with: the rows of book/parity.yml.

A test that holds a corruption to a row takes it as `allowed`:

    @held_to("fog/formula", "fog/single")
    def test_fog(allowed):
        allowed.check(fog(batch.to(allowed.dtype), ...), expected)
"""

from pathlib import Path

import pytest
import torch
import yaml

FILE = Path(__file__).parents[2] / "book" / "parity.yml"
ROWS = yaml.safe_load(FILE.read_text(encoding="utf-8"))

# Which of the five moments of `Published.moments_of` are shares of the values.
SHARES = (0, 0, 0, 1, 1)
# In levels: what arithmetic in single precision leaves of a whole one.
_ROUNDING = 1e-3


class Allowed:
    """One comparison of one corruption, known as "corruption/comparison"."""

    def __init__(self, key):
        self.key = key
        self.name, _, self.comparison = key.partition("/")
        self.row = ROWS[self.name]["comparisons"][self.comparison]
        self.dtype = torch.float32 if self.comparison == "single" else torch.float64
        self.checked = False

    def __repr__(self):
        return self.key

    def check(self, found, expected, error=None):
        """Assert that `found` is as near to `expected` as the row says.

        - `error`: the standard error of each number, for a row whose unit it is.
        """
        self.checked = True
        found, expected = torch.as_tensor(found), torch.as_tensor(expected)
        assert found.shape == expected.shape
        gaps = (found.double() - expected.double()).abs()
        unit, largest = self.row["unit"], self.row["largest"]
        if unit == "range":
            # What is no number is far from everything.
            far = ~(gaps <= largest)
            assert far.double().mean() <= self.row.get("share", 0), self.apart(gaps)
        elif unit == "levels":
            gaps = gaps * (255 if found.is_floating_point() else 1)
            assert gaps.max() <= largest + _ROUNDING, self.apart(gaps)
            assert (gaps > _ROUNDING).double().mean() <= self.row.get("share", 1), self.apart(gaps)
        elif unit == "probability":
            assert gaps.sum(-1).max() / 2 <= largest, self.apart(gaps.sum(-1) / 2)
        else:
            assert unit == "errors"
            error = torch.as_tensor(error)
            limits = largest * error
            if "share" in self.row:
                limits = limits + self.row["share"] * torch.tensor(SHARES)
            assert (gaps <= limits).all(), self.apart(gaps / error)

    def check_moments(self, runs, known):
        """Hold moments of our runs `(R, 5)` to those of the published ones `(S, 5)`.

        The moments are those of `Published.moments_of`.
        """
        runs, known = torch.as_tensor(runs), torch.as_tensor(known)
        error = (runs.var(0) / len(runs) + known.var(0) / len(known)).sqrt()
        self.check(runs.mean(0), known.mean(0), error)

    def apart(self, gaps):
        """Return what an assertion says: the gaps in the unit of the row, and the row."""
        share = (gaps > 0).double().mean()
        return f"{self.key}: up to {gaps.max():.3g}, {share:.3g} of all differ; {self.row}"


def require_check(pyfuncitem):
    """Fail a test that is given a row and holds nothing to it."""
    allowed = pyfuncitem.funcargs.get("allowed")
    if allowed is not None:
        allowed.checked = False
    result = yield
    assert allowed is None or allowed.checked, f"nothing was held to {allowed}"
    return result


def held_to(*keys):
    """Run a test once with each of these rows as its argument `allowed`."""
    return pytest.mark.parametrize("allowed", [Allowed(key) for key in keys], ids=keys)
