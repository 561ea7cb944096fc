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
# # Decision boundaries and minimal perturbations
#
# **Claim.** A deep network can classify photographs almost perfectly and still keep its decision
# boundary so close to every one of them that a change no one can see carries the image across.
# The distance to the boundary can be measured, quickly and for thousands of images at once, with
# DeepFool {cite:p}`moosavi2016deepfool`; training on worst-case images pushes the boundary away
# {cite:p}`madry2018towards`. Everything else in this book builds on that one measurement.

# %% tags=["parameters"]
profile: str = "smoke"  # smoke | laptop | paper
seed: int = 0  # of every random choice: networks, sample of images, noise
device: str = "auto"  # auto | cpu | cuda
network: str = ""  # measure this published network instead of the profile's, on its own test set
images: int = 0  # number of test images to measure; 0 takes the profile's

# %%
import math

import pandas
import torch
from matplotlib import pyplot as plt
from torch import nn

import robustkit
from robustkit import attacks, data, models, plots, stats, training
from robustkit.records import Record

plots.setup()
if device == "auto":
    device = "cuda" if torch.cuda.is_available() else "cpu"
record = Record(
    "01_preliminaries",
    {"profile": profile, "seed": seed, "device": device, "network": network, "images": images},
)

# %% [markdown]
# ## The smallest change that matters
#
# A classifier $f$ gives an image $x$ one score a class and answers with the largest,
# $\hat k(x) = \arg\max_k f_k(x)$. Where the answer changes lies the *decision boundary*. The
# *minimal perturbation* of $x$ is the shortest step across it,
#
# $$
# r^\ast(x) = \arg\min_r \|r\|_p \quad \text{subject to} \quad \hat k(x + r) \neq \hat k(x),
# $$ (eq-minimal)
#
# and its length is how robust the classifier is at $x$. We measure it with $p = 2$ (many pixels
# change a little) and $p = \infty$ (no pixel changes by more than a given amount).
#
# **When $f$ is affine**, $f_k(x) = w_k^\top x + b_k$, the boundary is made of flat pieces, and the
# nearest one has a closed form ({cite:t}`moosavi2016deepfool`, equation 9):
#
# $$
# \|r^\ast(x)\|_2 = \min_{k \neq \hat k(x)}
# \frac{f_{\hat k(x)}(x) - f_k(x)}{\|w_k - w_{\hat k(x)}\|_2} .
# $$ (eq-affine)
#
# **When $f$ is deep**, DeepFool replaces it by its tangent at the current point, takes the step
# that {eq}`eq-affine` gives for the tangent, and repeats until the label changes. On one image the
# whole method is a few lines:


# %%
def deepfool_by_hand(model, x, steps=50, overshoot=0.02):
    """The published algorithm for one image, as plainly as it can be written."""
    label = model(x[None]).argmax().item()
    r = torch.zeros_like(x)
    for step in range(steps):
        point = (x + (1 + overshoot) * r).requires_grad_()
        scores = model(point[None])[0]
        if scores.argmax() != label:
            return point.detach(), step
        gradients = [torch.autograd.grad(s, point, retain_graph=True)[0] for s in scores]
        rivals = [k for k in range(len(scores)) if k != label]
        normals = {k: gradients[k] - gradients[label] for k in rivals}
        gaps = {k: (scores[label] - scores[k]).item() for k in rivals}
        nearest = min(rivals, key=lambda k: gaps[k] / normals[k].norm().item())
        r = r + gaps[nearest] / normals[nearest].norm() ** 2 * normals[nearest]
    return point.detach(), steps


# %% [markdown]
# The package does the same for a whole batch at a time, on any device, and keeps count of what it
# spent. On an affine classifier both must agree with the closed form, in one step:

# %%
generator = torch.Generator().manual_seed(seed)
affine = nn.Linear(784, 10, dtype=torch.float64).eval()
with torch.no_grad():
    affine.weight.copy_(torch.randn(10, 784, generator=generator, dtype=torch.float64))
    affine.bias.copy_(torch.randn(10, generator=generator, dtype=torch.float64))
points = torch.randn(200, 784, generator=generator, dtype=torch.float64)

