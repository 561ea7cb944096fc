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
# # All together: what a remedy does to the other weaknesses
#
# **Question.** Each chapter of this book has a weakness of classifiers, and most have a remedy: adversarial
# training moves the boundary away {cite:p}`madry2018towards`, PRIME makes a network hold under corruptions
# {cite:p}`modas2022prime`, the selection of crops makes its answer keep still when the camera moves
# {cite:p}`shifman2024lost`. A remedy is made for one weakness and judged by it. What does it do to the
# *others*?
#
# The thesis ties its parts together by the boundary: where the data leave a network free, the boundary is
# far, and training moves it {cite:p}`modas2022thesis`. Its tables could not be read, and neither work that
# this book accompanies is known to us to fill the table below. So every question here is ours, and nothing
# is reproduced.

# %% tags=["parameters"]
profile: str = "smoke"  # smoke | laptop | paper
seed: int = 0  # of every random choice: networks, training, corruptions, keys of scores
device: str = "auto"  # auto | cpu | cuda
images: int = 0  # at most so many images an axis; 0 takes the profile's
train_images: int = 0  # train on so many images; 0 takes the profile's
photographs: str = ""  # folder of ImageNet photographs; by default nips17 in ROBUSTKIT_HOME

# %% tags=["hide-input"]
import copy
from functools import partial
from pathlib import Path

import numpy as np
import pandas
import scipy.stats
import torch
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator
from torch import nn
from torchvision.transforms import CenterCrop

import robustkit
from robustkit import (
    corruptions,
    data,
    files,
    models,
    plots,
    report_card,
    stats,
    training,
)
from robustkit.augment import Prime
from robustkit.data import patches
from robustkit.pieces import Pieces
from robustkit.records import Record
from robustkit.translation import RICS, CropShift

plots.setup()
if device == "auto":
    device = "cuda" if torch.cuda.is_available() else "cpu"
record = Record(
    "07_conclusions",
    {
        "profile": profile,
        "seed": seed,
        "device": device,
        "images": images,
        "train_images": train_images,
        "photographs": photographs,
    },
)
# A smoke run shows the committed laptop record beside its own results.
laptop = robustkit.records.committed("07_conclusions", "laptop") if profile == "smoke" else None
sources = [record.as_dict()] + [laptop] * (laptop is not None)


def add(columns: dict[str, list], *row) -> None:
    """Append a row to the columns of a table."""
    for column, value in zip(columns.values(), row, strict=True):
        column.append(value)


# %% [markdown]
# ## Three trainings, and a selection in front of each
#
# One network is trained further in three ways, with as many steps on the same images: as usual, under PRIME,
# and on adversarial examples. So the *standard* network below has had its extra steps too, and what differs is
# what it saw in them. Then each of the three is put behind robust inference by crop selection (RICS), which needs
# no training: the network is given the crop that wins by its own pixels, where the plain one is given the middle.
#
# At the smoke profile the network is small and trained here, and with and without the selection it sees as many
# pixels, a part of a larger window. The laptop profile starts from a published ResNet-20; its images are no
# larger than what the network takes, so that there a selected crop also shows less.

