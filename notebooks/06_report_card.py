# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A report card for any network
#
# **What it is for.** The chapters before this one measure a few networks very closely. A report card
# measures *one* network along all of their axes at once: minimal perturbations, the frequencies that its
# boundary depends on, common corruptions, translations. It is one command for a network of your own,
#
# ```bash
# robustkit report path/to/file.py:factory --data path/to/folder --budget 5
# ```
#
# and it writes this chapter about that network as one page. Here the card is made for two small networks,
# and read axis by axis. Nothing in this chapter is a claim of a paper: there is nothing to reproduce, and
# no verdict.

# %% tags=["parameters"]
profile: str = "smoke"  # smoke | laptop | paper
seed: int = 0  # of every random choice: networks, samples, corruptions
device: str = "auto"  # auto | cpu | cuda
model: str = ""  # torchvision:NAME, timm:NAME, robustkit:NAME or path/to/file.py:factory
data: str = ""  # a dataset or a folder of images; by default the profile's
compare: str = ""  # a second model to put beside it
budget: float = 0.0  # minutes for all measurements; 0 takes the profile's samples
images: int = 0  # read at most so many images; 0 takes all, of a folder two thousand
outputs: str = ""  # a YAML or JSON file: which output each class folder stands for
size: int = 0  # pixels a side that the network sees; 0 takes what is known of it
axes: list[str] = []  # what to measure; none means everything

# %%
import sys
from pathlib import Path

import pandas
import torch
from matplotlib import pyplot as plt

from robustkit import plots, report_card, training
from robustkit.augment import Prime
from robustkit.data import load
from robustkit.errors import InputError
from robustkit.records import Record
from robustkit.report_card import budget as budgets
from robustkit.report_card import figures
from robustkit.report_card.outputs import fitted
from robustkit.report_card.photographs import described
from robustkit.report_card.sources import load_images, load_model, seen_by

plots.setup()
# Small images stay small in the page: a pixel is not drawn as many.
plt.rcParams["image.interpolation"] = "none"
if device == "auto":
    device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
# ## Two networks and their images
#
# At the smoke profile two small networks are trained here, on patches of photographs: one as usual, one
# under PRIME, the augmentation of the chapter on corruptions. The larger profiles take published
# networks. A network that you name takes their place.

# %% tags=["hide-input"]
SETTINGS = {
    "smoke": {
        "models": {"standard": "", "PRIME": ""},
        "data": "patches",
        "samples": {"l2": 48, "sparse": 32, "spectrum": 16, "corruptions": 96, "translation": 96},
        "severities": (1, 3, 5),
        "training": {"epochs": 5, "learning_rate": 0.3, "batch_size": 64},
    },
    "laptop": {
        "models": {"ResNet-20": "cifar10_resnet20", "ResNet-56": "cifar10_resnet56"},
        "data": "cifar10",
        "samples": None,
        "severities": (1, 2, 3, 4, 5),
    },
    "paper": {
        "models": {"ResNet-20": "cifar10_resnet20", "ResNet-56": "cifar10_resnet56"},
        "data": "cifar10",
        "samples": 10_000,
        "severities": (1, 2, 3, 4, 5),
    },
}[profile]
if model:
    SETTINGS |= {"models": {text: text for text in (model, compare) if text}}
elif compare:
    raise InputError("compare puts a second model beside a first one: give a model too.")
if model and not data:
    raise InputError("a model needs images: give data, a dataset or a folder.")


def trained(name: str) -> torch.nn.Module:
    """A small network, trained on patches as they are or under PRIME."""
    return training.obtain(
        "train small_cnn",
        load("patches", "train", device=device),
        device=device,
        seed=seed,
        transform=Prime() if name == "PRIME" else None,
        **SETTINGS["training"],
    )


if model and model == compare:
    raise InputError("compare names the model itself; give another one.")
networks, sources = {}, []
for name, text in SETTINGS["models"].items():
    if not text:
        networks[name] = trained(name)
        continue
    source = load_model(text, device=device)
    # Two files of one name are two networks.
    called = f"{source.name}, second" if source.name in networks else source.name
    networks[called if model else name] = source.model
    sources.append(source)