with torch.no_grad():
    scores = affine(points)
    best = scores.argmax(1)
    normal_lengths = (affine.weight[None] - affine.weight[best][:, None]).norm(dim=2)
    distances = (scores.gather(1, best[:, None]) - scores) / normal_lengths
    closed_form = distances.scatter(1, best[:, None], math.inf).amin(1)

found = attacks.deepfool(affine, points, bounds=None, overshoot=1e-6)
by_hand, steps_by_hand = deepfool_by_hand(affine, points[0], overshoot=1e-6)
affine_ratio = (found.distance(2) / closed_form).max().item()
ratio_by_hand = ((by_hand - points[0]).norm() / closed_form[0]).item()
print("images fooled:", int(found.success.sum()), "of", len(points))
print("iterations:", found.iterations.unique().tolist(), "and by hand:", steps_by_hand)
print("distance by hand / closed form:", f"{ratio_by_hand:.4f}")
print("largest distance / closed form:", f"{affine_ratio:.4f}")
print("backward passes for the whole batch:", found.backward_calls)
record.scalar("affine_ratio", affine_ratio, count=len(points))
record.scalar("affine_iterations", float(found.iterations.max()), count=len(points))

# %% [markdown]
# ## What it looks like in the plane
#
# Three classes that wind around each other, an affine classifier and a small network. In the plane
# the truth can be had by brute force: look along every direction until the label changes.


# %% tags=["hide-input"]
def winding_classes(count: int, generator: torch.Generator):
    """Three arms of a spiral in [-1, 1]^2: points (3 * count, 2) and labels."""
    radius = 0.15 + 0.8 * torch.rand(3 * count, generator=generator)
    label = torch.arange(3).repeat_interleave(count)
    angle = 2 * math.pi * label / 3 + 4.0 * radius
    angle = angle + 0.25 * torch.randn(3 * count, generator=generator)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1), label