# %% tags=["hide-input"]
SETTINGS = {
    "smoke": {
        "dataset": "patches",
        "start": "train small_cnn",
        "before": {"epochs": 10, "learning_rate": 0.3, "batch_size": 64, "weight_decay": 1e-4},
        "training": {"epochs": 5, "learning_rate": 0.2, "batch_size": 64, "weight_decay": 1e-4},
        "adversary": {"radius": 0.5, "steps": 2},
        "train_images": None,
        # What an image is cut to, what the camera sees of it, and what the network sees of that.
        "scene": 54,
        "window": 48,
        "seen": 32,
        "crop": 32,
        "samples": {"l2": 200, "sparse": 32, "spectrum": 20, "translation": 200, "clean": 263},
        "corrupted": 200,
        "severities": (1, 3, 5),
        "preset": "tiny",
        "photographs": {},
    },
    "laptop": {
        "dataset": "cifar10",
        "start": "load cifar10_resnet20",
        "before": {},
        "training": {"epochs": 2, "learning_rate": 0.02, "batch_size": 128, "augment": True},
        "adversary": {"radius": 0.25, "steps": 3},
        "train_images": 8000,
        "scene": 32,
        "window": 32,
        "seen": 32,
        "crop": 28,
        "samples": {"l2": 200, "sparse": 100, "spectrum": 100, "translation": 500, "clean": 500},
        "corrupted": 500,
        "severities": (1, 2, 3, 4, 5),
        "preset": "cifar",
        "photographs": {"MobileNetV2": "imagenet_mobilenet_v2", "images": 150, "severities": (3,)},
    },
    "paper": {
        "dataset": "cifar10",
        "start": "",
        "before": {},
        "training": {},
        "train_images": None,
        "scene": 32,
        "window": 32,
        "seen": 32,
        "crop": 28,
        "samples": {
            "l2": 1000,
            "sparse": 500,
            "spectrum": 500,
            "translation": 10_000,
            "clean": 10_000,
        },
        "corrupted": 10_000,
        "severities": (1, 2, 3, 4, 5),
        "preset": "cifar",
        "photographs": {
            "ResNet-50": "torchvision:resnet50",
            "images": 1000,
            "severities": (1, 3, 5),
        },
    },
}[profile]
SAMPLES = {axis: min(images or count, count) for axis, count in SETTINGS["samples"].items()}
CORRUPTED = min(images or SETTINGS["corrupted"], SETTINGS["corrupted"])
BATCH = 128 if device == "cpu" else 1024
RADIUS = 3
# Networks that are trained are kept, so that after an interruption the run goes on from there.
work = Pieces()
if profile == "paper":
    # Each as its own paper trains, which is not the same number of steps.
    TRAININGS = {
        "standard": training.prime("cifar10", method="standard"),
        "PRIME": training.prime("cifar10"),
        "adversarial": training.hold_me_tight("cifar10", adversarial=True),
    }
else:
    TRAININGS = {
        "standard": {},
        "PRIME": {"transform": Prime()},
        "adversarial": {"adversarial": training.Adversarial(norm=2, **SETTINGS["adversary"])},
    }
train_set = data.load(
    SETTINGS["dataset"],
    "train",
    device=device,
    limit=train_images or SETTINGS["train_images"],
)


def start() -> nn.Module:
    """What all trainings start from: a network trained as usual, a published one, or random."""
    if SETTINGS["start"]:
        return training.obtain(
            SETTINGS["start"], train_set, device=device, seed=seed, **SETTINGS["before"]
        )
    bare = models.build("resnet18", len(train_set.classes), seed=seed)
    return models.Normalized(bare, 0.5, 0.25).eval().to(device)


def further(model: nn.Module, name: str) -> nn.Module:
    """A copy, trained in one of the three ways."""
    model = copy.deepcopy(model).requires_grad_(True)
    options = SETTINGS["training"] | TRAININGS[name]
    training.train_once(model, train_set, once=partial(work.once, name), seed=seed, **options)
    return model.requires_grad_(False)


def scenes_of() -> tuple[torch.Tensor, torch.Tensor]:
    """Scenes cut side by side from the test side of the photographs inside installed packages."""
    found, labels, side = [], [], SETTINGS["scene"]
    for label, name in enumerate(patches.PHOTOGRAPHS):
        pixels = patches.photograph(name)[:, patches.split_column(name) :]
        for top in range(0, pixels.shape[0] - side + 1, side):
            for left in range(0, pixels.shape[1] - side + 1, side):
                part = pixels[top : top + side, left : left + side]
                # Windows without content have no class.
                if part.std() >= patches.FLAT:
                    found.append(torch.from_numpy(part.copy()).permute(2, 0, 1))
                    labels.append(label)
    # In mixed order, so that the first of them are of all classes.
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))
    return torch.stack(found)[order].to(device), torch.tensor(labels)[order].to(device)


def in_front(model: nn.Module, seen: int, crop: int) -> dict[str, nn.Module]:
    """What a network is put behind: the middle of the window, or a selection of crops."""
    return {
        "": nn.Sequential(CenterCrop(seen), model).eval(),
        " + RICS": RICS(model, crop, key=seed).eval(),
    }


if profile == "smoke":
    scenes, answers = scenes_of()
else:
    test_set = data.load(SETTINGS["dataset"], "test", device=device)
    scenes, answers = test_set.images, test_set.labels
first_network = start()
networks = {name: further(first_network, name) for name in TRAININGS}
ways = {
    name: in_front(network, SETTINGS["seen"], SETTINGS["crop"])
    for name, network in networks.items()
}
deployed = {name + how: ways[name][how] for how in ("", " + RICS") for name in ways}
print("networks:", ", ".join(deployed))

# %% [markdown]
# ## Eight axes
#
# The axes are those of the chapters before, by the functions of the report card: accuracy on clean and on
# corrupted images; how far the boundary is, in $\ell_2$, in pixels, and in the lowest and the highest band of
# frequencies; whether the label stays when the window moves. Every axis is measured on the same images for
# all networks.
#
# Behind the selection the distances are left out. It takes images of whole levels alone, which the small steps
# of an attack are not, and what a step does to the choice of the crop no gradient tells: a number by these
# attacks would speak of the attack, not of the network.