window, channels = seen_by(sources, size or None)
sample = load_images(
    data or SETTINGS["data"],
    size=window,
    limit=images or None,
    channels=channels,
    outputs=outputs,
    seed=seed,
)
# Folders that cannot be the outputs of the networks are refused here.
sample = fitted(sample, networks, window)
record = Record(
    "06_report_card",
    {
        "profile": profile,
        "seed": seed,
        "device": device,
        # Names, not paths: a record says nothing about the machine that made it.
        "model": next(iter(networks)) if model else "",
        "data": sample.name,
        "compare": list(networks)[-1] if compare else "",
        "budget": budget,
        "images": images,
        "outputs": Path(outputs).name,
        "size": size,
        "axes": axes,
    },
)
print("classes:", len(sample.classes), "and images:", len(sample))

# %% [markdown]
# ## One call
#
# A model, images, labels: that is all. `robustkit.report` measures one model, and
# `report_card.reports` several on the very same images, which is what a comparison in pairs needs.


# %%
def announced(expected: str) -> None:
    """Say how long it will take, on the terminal too where the run was started."""
    print(expected, "A budget takes fewer images: budget=5, or --budget 5.", file=sys.stderr)


cards = report_card.reports(
    networks,
    sample.images,
    sample.labels,
    data=sample.name,
    classes=sample.classes,
    size=window,
    budget=budget or None,
    samples=None if budget else SETTINGS["samples"],
    axes=axes or report_card.AXES,
    severities=SETTINGS["severities"],
    seed=seed,
    # A committed record of photographs would publish them.
    examples=4 if model or profile == "smoke" else 0,
    # The chapter's own numbers are what others are compared with.
    references=bool(model),
    announce=announced if model and not budget else None,
)
cards = {name: described(card, sample) for name, card in cards.items()}
comparison = report_card.compare(*cards.values(), seed=seed) if len(cards) == 2 else None
report_card.add_to_record(record, list(cards.values()), comparison)
card = record.as_dict()
first = next(iter(cards.values()))
print("axes:", ", ".join(first.axes))
print("images an axis:", {name: len(axis) for name, axis in first.axes.items()})

# %% tags=["nbval-ignore-output", "hide-input"]
for one in cards.values():
    print(one, end="\n\n")

# %% [markdown]
# A *reading* is written by the numbers themselves: it calls a class or a family the worst only where the
# intervals leave no doubt, and says so where the sample is too small to tell. Every number has its
# interval. The distances are those of the best attacks of this book at a price that a laptop can pay, and
# an attack finds an upper bound: the true boundary may be nearer, never farther.
#
# Every axis is measured on the first images of one random order. So a smaller sample is a part of a larger
# one, two networks see the same images, and images that lie in the folder class by class do no harm.
#
# ## Minimal perturbations
#
# The first two axes are those of the first chapters: the shortest perturbation in $\ell_2$, and the
# fewest pixels. Quantiles are over the images that the network has right; in the curves, an image that it
# has wrong is fooled from the start.


# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-card-l2", "caption": "Share of images that stay right within a distance, with the interval of each share."}, "image": {"alt": "Two falling curves with bands, one for each network."}}
def shown(axis: str) -> None:
    """Draw the figure of an axis, where it was measured."""
    if figures.draw(card, axis) is not None:
        plt.show()


shown("l2")

# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-card-sparse", "caption": "Share of images that stay right when at most so many pixels may change."}, "image": {"alt": "Two falling curves with bands against the number of pixels on a logarithmic axis."}}
shown("sparse")

# %% [markdown]
# **How to read it.** Half of the images that the standard network has right are fooled within
# {value}`smoke.l2_median|interval`, and by {value}`smoke.pixels_50|interval` pixels; for the one trained
# under PRIME it takes {value}`smoke.second_l2_median|interval` and
# {value}`smoke.second_pixels_50|interval` pixels. A long distance can be a strength, or an attack that
# failed: gradients may vanish without the boundary being far. The card warns where too many images were
# never fooled.
#
# ## Margins by frequency
#
# The third axis asks where in the spectrum the boundary is near. The dotted *null curve* is where it
# would be if its normal preferred no frequency: below it the network depends on a band more than chance
# would have it, above it less.

# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-card-spectrum", "caption": "Median margin in bands of the discrete cosine transform along the diagonal; dotted, the null curve of each network."}, "image": {"alt": "Two curves of margin against frequency that rise, and two dotted horizontal lines."}}
shown("spectrum")

# %% [markdown]
# **How to read it.** In the highest band the boundary of the standard network is
# {value}`smoke.margin_high_over_low|interval` times as far as in the lowest; under PRIME
# {value}`smoke.second_margin_high_over_low|interval` times.
#
# ## Corruptions
#
# The fourth axis makes the fifteen corruptions of the benchmark from your own images. The mean corruption
# error is in units of AlexNet's where images have the size of ImageNet's and the network its thousand classes,
# and the plain mean elsewhere.

# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-card-corruptions", "caption": "Accuracy under corruptions of four families, by severity."}, "image": {"alt": "Four panels with two falling curves each: noise, blur, weather and digital corruptions."}}
shown("corruptions")

# %% [markdown]
# **How to read it.** Of corrupted images the standard network has {value}`smoke.corruption_accuracy|interval`
# right, and the one trained under PRIME {value}`smoke.second_corruption_accuracy|interval`.
#
# ## Translations, and what crop selection would give
#
# Every shift by up to three pixels is tried, and counted in three ways. *Consistency* is the share of
# shifts that keep the label; an image is *fooled* if a single one changes it; *robust* if it is right
# without a shift and after all of them. Where images are larger than what the network sees, a window
# moves inside them, as a camera does. Where they are not, as here, what enters is mirrored, and the card
# says so: no new content comes in, and numbers of the two kinds do not compare.
#
# The last axis puts the same network behind robust inference by crop selection (RICS): one crop of each
# view, selected by its own pixels, is classified. The network was not trained for crops, so the gain has a
# price, and the card tells both on the same images.

# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-card-translation", "caption": "Three measures of what shifts do, up to one pixel and up to three, with their intervals."}, "image": {"alt": "Rows of horizontal intervals, two to a row, for consistency, share fooled and robust accuracy."}}
shown("translation")

# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-card-rics", "caption": "The same measures for the networks behind crop selection."}, "image": {"alt": "Rows of horizontal intervals, two to a row, for consistency, share fooled and robust accuracy."}}
shown("rics")

# %% [markdown]
# **How to read it.** Some shift by one pixel changes the label of {value}`smoke.fooled_1|interval` of the
# images of the standard network, some shift by up to three that of {value}`smoke.fooled_3|interval`. Behind
# crop selection it is {value}`smoke.rics_fooled_3|interval`; robust accuracy changes by
# {value}`smoke.rics_gain_3|interval`, accuracy without a shift by {value}`smoke.rics_cost|interval`. On
# images as small as these a crop loses much of the content and there are few to select from; on photographs
# the trade is another one.
#
# ## Two networks, pair by pair
#
# Both networks saw the same images, so their difference has an interval of its own. It is narrower than the
# two intervals would suggest where both tend to fail on the same images, as networks mostly do. An exact test goes with it: McNemar's where an outcome is right or wrong, the sign
# test for distances. The p-values are corrected for the number of tests by Holm's method, so that a card
# with many rows does not find something by asking often.

# %% tags=["nbval-ignore-output", "hide-input"]
pairs = pandas.DataFrame({"scalar": []})
if comparison is not None:
    print(comparison.reading)
    pairs = comparison.frame().drop(columns=["axis"])
pairs.set_index("scalar").round(3)

# %% [markdown]
# ## What a budget buys
#
# A card for a large network can take hours. With `--budget` a few passes are timed and the samples chosen
# so that all measurements take about that long. The width of an interval falls with the root of the number
# of images, and an image costs more along some axes than along others. The sum of the squared widths is
# smallest where the numbers are inversely proportional to the root of the cost, which is what the command
# does. For a network whose forward pass takes a millisecond:

# %%
settings = budgets.Settings(classes=(), crop=(28, 28))
rates = budgets.Rates(forward=0.001, backward=0.002, corruption=0.0005, selection=0.001)
passes = budgets.passes_of(report_card.AXES, (3, 32, 32), settings)
costs = {axis: one.seconds(rates) for axis, one in passes.items()}
plans = pandas.DataFrame(
    {
        f"{minutes} min": budgets.plan_samples(costs, available=10_000, minutes=minutes)
        for minutes in (1, 5, 25)
    }
)
plans.rename_axis("axis")

# %%
(100 * plans.map(budgets.half_width)).round(1)

# %% [markdown]
# The second table is what the images buy: half the width of the interval of a share, in points, where it is
# widest. Twenty-five times the time makes an interval five times as narrow, no more.
#
# ## A network of your own
#
# A file with a function is enough. It returns a module for images in $[0, 1]$, with its normalisation
# inside:
#
# ```python
# import torch
#
# from robustkit.models import Normalized
#
#
# def factory():
#     network = torch.nn.Sequential(...)  # yours
#     network.load_state_dict(torch.load("weights.pt", weights_only=True))
#     return Normalized(network, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
# ```
#
# ```bash
# robustkit report my_model.py:factory --data my_images --budget 5 --out card.html
# robustkit report timm:resnet18 --data my_images --compare torchvision:resnet18
# ```
#
# `my_images` holds one folder a class, in alphabetical order as many as the network has outputs: the third
# folder is the third output, so that a folder that is missing would shift all after it. Where the numbers
# differ, the command refuses. Then folders called by the numbers of their outputs, from zero, will do, or a
# file that maps names to numbers, in YAML or JSON:
#
# ```yaml
# # outputs.yml, for --outputs outputs.yml
# goldfish: 1
# tabby: 281
# ```
#
# Images of one size, that of the network, are taken as they are. Larger ones are brought to an eighth more
# than the network sees, so that a window can move inside them; smaller ones are enlarged to what it sees.
# Of a folder with more than two thousand images, or than `--images`, as many are drawn at random, the same
# ones for one seed. The page says all of this. It needs no connection and runs no script, and the record
# beside it has every number of it. Giving a file to `robustkit report` runs it, as importing it would. Files
# and folders of your own are measured again each time; `robustkit run` looks only at what it read the last
# time, and needs `--force` for files that are new.
#
# In a notebook of your own:
#
# ```python
# import robustkit
#
# card = robustkit.report(model, images, labels, budget=5)
# card
# card.scalar("pixels_50")
# card.frame("corruption_families")
# ```
#
# ## Exercises
#
# ```{exercise}
# :label: ex-card-wrong
#
# Make a card of a network whose labels are off by one class. Which axes notice, and which do not?
# ```
#
# ```{solution} ex-card-wrong
# :class: dropdown
#
# Accuracy falls to the few images whose mistake happens to be the shifted label, below guessing, and the
# card says so in its first lines. Corruptions count all images, and accuracy under them falls likewise, as
# does robust accuracy under shifts. Minimal perturbations start from images that are right, of which only
# those few are left: their medians are of a small and odd sample. Margins and the consistency and the share
# fooled under shifts stay what they were: they compare the network with itself. An invariant network need
# not be a good one.
# ```
#
# ```{exercise}
# :label: ex-card-root
#
# One axis costs a hundred times as much an image as another. How do their samples compare for a budget, and
# how would they if both were to have intervals of the same width?
# ```
#
# ```{solution} ex-card-root
# :class: dropdown
#
# Samples are inversely proportional to the root of the cost: ten to one. Equal widths need equal samples,
# and then nearly all of the time goes to the axis that costs more; the other's interval would be
# $\sqrt{10}$ times as wide as necessary, for almost no time saved.
# ```
#
# ## Run it yourself
#
# ```bash
# robustkit run 06_report_card -p seed=1
# robustkit run 06_report_card --profile laptop -p model=robustkit:cifar10_resnet56 -p data=cifar10 -p budget=5
# robustkit report robustkit:cifar10_resnet20 --data cifar10 --images 500 --budget 5
# robustkit report robustkit:cifar10_resnet20 --data cifar10 --compare robustkit:cifar10_resnet56
# ```

# %% tags=["hide-input", "nbval-ignore-output"]
record.finish()