def fit(model: nn.Module, points: torch.Tensor, labels: torch.Tensor, steps: int = 400):
    """Full-batch Adam: enough for a toy in the plane."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(points), labels).backward()
        optimiser.step()
    return model.eval()


def nearest_by_brute_force(model: nn.Module, points: torch.Tensor) -> torch.Tensor:
    """Distance to the boundary along 360 directions, found on a grid and halved 20 times."""
    angles = torch.linspace(0, 2 * math.pi, 361)[:-1]
    rays = torch.stack([angles.cos(), angles.sin()], dim=1)
    lengths = torch.linspace(0, 1.5, 301)[1:]
    nearest = []
    with torch.no_grad():
        for x in points:
            label = model(x[None]).argmax()
            grid = x + lengths[None, :, None] * rays[:, None, :]
            crossed = model(grid.flatten(0, 1)).argmax(1).reshape(len(rays), -1) != label
            first = torch.where(crossed.any(1), crossed.float().argmax(1), len(lengths) - 1)
            high, low = lengths[first], lengths[first] - lengths[0]
            for _ in range(20):
                middle = (low + high) / 2
                over = model(x + middle[:, None] * rays).argmax(1) != label
                high, low = torch.where(over, middle, high), torch.where(over, low, middle)
            nearest.append(high[crossed.any(1)].min())
    return torch.stack(nearest)


with torch.random.fork_rng():
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    plane_points, plane_labels = winding_classes(150, generator)
    straight = fit(nn.Linear(2, 3), plane_points, plane_labels)
    layers = [nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3)]
    curved = fit(nn.Sequential(*layers), plane_points, plane_labels)

truth = {"affine": straight, "deep": curved}
observed = plane_points[:: len(plane_points) // 60]
plane_ratios = {}
for name, model in truth.items():
    reached = attacks.deepfool(model, observed, bounds=None, bisection=20)
    plane_ratios[name] = reached.distance(2) / nearest_by_brute_force(model, observed)
    record.scalar(f"plane_{name}_ratio", stats.median(plane_ratios[name].tolist()))

# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-plane", "caption": "Class regions of an affine classifier (left) and of a small network (right). From five points (dots) the grey line is the path of DeepFool, the cross its result after halving back to the boundary, and the dotted circle has the true distance as its radius, found by brute force. On the left the path is one step and the cross lies on the circle. On the right the tangent at the point is not the boundary: the path can bend and overshoot, and the cross may lie outside the circle."}, "image": {"alt": "Two panels with three coloured class regions. On the left the regions are wedges with straight borders, on the right they wind around each other. From each of five points a line leads to a nearby border, near or on a circle drawn around the point."}}
figure, panels = plt.subplots(1, 2, figsize=(9, 4.5))
shown = plane_points[[20, 75, 190, 330, 420]]
for axes, (name, model) in zip(panels, truth.items(), strict=True):
    plots.decision_regions(axes, lambda grid, m=model: m(grid).argmax(1), (-1.1, 1.1, -1.1, 1.1))
    radii = nearest_by_brute_force(model, shown)
    results = [attacks.deepfool(model, shown, bounds=None, steps=steps) for steps in range(1, 7)]
    paths = torch.stack([shown, *(result.adversarial for result in results)])
    ends = attacks.deepfool(model, shown, bounds=None, bisection=20).adversarial
    for path, end, radius in zip(paths.unbind(1), ends, radii, strict=True):
        axes.plot(*path.T, marker=".", color=plots.FAINT, linewidth=1, markersize=4)
        axes.plot(*path[0], marker="o", color=plots.INK, markersize=5)
        axes.plot(*end, marker="x", color=plots.INK, markersize=9, markeredgewidth=2)
        circle = plt.Circle(path[0], radius.item(), fill=False, color=plots.INK, linestyle=":")
        axes.add_patch(circle)
    axes.set(title=f"{name} classifier", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# **How to read it.** {numref}`fig-plane`: DeepFool is exact on the left, and on the right it gives
# an *upper bound*: it finds a point on the boundary, not provably the closest. How loose is it?
# Over the points of the toy, the median of (DeepFool's distance) / (true distance) is
# {value}`smoke.plane_deep_ratio|interval` for the network. The last step, halving the segment back
# towards the image, matters: without it the overshoot stays in the number.

# %% [markdown]
# ## Images
#
# Now the same on photographs. At the smoke profile the data are patches of photographs that come
# with scientific Python packages, and two small networks are trained here: a *standard* one, and an
# *adversarially trained* one, which during training sees, in place of each image, the worst image
# that projected gradient descent (PGD) finds within a given distance
# {cite:p}`madry2018towards`. The larger profiles measure CIFAR-10 and MNIST: the laptop profile
# published networks, the paper profile also networks that it trains.

# %% tags=["hide-input"]
SETTINGS = {
    "smoke": {
        "dataset": "patches",
        "images": 160,
        "networks": {"standard": "train small_cnn", "adversarial": "train small_cnn"},
        "training": {"epochs": 10, "learning_rate": 0.3, "batch_size": 64, "augment": True},
        "train_images": None,
        "adversary": {"radius": 0.5, "steps": 2},
    },
    "laptop": {
        "dataset": "cifar10",
        "images": 500,
        "networks": {
            "standard": "load cifar10_resnet20",
            "adversarial": "tune cifar10_resnet20",
            "deeper": "load cifar10_resnet56",
            "lenet": "load mnist_lenet5",
            "lenet_adversarial": "load mnist_lenet5_adversarial",
        },
        "training": {"epochs": 1, "learning_rate": 0.01, "augment": True},
        "train_images": 25000,
        "adversary": {"radius": 0.5, "steps": 3},
    },
    "paper": {
        "dataset": "cifar10",
        "images": 10000,
        "networks": {
            "standard": "train resnet18",
            "adversarial": "train resnet18",
            "deeper": "load cifar10_resnet56",
            "lenet": "load mnist_lenet5",
            "lenet_adversarial": "load mnist_lenet5_adversarial",
        },
        "training": {"epochs": 30, "learning_rate": 0.2, "augment": True},
        "train_images": None,
        "adversary": {"radius": 1.0, "steps": 7},
    },
}[profile]
if network:
    SETTINGS["dataset"] = models.card(network).dataset
    SETTINGS["networks"] = {"given": f"load {network}"}
adversary = training.Adversarial(norm=2, **SETTINGS["adversary"])


def prepare(role: str, recipe: str) -> nn.Module:
    """Load a published network, train one from scratch, or tune a published one adversarially."""
    trains = not recipe.startswith("load")
    return training.obtain(
        recipe,
        data.load(SETTINGS["dataset"], "train", device=device, limit=SETTINGS["train_images"])
        if trains
        else None,
        device=device,
        seed=seed,
        nesterov=True,
        adversarial=adversary if role == "adversarial" else None,
        **SETTINGS["training"],
    )


NAMES = {
    "adversarial": "adversarially trained",
    "lenet": "LeNet (MNIST)",
    "lenet_adversarial": "LeNet (MNIST), trained",
}
networks = {role: prepare(role, recipe) for role, recipe in SETTINGS["networks"].items()}
samples = {
    role: data.load(
        "mnist" if "mnist" in recipe else SETTINGS["dataset"],
        "test",
        device=device,
    )
    for role, recipe in SETTINGS["networks"].items()
}

# %% [markdown]
# One call measures a sample. `bisection` halves the last step back towards the image until the
# point sits on the boundary; `bounds` (by default $[0, 1]$) keeps the result an image. The median is
# over the images that the network gets right; in the curves below, one that it gets wrong as it is
# has distance zero.


# %%
def measure(role: str) -> dict[str, attacks.AttackResult]:
    """Distances of the first images of the test set in both norms, kept in the record."""
    model, sample = networks[role], samples[role]
    right = training.evaluate(model, sample)
    record.scalar(f"{role}_accuracy", stats.wilson(right.correct, right.count))
    # What a publisher states is about this very test set, where there is nothing to estimate.
    record.scalar(f"{role}_test_set", right.correct / right.count, count=right.count)
    count = min(images or SETTINGS["images"], len(sample))
    pixels, labels = data.to_float(sample.images[:count]), sample.labels[:count]
    results = {}
    for norm in (2, "inf"):
        found = attacks.deepfool(model, pixels, labels, norm=norm, bisection=8)
        # An image that is wrong as it is has no distance; one that no step fooled is infinitely far.
        distance = found.distance(norm)[found.attacked]
        record.scalar(f"{role}_l{norm}_median", stats.median(distance.tolist()))
        record.scalar(f"{role}_l{norm}_fooled", stats.wilson(int(found.success.sum()), count))
        steps = found.iterations[found.attacked].double()
        record.scalar(f"{role}_l{norm}_iterations", stats.bootstrap(steps.tolist(), seed=seed))
        results[norm] = found
    return results


measured = {role: measure(role) for role in networks}
print("networks:", ", ".join(measured))
print(
    "all images fooled:", all(bool(r.success.all()) for m in measured.values() for r in m.values())
)


# %% tags=["nbval-ignore-output", "hide-input"]
def summary() -> pandas.DataFrame:
    """Accuracy and median distances, with 95% intervals, one row a network."""
    rows = {}
    for role, recipe in SETTINGS["networks"].items():
        cells = {"made by": recipe, "accuracy": record.scalars[f"{role}_accuracy"]}
        cells["median l2"] = record.scalars[f"{role}_l2_median"]
        cells["median linf"] = record.scalars[f"{role}_linf_median"]
        rows[role] = {
            key: cell
            if isinstance(cell, str)
            else f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]"
            for key, cell in cells.items()
        }
    return pandas.DataFrame(rows).T


summary()

# %% [markdown]
# What a minimal perturbation looks like, for five images that both networks get right. The
# perturbations are scaled to fill the grey range: at their true size, in the last row, they are
# hard to see.


# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-images", "caption": "Five images, the minimal perturbation of the standard network and of the adversarially trained one (each scaled to fill the range; grey is no change), and the image that fools the standard network, at its true contrast. Over each column: the true class, and what the standard network says of the last row. Each image is a typical one: its distance is the median of its class."}, "image": {"alt": "Grid of small pictures, one column an image. First row: the images. Second and third row: coloured patterns, some following the outlines of the image. Last row: pictures that can hardly be told from the first row."}}
def scaled(perturbation: torch.Tensor) -> torch.Tensor:
    """Map a batch of perturbations to [0, 1], zero to grey, the largest change to an end."""
    return 0.5 + 0.5 * perturbation / perturbation.abs().amax((1, 2, 3), keepdim=True)


reference = "standard" if "standard" in measured else next(iter(measured))
other = "adversarial" if "adversarial" in measured else reference
first, second = measured[reference][2], measured[other][2]
both = first.attacked & second.attacked
chosen = []
for label in first.labels[both].unique()[:5]:
    rows = (both & (first.labels == label)).nonzero().flatten()
    chosen.append(rows[first.distance(2)[rows].argsort()[len(rows) // 2]])
chosen = torch.stack(chosen)
classes = samples[reference].classes
titles = [
    f"{classes[first.labels[i]]}\n\N{RIGHTWARDS ARROW} {classes[first.predictions[i]]}"
    for i in chosen.tolist()
]
rows = {
    "image": first.images[chosen],
    "perturbation": scaled(first.perturbation[chosen]),
    "perturbation\n(trained)": scaled(second.perturbation[chosen]),
    "fools the\nnetwork": first.adversarial[chosen],
}
if other == reference:
    del rows["perturbation\n(trained)"]
plots.image_grid(
    rows,
    titles,
)
plt.show()

# %% [markdown]
# ## How far is the boundary?
#
# One distance an image gives the whole curve at once: the share of images still classified
# correctly when an adversary may move each by at most a radius. The median is where the curve of
# the correctly classified images crosses one half.

# %% tags=["hide-input"]
curves: dict[str, list] = {"role": [], "norm": [], "radius": [], "share": [], "low": [], "high": []}


def draw_curves(panels, curves_of: dict[str, attacks.AttackResult], norm, title: str) -> None:
    """Draw one curve a network and keep its points for the record."""
    ends = [result.distance(norm) for result in curves_of.values()]
    finite = torch.cat([end[end.isfinite()].cpu() for end in ends])
    end = float(finite.quantile(0.98)) if len(finite) else 1.0
    radii = [end * i / 80 for i in range(81)]
    for position, (role, distances) in enumerate(zip(curves_of, ends, strict=True)):
        columns = plots.robustness_curve(
            panels, distances.cpu(), label=NAMES.get(role, role), position=position, radii=radii
        )
        curves["role"] += [role] * len(radii)
        curves["norm"] += [str(norm)] * len(radii)
        for name, values in columns.items():
            curves[name] += values
    panels.set(title=title)


# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-curves", "caption": "Share of test images that stay correctly classified when every image may be moved by at most the radius, for the networks of this run, in the two norms. Bands are 95% intervals. At radius zero the curve is the accuracy on these images. Adversarial training lowers the curve there and lifts it beyond the radius at which the curves cross."}, "image": {"alt": "Two panels of falling curves, one a network. In both, the curve of the standard network drops to zero at a small radius while that of the adversarially trained network falls much more slowly."}}
colour_set = {role: m for role, m in measured.items() if not role.startswith("lenet")}
figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
for axes, norm, title in zip(panels, (2, "inf"), ("$\\ell_2$", "$\\ell_\\infty$"), strict=True):
    draw_curves(axes, {role: m[norm] for role, m in colour_set.items()}, norm, title)
    axes.set_xlabel("radius")
panels[0].set_ylabel("correctly classified")
panels[1].legend()
plt.show()

# %%
record.table("curves", curves)
if "deeper" in measured:
    shallow, deep = measured["standard"][2], measured["deeper"][2]
    shared = shallow.attacked & deep.attacked
    record.scalar(
        "deeper_minus_standard_l2",
        stats.paired_bootstrap(
            deep.distance(2)[shared].tolist(),
            shallow.distance(2)[shared].tolist(),
            "median",
            seed=seed,
        ),
    )

# %% [markdown]
# **How to read it.** {numref}`fig-curves` on the networks trained in this run: the standard one has
# a median distance of {value}`smoke.standard_l2_median|interval` in $\ell_2$, the adversarially
# trained one {value}`smoke.adversarial_l2_median|interval`. On the real CIFAR-10 test set
# ({numref}`fig-laptop`), with published weights, the same code measures
# {value}`laptop.standard_l2_median|interval` for ResNet-20 and
# {value}`laptop.deeper_l2_median|interval` for ResNet-56. On the images that both get right, the
# distance of ResNet-56 is longer by {value}`laptop.deeper_minus_standard_l2|interval` (difference of
# the medians): more accurate, and its boundary only a little farther. One pass of adversarial
# training over half of the training set moves the boundary of ResNet-20 several times as far, to
# {value}`laptop.adversarial_l2_median|interval`. The network pays in accuracy, which goes from
# {value}`laptop.standard_accuracy|interval` to {value}`laptop.adversarial_accuracy|interval`.

# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-laptop", "caption": "The same curves from the committed record of the laptop profile: the CIFAR-10 test set and published ResNets, before and after a short adversarial training."}, "image": {"alt": "Two panels of falling curves on CIFAR-10. ResNet-20 and the deeper ResNet-56 fall steeply and close to each other; the adversarially trained ResNet-20 starts lower and falls much later."}}
laptop = robustkit.records.committed("01_preliminaries", "laptop") if profile == "smoke" else None
names = {"standard": "ResNet-20", "adversarial": "ResNet-20, trained", "deeper": "ResNet-56"}
if laptop is not None:
    figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
    points = robustkit.records.frame(laptop, "curves")
    for axes, norm, title in zip(
        panels, ("2", "inf"), ("$\\ell_2$", "$\\ell_\\infty$"), strict=True
    ):
        for position, (role, name) in enumerate(names.items()):
            line = points[(points["role"] == role) & (points["norm"] == norm)]
            plots.banded_line(axes, line, label=name, position=position)
        axes.set(title=title, xlabel="radius", ylim=(0, 1), xlim=(0, line["radius"].max()))
    panels[0].set_ylabel("correctly classified")
    panels[1].legend()
    plt.show()

# %% [markdown]
# ## Is the shortest way special?
#
# Go as far in a *random* direction and the label stays. The boundary is near in very few directions,
# and DeepFool finds one of them. (The noise is not clipped, so that its length is what it says.)


# %% tags=["hide-input"]
def fooled_by_noise(role: str, factor: float) -> stats.Interval:
    """Share of images that noise of `factor` times their own minimal length fools."""
    found = measured[role][2]
    rows = found.attacked & found.success
    noise = robustkit.rng.normal(seed, "noise", rows.nonzero().flatten(), found.images.shape[1:])
    lengths = factor * found.distance(2)[rows]
    noise = noise * (lengths / noise.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    with torch.no_grad():
        parts = (found.images[rows] + noise).split(256)
        answers = torch.cat([networks[role](part).argmax(1) for part in parts])
    return stats.wilson(int((answers != found.labels[rows]).sum()), int(rows.sum()))


factors = [1.0, 2.0, 4.0, 8.0, 16.0]
noise = {role: [fooled_by_noise(role, factor) for factor in factors] for role in measured}
for role, shares in noise.items():
    record.scalar(f"{role}_noise_fooled", shares[0])
record.table(
    "noise",
    {
        "role": [role for role in noise for _ in factors],
        "factor": factors * len(noise),
        "share": [share.estimate for shares in noise.values() for share in shares],
        "low": [share.low for shares in noise.values() for share in shares],
        "high": [share.high for shares in noise.values() for share in shares],
    },
)

# %% tags=["nbval-ignore-output", "hide-input"] mystnb={"figure": {"name": "fig-noise", "caption": "Share of images fooled by noise in a random direction, against its length in units of the image's own minimal perturbation. The minimal perturbation itself fools every image, by definition, at one."}, "image": {"alt": "Curves that stay near zero at one and rise slowly: noise must be several times longer than the minimal perturbation before it fools a large share of the images."}}
figure, axes = plt.subplots(figsize=(6, 3.6))
for position, (role, shares) in enumerate(noise.items()):
    plots.banded_line(
        axes,
        {
            "radius": factors,
            "share": [share.estimate for share in shares],
            "low": [share.low for share in shares],
            "high": [share.high for share in shares],
        },
        label=NAMES.get(role, role),
        position=position,
    )
axes.set_xscale("log", base=2)
axes.set_xticks(factors, [f"{factor:g}x" for factor in factors])
axes.set(xlabel="length, in minimal perturbations", ylabel="fooled by noise", ylim=(0, 1))
axes.legend(loc="upper left")
plt.show()

# %% [markdown]
# ## Is the distance right? A second opinion
#
# DeepFool's distance is an upper bound, and a network can make it look large by hiding its
# gradients. PGD asks the opposite question: *within this radius, is there an image that fools?*
# If PGD fools many more images at a radius than DeepFool found within it, DeepFool was too
# optimistic about the network. The two are compared at each network's own median distance, and the
# smaller robust accuracy is the one to believe.

# %%
second_opinion: dict[str, list] = {"role": [], "deepfool": [], "pgd": [], "either": []}
for role in measured:
    found = measured[role][2]
    radius = float(record.value(f"{role}_l2_median"))
    if not math.isfinite(radius):
        continue
    attacked = attacks.pgd(
        networks[role], found.images, found.labels, norm=2, radius=radius, steps=20, seed=seed
    )
    near = found.success & (found.distance(2) <= radius)
    second_opinion["role"].append(role)
    for name, fooled in {
        "deepfool": near,
        "pgd": attacked.success,
        "either": near | attacked.success,
    }.items():
        second_opinion[name].append(1 - float(fooled.double().mean()))
    record.scalar(
        f"{role}_pgd_gap",
        stats.paired_bootstrap(
            attacked.success.double().tolist(), near.double().tolist(), seed=seed
        ),
        note="share fooled by PGD minus share fooled by DeepFool at DeepFool's median distance",
    )
record.table("second_opinion", second_opinion)

# %% tags=["nbval-ignore-output", "hide-input"]
pandas.DataFrame(second_opinion).set_index("role").rename_axis("robust accuracy by").round(3)

# %% [markdown]
# **How to read it.** The gap is the share that PGD fools minus the share that DeepFool fools, both
# within DeepFool's median distance. In this run it is {value}`smoke.standard_pgd_gap|interval` for
# the standard network and {value}`smoke.adversarial_pgd_gap|interval` for the trained one: the two
# methods agree. At the laptop profile it is {value}`laptop.standard_pgd_gap|interval` for ResNet-20
# {value}`laptop.deeper_pgd_gap|interval` for ResNet-56 and {value}`laptop.lenet_pgd_gap|interval` for
# LeNet: their true distances are somewhat shorter than DeepFool's. For the LeNet that was adversarially trained on MNIST it is
# {value}`laptop.lenet_adversarial_pgd_gap|interval`. That network was trained against $\ell_\infty$
# perturbations, its gradients mislead, and DeepFool's $\ell_2$ distance for it,
# {value}`laptop.lenet_adversarial_l2_median|interval`, is no distance to the boundary at all. A
# single attack would have called it the most robust network of this chapter.

# %% [markdown]
# ## Against the published numbers
#
# {cite:t}`moosavi2016deepfool` report the average of $\|r\|_2 / \|x\|_2$ over the test set (their
# Table 1), the same in $\ell_\infty$ (Table 2), and the fast gradient sign method beside it, at the
# smallest step that fools nine images of ten (no number where no step does). They use no box and no
# bisection, so neither do we here.


# %% tags=["hide-input"]
def fast_gradient_sign(model, pixels, labels, share=0.9):
    """Perturb along the sign of the gradient by the smallest step that fools `share`, if any does."""

    def attacked(step: float) -> attacks.AttackResult:
        settings = {"steps": 1, "step_size": step, "random_start": False, "early_stop": False}
        return attacks.pgd(model, pixels, labels, norm="inf", radius=step, bounds=None, **settings)

    # The share is not monotone in the step, so the first step that reaches it is looked for.
    for step in torch.logspace(-3, 0, 31).tolist():
        found = attacked(step)
        if found.success.double().mean() >= share:
            return found.perturbation
    return None


def relative_length(perturbation, pixels, norm):
    """Mean over images of the norm of the perturbation over the norm of the image."""
    order = float("inf") if norm == "inf" else norm
    lengths = perturbation.flatten(1).norm(order, dim=1) / pixels.flatten(1).norm(order, dim=1)
    return stats.bootstrap(lengths.tolist(), seed=seed)


published: dict[str, list] = {
    "role": [],
    "DeepFool l2": [],
    "gradient sign l2": [],
    "DeepFool linf": [],
}
for role in measured:
    pixels, model = measured[role][2].images, networks[role]
    answers = training.predict(model, pixels)
    plain = {norm: attacks.deepfool(model, pixels, norm=norm, bounds=None) for norm in (2, "inf")}
    signs = fast_gradient_sign(model, pixels, answers)
    values = {
        "l2": relative_length(plain[2].perturbation, pixels, 2),
        "linf": relative_length(plain["inf"].perturbation, pixels, "inf"),
    }
    if signs is not None:
        values["sign"] = relative_length(signs, pixels, 2)
        record.scalar(f"{role}_sign_ratio", values["sign"].estimate / values["l2"].estimate)
    for name, value in values.items():
        record.scalar(f"{role}_relative_{name}", value)
    iterations = stats.bootstrap(plain[2].iterations.double().tolist(), seed=seed)
    record.scalar(f"{role}_published_iterations", iterations)
    published["role"].append(role)
    published["DeepFool l2"].append(values["l2"].estimate)
    published["gradient sign l2"].append(values["sign"].estimate if signs is not None else None)
    published["DeepFool linf"].append(values["linf"].estimate)
record.table("published", published)

# %% tags=["nbval-ignore-output", "hide-input"]
pandas.DataFrame(published).set_index("role").rename_axis("mean relative length").round(4)

# %% [markdown]
# ## What was claimed, and what we measured

# %% tags=["nbval-ignore-output", "hide-input"]
robustkit.claims.compare("01_preliminaries", record)

# %% tags=["hide-input"]
for claim, verdict in robustkit.claims.verdicts("01_preliminaries", record):
    print(f"{verdict.status:>12}  {claim.id}")

# %% [markdown]
# ## What differs from the published code
#
# - **The box.** The published DeepFool ignores that pixels have a range. By default ours solves each
#   step inside the box exactly: the shortest step to the tangent's boundary that keeps every pixel
#   in $[0, 1]$. `bounds=None` lets pixels go anywhere, as published.
# - **The last step.** The published code returns the point beyond the boundary, overshoot included.
#   `bisection=k` halves the segment back to the image $k$ times and keeps the fooling side.
# - **The shortest step.** The published code adds a ten-thousandth to every step, whatever the
#   scale of the image, so that rounding cannot stall it. We lengthen a step by the rounding error of
#   its own numbers instead; the distances differ only for images that sit almost on the boundary,
#   which is why there is no switch for the old behaviour.
# - **Counting.** Success is decided by a fresh pass over the returned image. An image that was not
#   fooled counts as infinitely far, and the median says so when too many are.
# - **The batch.** All images advance together and leave when they are done. A step costs one
#   backward pass for each rival class and chunk of images, however many images there are in it.
#
# ## Exercises
#
# ```{exercise}
# :label: ex-affine
#
# Show that for an affine classifier the nearest class in $\ell_\infty$ minimises
# $(f_{\hat k} - f_k) / \|w_k - w_{\hat k}\|_1$. Why the other norm?
# ```
#
# ```{solution} ex-affine
# :class: dropdown
#
# The change of $f_k - f_{\hat k}$ under $r$ is $(w_k - w_{\hat k})^\top r$, and by Hölder's inequality
# it is at most $\|w_k - w_{\hat k}\|_1 \|r\|_\infty$, with equality for $r$ proportional to the sign
# of $w_k - w_{\hat k}$. The gap is closed as soon as that product reaches it.
# ```
#
# ```{exercise}
# :label: ex-upper
#
# DeepFool's distance is an upper bound. Write a model for which it is several times too large, and
# check with `attacks.pgd` that the second opinion notices.
# ```
#
# ````{solution} ex-upper
# :class: dropdown
#
# Let one coordinate lead to a cliff that is near but flat at the image, and another to a boundary
# that is far but visible in the gradient:
#
# ```python
# class Cliff(torch.nn.Module):
#     def forward(self, x):
#         near = torch.tanh(50 * (x[:, 0] - 0.1)) + 1  # no slope at zero, a cliff at 0.1
#         score = near + x[:, 1] - 1
#         return torch.stack([-score, score], dim=1)
#
# x = torch.zeros(1, 2)
# far = attacks.deepfool(Cliff().eval(), x, bounds=None, bisection=20).distance(2)
# found = attacks.pgd(
#     Cliff().eval(), x, torch.tensor([0]), radius=0.5 * float(far), restarts=20, bounds=None
# )
# print(far, found.success)
# ```
#
# DeepFool follows the visible slope; some random start of PGD falls over the cliff. One start alone
# can miss it.
# ````
#
# ## Run it yourself
#
# ```sh
# robustkit run 01_preliminaries --profile laptop
# robustkit run 01_preliminaries --profile laptop -p network=cifar10_resnet56 -p images=200
# papermill notebooks/01_preliminaries.ipynb out.ipynb -p seed 1
# ```

# %%
record.finish()