# %% tags=["hide-input"]
COLUMNS = {
    "accuracy": "right",
    "corruption_accuracy": "right under\ncorruptions",
    "l2_median": "distance\nin $\\ell_2$",
    "pixels_50": "pixels that\nfool",
    "margin_low": "margin, low\nfrequencies",
    "margin_high": "margin, high\nfrequencies",
    "consistency_1": "label stays,\none pixel",
    "robust_3": "right for all\nshifts up to 3",
}
DISTANCES = ("l2_median", "pixels_50", "margin_low", "margin_high")
# A distance that was not found counts as the longest: no median depends on how long that is.
LONGEST = 3072.0
HOW = {
    "severities": SETTINGS["severities"],
    "preset": SETTINGS["preset"],
    "seed": seed,
    "batch_size": BATCH,
}


def of(axes: tuple[str, ...]) -> dict[str, int]:
    """How many images each of some axes gets."""
    return {axis: SAMPLES[axis] for axis in axes}


def measured(group, near, pictures, truth, seen: int, window: int, samples, corrupted, how):
    """One value an image for every network and axis: {network: {column: values}}, and cards."""
    distances = ("l2", "sparse", "spectrum")
    shared = {"seed": seed, "device": device, "examples": 0}
    cards = {}
    if near:
        cards = report_card.reports(
            near, pictures, truth, size=seen, axes=distances, samples=of(distances), **shared
        )
    moved = report_card.reports(
        group,
        pictures,
        truth,
        size=window,
        axes=("clean", "translation"),
        samples=samples,
        radius=RADIUS,
        **shared,
    )
    views = CropShift(window).base(pictures[:corrupted])
    tables = corruptions.compare_corruptions(group, views, truth[:corrupted], **how)
    outcomes = {}
    for name in group:
        axes = [*moved[name].axes.values(), *(cards[name].axes.values() if name in cards else ())]
        outcomes[name] = {
            column: axis.outcomes[column] for axis in axes for column in axis.outcomes
        }
        shares = corruptions.image_scores(tables[name], severities=how["severities"])
        outcomes[name]["corruption_accuracy"] = shares / 100
    return outcomes, tables, cards


outcomes, tables, cards = measured(
    deployed,
    networks,
    scenes,
    answers,
    SETTINGS["seen"],
    SETTINGS["window"],
    of(("clean", "translation")),
    CORRUPTED,
    HOW,
)

# %% [markdown]
# On CIFAR-10 a window has no room to move in, and what enters is mirrored. The laptop profile therefore adds
# photographs: a published MobileNetV2 on the middle crop of a window, and behind the selection of crops of
# the same size.

# %% tags=["hide-input"]
PHOTOGRAPHS = SETTINGS["photographs"]
folder = Path(photographs) if photographs else files.home() / "nips17"
gallery = {}
if PHOTOGRAPHS and folder.is_dir():
    label, name = next(iter(PHOTOGRAPHS.items()))
    model = models.load(name, device=device).to(memory_format=torch.channels_last)
    count = min(images or PHOTOGRAPHS["images"], PHOTOGRAPHS["images"])
    pictures = data.load(f"imagefolder:{folder}", "test", device=device, limit=count, size=256)
    gallery = {label + how: network for how, network in in_front(model, 224, 224).items()}
    of_photographs, _, _ = measured(
        gallery,
        {},
        pictures.images,
        pictures.labels,
        224,
        248,
        {"clean": count, "translation": count},
        count,
        HOW | {"severities": PHOTOGRAPHS["severities"], "preset": "imagenet", "batch_size": 32},
    )
    outcomes |= of_photographs
elif PHOTOGRAPHS:
    print("no photographs: pass their folder as the parameter photographs")

# %% [markdown]
# ## How networks are compared
#
# Both networks of a pair saw the same images, so they are compared image by image. Of accuracies and labels
# that stay we take the mean difference, in points, and resample the pairs. Of distances we take the *ratio*,
# and its median over the images that both have right, with the interval of its order statistics: half of the
# images are more than so many times as far from the boundary. A test goes with each that asks for what the interval
# shows: McNemar's for right and wrong, the sign test for ratios, and for shares, of corruptions or of shifts, one
# that flips the signs of the differences at random. Holm's method corrects the p-values for the number of all tests
# in this chapter together.


# %%
def flipped(left, right) -> report_card.PairedTest:
    """Whether the mean difference could be one of differences whose signs are random."""
    found = scipy.stats.permutation_test(
        (left - right,),
        np.mean,
        permutation_type="samples",
        n_resamples=19_999,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    above, below = int((left > right).sum()), int((left < right).sum())
    return report_card.PairedTest(float(found.pvalue), above, below, len(left))


def effect(column: str, first: str, second: str) -> tuple[stats.Interval, report_card.PairedTest]:
    """What the first has against the second: points, or for distances times."""
    left, right = outcomes[first][column], outcomes[second][column]
    if column not in DISTANCES:
        binary = all(np.isin(values, (0.0, 1.0)).all() for values in (left, right))
        test = report_card.mcnemar if binary else flipped
        return stats.paired_bootstrap(100 * left, 100 * right, seed=seed), test(left, right)
    # An image that is wrong as it is has no distance to compare.
    count = min(len(left), len(right))
    both = (outcomes[first]["accuracy"][:count] * outcomes[second]["accuracy"][:count]) > 0
    left, right = np.minimum(left, LONGEST)[both], np.minimum(right, LONGEST)[both]
    return stats.median(left / right), report_card.sign_test(left, right)


# %% tags=["hide-input"]
KEYS = {"standard": "standard", "PRIME": "prime", "adversarial": "adversarial"}
reference = next(iter(outcomes))


def pairs_of() -> list[tuple[str, str, str]]:
    """All pairs that are compared: what it is called in the record, first, second."""
    pairs = []
    for name, key in KEYS.items():
        if name != reference:
            pairs.append((key, name, reference))
        # What the selection does to the same network.
        pairs.append((f"rics_{key}", f"{name} + RICS", name))
    return pairs + [("rics_photographs", *reversed(gallery))] * bool(gallery)


def absolute(column: str, name: str) -> stats.Interval:
    """The number of one network by itself."""
    values = outcomes[name][column]
    if column not in DISTANCES:
        return stats.bootstrap(100 * values, seed=seed)
    return stats.median(values[outcomes[name]["accuracy"][: len(values)] > 0])


found = [
    (key, first, second, column, *effect(column, first, second))
    for key, first, second in pairs_of()
    for column in COLUMNS
    if column in outcomes[first] and column in outcomes[second]
]
corrected = report_card.holm([test.p for *_, test in found])
tests = {
    name: []
    for name in (
        *("pair", "first", "second", "column", "effect", "low", "high"),
        *("first larger", "second larger", "images", "p"),
    )
}
for (key, first, second, column, interval, test), p in zip(found, corrected, strict=True):
    unit = "times" if column in DISTANCES else "points"
    record.scalar(
        f"{key}_{column}",
        interval,
        unit="" if unit == "times" else unit,
        count=test.count,
        note=f"p {p:.2g} after Holm's correction",
    )
    ends = (interval.estimate, interval.low, interval.high)
    add(tests, key, first, second, column, *ends, test.first, test.second, test.count, p)
record.table("tests", tests)
alone = {name: [] for name in ("network", "column", "value", "low", "high", "images")}
for name in outcomes:
    for column in COLUMNS:
        if column in outcomes[name]:
            one = absolute(column, name)
            add(alone, name, column, one.estimate, one.low, one.high, one.count)
for column in COLUMNS:
    record.scalar(f"of_standard_{column}", absolute(column, reference))
record.table("alone", alone)

# %% [markdown]
# ## The matrix
#
# {numref}`fig-matrix` has it all in one place: a row for each network, a column for each axis. In the first row of
# a block stand the numbers of the standard network. The rows of the two trainings have what changes against it,
# and those with RICS what the selection changes for the same network.

# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-matrix", "caption": "Networks by axes. The first row of a block has the numbers of the standard network. A row of another training has what changes against the standard network, a row with RICS what changes against the same network without it, image by image, with the interval below: points of a percentage, or times as far. Filled blue with a triangle that points up: more robust, and the test says so after Holm's correction. Filled orange with one that points down: less. Without colour: this sample does not tell. More is better in every column. Above this run and, where there is one, below the laptop record."}, "image": {"alt": "A table of coloured cells with numbers. The rows are networks, the columns axes. In the row of the adversarially trained network the cells of distances are blue; cells of other rows are partly blue, partly orange and partly empty."}}
SIGNS = {1: ("\N{BLACK UP-POINTING TRIANGLE} ", 0), -1: ("\N{BLACK DOWN-POINTING TRIANGLE} ", 1)}


def written(value: float, column: str, *, change: bool) -> str:
    """A number of a cell, in few characters."""
    if column not in DISTANCES:
        number = f"{value:+.1f}" if change else f"{value:.1f}%"
        return number.replace("-", "\N{MINUS SIGN}")
    # Too few images leave an end open.
    number = "\N{INFINITY}" if value == np.inf else f"{max(value, 0):.3g}"
    return f"\N{MULTIPLICATION SIGN}{number}" if change else number


def cell(axes, across: int, height: int, line, column: str, change: bool) -> None:
    """One cell of the matrix: the number, its interval, and by colour and sign what it says."""
    neutral = 1.0 if column in DISTANCES else 0.0
    sign, mark = 0, ""
    if change and line.p < 0.05:
        sign = 1 if line.value > neutral else -1
    if sign:
        mark, place = SIGNS[sign]
        box = plt.Rectangle(
            (across - 0.47, height - 0.44),
            0.94,
            0.88,
            facecolor=plots.COLOURS[place],
            alpha=0.28,
            linewidth=0,
        )
        axes.add_patch(box)
    low, high = (written(end, column, change=False).rstrip("%") for end in (line.low, line.high))
    words = mark + written(line.value, column, change=change)
    axes.text(across, height + 0.13, words, ha="center", va="center", fontsize=11)
    axes.text(
        across,
        height - 0.24,
        f"[{low}, {high}]",
        ha="center",
        va="center",
        fontsize=8,
    )


def draw_matrix(axes, source) -> None:
    """The matrix of one record."""
    values, changes = (robustkit.records.frame(source, name) for name in ("alone", "tests"))
    names = list(dict.fromkeys(values["network"]))
    for height, name in enumerate(reversed(names)):
        own = changes[changes["first"] == name]
        for across, column in enumerate(COLUMNS):
            change = own[own["column"] == column].rename(columns={"effect": "value"})
            value = values[(values["network"] == name) & (values["column"] == column)]
            part = change if len(own) else value
            for line in part.itertuples():
                cell(axes, across, height, line, column, bool(len(own)))
            if part.empty:
                axes.text(
                    across, height, "\N{EN DASH}", ha="center", va="center", color=plots.FAINT
                )
        if not len(own):
            axes.axhline(height - 0.5, color=plots.FAINT, linewidth=1)
            axes.axhline(height + 0.5, color=plots.FAINT, linewidth=1)
    axes.set_xticks(range(len(COLUMNS)), COLUMNS.values(), fontsize=9)
    axes.set_yticks(range(len(names)), names[::-1])
    axes.set(xlim=(-0.5, len(COLUMNS) - 0.5), ylim=(-0.5, len(names) - 0.5))
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    where = "CIFAR-10 and photographs (laptop)" if source is laptop else f"this run ({profile})"
    axes.set_title(where, pad=12)


rows = [len({*source["tables"]["alone"]["network"]}) for source in sources]
figure, stack = plt.subplots(
    len(sources),
    1,
    figsize=(11.0, 0.62 * sum(rows) + 1.1 * len(rows)),
    height_ratios=rows,
    squeeze=False,
)
for axes, source in zip(stack[:, 0], sources, strict=True):
    draw_matrix(axes, source)
plt.show()

# %% [markdown]
# **How to read it.** *Adversarial training* does what it is for: the boundary of this network is
# {value}`smoke.adversarial_l2_median|interval` times as far as that of the standard one, and it takes
# {value}`smoke.adversarial_pixels_50|interval` times as many pixels to fool it, which it was not trained for.
# Accuracy changes by {value}`smoke.adversarial_accuracy|interval` on clean images, and under corruptions it is no remedy:
# {value}`smoke.adversarial_corruption_accuracy|interval`. The share of shifts by a pixel that keep the label
# changes by {value}`smoke.adversarial_consistency_1|interval`.
#
# *PRIME*, after so short a training, changes accuracy under corruptions by
# {value}`smoke.prime_corruption_accuracy|interval` and accuracy on clean images by
# {value}`smoke.prime_accuracy|interval`; chapter 4 trains longer, and the gain is larger than the price there.
# It saw no adversary, and its boundary is {value}`smoke.prime_l2_median|interval` times as far all the same; the
# pixels that fool it are {value}`smoke.prime_pixels_50|interval` times as many. Its consistency under shifts by a
# pixel changes by {value}`smoke.prime_consistency_1|interval`.
#
# The last column counts an image only if it is right without a shift too, so a price in accuracy is seen there
# again. Distances are compared on the images that both networks have right. Where a training costs much accuracy,
# these are the easy ones, and the ratio speaks of them alone.
#
# *RICS* leaves the network as it is. In front of the standard one it changes the share of shifts that keep the
# label by {value}`smoke.rics_standard_consistency_1|interval`, in front of the one trained under PRIME by
# {value}`smoke.rics_prime_consistency_1|interval`; accuracy under corruptions by
# {value}`smoke.rics_standard_corruption_accuracy|interval` and
# {value}`smoke.rics_prime_corruption_accuracy|interval`. A small network that averages over the plane keeps
# most of its labels anyway, {value}`smoke.of_standard_consistency_1|interval` of the shifts, so that there is little
# to repair; chapter 5 shows networks where there is more.
#
# *On CIFAR-10* (laptop record, below) the prices are plainer. Tuned for a short time on adversarial examples, a
# published ResNet-20 has its boundary {value}`laptop.adversarial_l2_median|interval` times as far, on the images
# that both have right, and changes by {value}`laptop.adversarial_accuracy|interval` in accuracy. Under PRIME
# accuracy changes by {value}`laptop.prime_corruption_accuracy|interval` under corruptions and by
# {value}`laptop.prime_accuracy|interval` on clean images. The share of labels that stay under a shift by a pixel
# changes by {value}`laptop.adversarial_consistency_1|interval` and {value}`laptop.prime_consistency_1|interval`.
# RICS has no room in an image of this size: it shows the network a part of it, which changes the accuracy of the
# standard one by {value}`laptop.rics_standard_accuracy|interval`, and by
# {value}`laptop.rics_standard_corruption_accuracy|interval` under corruptions. On photographs, against a middle
# crop of the same size, these are {value}`laptop.rics_photographs_accuracy|interval` and
# {value}`laptop.rics_photographs_corruption_accuracy|interval`, and the share of labels that stay changes by
# {value}`laptop.rics_photographs_consistency_1|interval`.
#
# An interval that holds zero, or for ratios one, does not say that nothing changed: this sample cannot tell. All
# intervals are over images, of *one* network a training. They say nothing of what another seed would give; the
# command at the end of this chapter makes another one.

# %% tags=["nbval-ignore-output", "hide-input"]
table = pandas.DataFrame(tests)
listed = pandas.DataFrame(
    {
        "against": table["second"],
        "what": table["column"].str.replace("_", " "),
        "change": [
            f"{line.effect:.3g} [{line.low:.3g}, {line.high:.3g}]" for line in table.itertuples()
        ],
        "more / less": [
            f"{up} / {down} of {count}"
            for up, down, count in zip(
                table["first larger"], table["second larger"], table["images"], strict=True
            )
        ],
        "p": [f"{p:.2g}" for p in table["p"]],
    }
)
listed.set_index([table["first"], "against"])

# %% [markdown]
# The table has every test: the change with its interval, on how many images the value is more and on how many less
# than that of the network it is compared with, and the corrected p-value.
#
# ## Where the boundary moved
#
# The two trainings move the boundary; is it the same move? {numref}`fig-together-spectra` has the margins
# in narrow bands of frequencies of the three networks on one plot.

# %% tags=["hide-input"]
spectra = {name: [] for name in ("network", "frequency", "median", "low", "high")}
for name, card in cards.items():
    table = card.frame("spectrum")
    for line in table.itertuples():
        add(spectra, name, line.frequency, line.median, line.low, line.high)
record.table("spectra", spectra)
for name, key in KEYS.items():
    record.scalar(f"{key}_high_over_low", cards[name].scalar("margin_high_over_low"))

# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-together-spectra", "caption": "Median distance to the boundary in bands of the discrete cosine transform along the diagonal, from low to high frequencies, with its interval over images. Left: this run; right, where there is one: the laptop record."}, "image": {"alt": "Three curves of margin against frequency on a logarithmic axis. The curve of the standard network is the lowest in most bands; those of the two other trainings lie above it, each most in its own part of the spectrum."}}
figure, row = plt.subplots(1, len(sources), figsize=(5.8 * len(sources), 4.0), squeeze=False)
for axes, source in zip(row[0], sources, strict=True):
    table = robustkit.records.frame(source, "spectra")
    for position, name in enumerate(KEYS):
        part = table[table["network"] == name]
        columns = {"radius": part["frequency"], "share": part["median"]}
        plots.banded_line(
            axes,
            columns | {end: part[end] for end in ("low", "high")},
            label=name,
            position=position,
        )
    axes.set(
        yscale="log",
        xlabel="frequency (cycles a pixel)",
        ylabel="margin",
        title="CIFAR-10 (laptop)" if source is laptop else f"this run ({profile})",
    )
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        ticks("{x:g}")
row[0, 0].legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3)
plt.show()

# %% [markdown]
# **How to read it.** In the lowest band the boundary is {value}`smoke.adversarial_margin_low|interval` times as
# far after adversarial training and {value}`smoke.prime_margin_low|interval` times after PRIME; in the highest
# {value}`smoke.adversarial_margin_high|interval` and {value}`smoke.prime_margin_high|interval` times. Neither was
# told where the boundary is. For the ResNet-20 of chapter 4, PRIME moves the boundary mostly where it was near, at high
# frequencies: {value}`04_corruptions/laptop.margin_low|interval` times in the lowest band and
# {value}`04_corruptions/laptop.margin_high|interval` times in the highest. The small network has its nearest
# boundary at the lowest frequencies instead. On CIFAR-10 (laptop record of this chapter) both trainings
# push most at high frequencies: {value}`laptop.adversarial_margin_low|interval` times in the lowest band and
# {value}`laptop.adversarial_margin_high|interval` times in the highest for the adversarial one, and
# {value}`laptop.prime_margin_low|interval` and {value}`laptop.prime_margin_high|interval` times for PRIME.
#
# ## Does the selection of crops hurt under corruptions?
#
# Noise changes every pixel, and with them the choice of the crop. Does a choice made on spoilt pixels cost
# accuracy on spoilt images? {numref}`fig-rics-corrupted` compares each network with itself behind RICS.

# %% tags=["hide-input"]
families = {name: [] for name in ("network", "family", "points", "low", "high")}


def points_of(name: str, own, severities, names=corruptions.CORRUPTIONS):
    """The accuracy of one network on each image, in percent, over some corruptions."""
    return corruptions.image_scores(own[name], corruptions=names, severities=severities)


for name, key in KEYS.items():
    for family, members in {"all": corruptions.CORRUPTIONS, **corruptions.FAMILIES}.items():
        behind, plain = (
            points_of(which, tables, SETTINGS["severities"], members)
            for which in (f"{name} + RICS", name)
        )
        change = stats.paired_bootstrap(behind, plain, seed=seed)
        if family != "all":
            record.scalar(f"rics_{key}_{family}", change, unit="points")
        add(families, name, family, change.estimate, change.low, change.high)
record.table("families", families)

# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-rics-corrupted", "caption": "What the selection of crops changes in accuracy under corruptions, in points, for the same network with and without it, paired over images. Left: this run; right, where there is one: the laptop record."}, "image": {"alt": "Rows of three horizontal intervals each, for all corruptions and the four families, around a vertical line at zero."}}
figure, row = plt.subplots(1, len(sources), figsize=(5.8 * len(sources), 3.6), squeeze=False)
for axes, source in zip(row[0], sources, strict=True):
    table = robustkit.records.frame(source, "families")
    axes.axvline(0, color=plots.FAINT, linewidth=1)
    for position, name in enumerate(KEYS):
        part = table[table["network"] == name]
        lines = {
            line.family: stats.Interval(line.points, line.low, line.high)
            for line in part.itertuples()
        }
        plots.interval_rows(axes, lines, position=position, offset=0.22 * (1 - position))
        axes.plot([], [], plots.MARKERS[position], color=plots.COLOURS[position], label=name)
    axes.set(
        xlabel="change of accuracy with RICS (points)",
        title="CIFAR-10 (laptop)" if source is laptop else f"this run ({profile})",
    )
row[0, 0].legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
plt.show()

# %% [markdown]
# **How to read it.** On noise the selection changes the accuracy of the standard network by
# {value}`smoke.rics_standard_noise|interval`, of the one trained under PRIME by
# {value}`smoke.rics_prime_noise|interval`, on blur by {value}`smoke.rics_standard_blur|interval` and
# {value}`smoke.rics_prime_blur|interval`. A spoilt image may get another crop than its clean twin, but a crop
# all the same, and here a crop of the selection shows as many pixels as the one in the middle. What the
# selection changes lies in *which* pixels, not in how many.
#
# ## What the book says, together
#
# All of it is about one network for each training.
#
# - *Robustness has more than one axis, and a remedy moves along several.* On CIFAR-10 the PRIME of chapter 4
#   changes accuracy by {value}`04_corruptions/laptop.prime_gain|interval` under corruptions and by
#   {value}`04_corruptions/laptop.prime_clean_gain|interval` on clean images, and its boundary is
#   {value}`04_corruptions/laptop.margin_high|interval` times as far in the highest band.
# - *The two distances do not grow alike.* On CIFAR-10 adversarial training takes the boundary
#   {value}`laptop.adversarial_l2_median|interval` times as far in the norm that it is for, and the number of
#   pixels that fool {value}`laptop.adversarial_pixels_50|interval` times; for the small network of this run it is
#   {value}`smoke.adversarial_l2_median|interval` and {value}`smoke.adversarial_pixels_50|interval` times.
# - *Translations stand apart.* What chapter 5 repairs is no matter of distance: the images that a pixel's shift
#   moves are far away from each other, and a network with a far boundary may well change its answer between
#   them. A remedy in front of the network needs no training, but room to select in: on photographs it costs
#   {value}`05_translation/laptop.rics_hash_cost|interval`, and on images as small as CIFAR-10's it takes more than
#   it gives, whatever the training.
#
# ## What was claimed, and what we measured

# %% tags=["nbval-ignore-output", "hide-input"]
robustkit.claims.compare("07_conclusions", record)

# %% tags=["nbval-ignore-output", "hide-input"]
for claim, verdict in robustkit.claims.verdicts("07_conclusions", record):
    print(f"{verdict.status:>12}  {claim.id}")

# %% [markdown]
# ## What differs from the published code
#
# There is no published code to differ from: neither work compares its remedy on the axes of the others. Its
# pieces differ as their chapters say. Three choices are this chapter's own. The three trainings start from one
# network and take as many steps, where each method is published with a training of its own from the start; the
# paper profile trains as the papers do. PRIME is used without the consistency loss, but for the paper profile.
# And RICS selects by its filter, with one crop; chapter 5 has its other forms.
#
# ## Exercises
#
# ```{exercise}
# :label: ex-conclusions-holm
#
# Of $m$ tests none has anything to find. How probable is at least one false alarm at the level $\alpha$
# without a correction, if they are independent? Show that with Holm's it is at most $\alpha$ even if they are
# not.
# ```
#
# ```{solution} ex-conclusions-holm
# :class: dropdown
#
# Without it $1 - (1 - \alpha)^m$, more than two in three for two dozen tests. Holm's method
# rejects something only if the smallest p-value is at most $\alpha / m$, and the probability of that is at most
# $m \cdot \alpha / m = \alpha$ by the union bound, whatever the dependence.
# ```
#
# ```{exercise}
# :label: ex-conclusions-ratio
#
# The matrix gives the median of the ratio of two distances, not the ratio of their medians. When do the two
# differ, and which of them does the sign test belong to?
# ```
#
# ```{solution} ex-conclusions-ratio
# :class: dropdown
#
# They are the same if one network has all distances $c$ times those of the other, or if the ratio grows with the
# distance. In general they are not: for distances $1, 2, 9$ of one network and $2, 3, 1$ of the other, of the same
# three images, the medians are both $2$ and the median ratio is $2 / 3$. The sign test asks whether the ratio is
# above one for as many images as below, so it belongs to the median of the ratio; the interval by order statistics
# leaves out one where the test rejects, but for ties and for the correction.
# ```
#
# ```{exercise}
# :label: ex-conclusions-both
#
# Train one network on adversarial examples of images under PRIME, and add its row to the matrix.
# ```
#
# ````{solution} ex-conclusions-both
# :class: dropdown
#
# `train` transforms first and attacks then, so both go into one call:
#
# ```python
# from robustkit import augment, data, report_card, training
#
# train_set, test_set = (data.load("patches", split) for split in ("train", "test"))
# attack = training.Adversarial(norm=2, radius=0.5, steps=2)
# options = {"epochs": 5, "learning_rate": 0.3, "batch_size": 64, "transform": augment.Prime()}
# plain, both = (
#     training.obtain("train small_cnn", train_set, adversarial=adversarial, **options)
#     for adversarial in (None, attack)
# )
# cards = report_card.reports(
#     {"PRIME": plain, "PRIME and adversarial": both}, test_set.images, test_set.labels
# )
# print(report_card.compare(*cards.values()).reading)
# ```
# ````
#
# ## Run it yourself
#
# ```bash
# robustkit run 07_conclusions -p seed=1
# robustkit run 07_conclusions --profile laptop
# robustkit run 07_conclusions --profile laptop -p train_images=20000
# ```
#
# On networks of your own:
#
# ```python
# from robustkit import report_card
#
# cards = report_card.reports({"before": before, "after": after}, images, labels, budget=10)
# print(report_card.compare(*cards.values()).frame())
# ```

# %% tags=["hide-input", "nbval-ignore-output"]
record.finish()
