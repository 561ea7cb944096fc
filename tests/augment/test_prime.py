"""PRIME as a transform: its settings, its replay, its memory, and nothing that waits for a GPU."""

import json
import math
from dataclasses import fields, replace

import pytest
import torch
from prime_toys import augmented, generator, images
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from robustkit.augment import Color, Diffeomorphism, Prime, Spectral, mix, primitives
from robustkit.errors import InputError

HALF = [torch.float16, torch.bfloat16]
WAITING = ("_local_scalar_dense", "nonzero", "equal.default", "index.Tensor", "masked_select")


def test_the_presets_are_the_published_ones():
    assert primitives("cifar") == [Diffeomorphism(100), Color(100, 0.01), Spectral(4.0, 3)]
    assert primitives("imagenet") == [Diffeomorphism(500), Color(500, 0.05, 20), Spectral(4.0, 3)]
    legacy = [
        Diffeomorphism(100, shared=True),
        Color(100, 0.01, shared=True),
        Spectral(4.0, 3, shared=True, centered=False),
    ]
    assert primitives("cifar", legacy=True) == legacy
    assert primitives("cifar", shared=True)[2] == Spectral(shared=True)
    assert primitives("cifar", names=("spectral", "diffeomorphism"), certified=True) == [
        Spectral(),
        Diffeomorphism(100, certified=True),
    ]


def test_it_mixes_the_primitives_of_its_settings():
    batch = images(7)
    for settings in ({}, {"width": 2, "depth": 1, "mixing": "paper", "preset": "imagenet"}):
        found = Prime(**settings)(batch, generator=generator())
        settings = {"width": 3, "depth": 3, "mixing": "code", "preset": "cifar"} | settings
        operations = primitives(settings.pop("preset"))
        assert torch.equal(found, mix(batch, operations, generator=generator(), **settings))


def test_it_names_every_setting():
    assert repr(Prime()) == (
        "Prime(width=3, depth=3, preset='cifar', mixing='code', sampling='image', legacy=False, "
        "certified=False, primitives=('diffeomorphism', 'color', 'spectral'))"
    )
    changes = {
        "width": 2,
        "depth": 1,
        "preset": "imagenet",
        "mixing": "paper",
        "sampling": "batch",
        "legacy": True,
        "certified": True,
        "primitives": ("color",),
    }
    names = {repr(Prime(**{name: value})) for name, value in changes.items()}
    assert len(names | {repr(Prime())}) == len(changes) + 1
    assert Prime(legacy=True).sampling == "batch"


def test_it_has_no_state_and_replays():
    transform, batch = Prime(), images(6)
    assert list(transform.state_dict()) == []
    mixture = transform.sample(batch, generator=generator(2))
    once = transform(batch, parameters=mixture)
    assert torch.equal(once, transform.eval()(batch, parameters=mixture))
    assert torch.equal(once, transform.train()(batch, generator=generator(2)))
    assert not torch.equal(once, transform(batch, generator=generator(3)))
    for dtype in (*HALF, torch.float64):
        mixture = transform.sample(batch.to(dtype), generator=generator(2))
        assert torch.equal(
            transform(batch.to(dtype), parameters=mixture),
            transform(batch.to(dtype), generator=generator(2)),
        )


@pytest.mark.parametrize("sampling", ["image", "batch"])
def test_strengths_are_drawn_for_an_image_or_a_batch(sampling):
    mixture = Prime(sampling=sampling).sample(images(30), generator=generator())
    for call in mixture.calls:
        if call.operation == 0:
            assert (len(call.parameters.temperatures.unique()) == 1) == (sampling == "batch")


@pytest.mark.parametrize("settings", [{}, {"preset": "imagenet"}, {"mixing": "paper"}])
@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_is_that_of_single_precision_rounded(dtype, settings):
    batch = images(9, (3, 20, 24)).to(dtype)
    transform = Prime(**settings)
    mixture = transform.sample(batch, generator=generator())
    result = transform(batch, parameters=mixture)
    wanted = transform(batch.float(), parameters=mixture)
    torch.testing.assert_close(result, wanted.to(dtype), rtol=0, atol=0)


def test_images_may_have_any_layout():
    batch, transform = images(6, (3, 12, 9)), Prime()
    mixture = transform.sample(batch, generator=generator())
    wanted = transform(batch, parameters=mixture)
    rolled = batch.contiguous(memory_format=torch.channels_last)
    strided = batch.repeat_interleave(2, dim=3)[..., ::2]
    for other in (rolled, strided):
        torch.testing.assert_close(transform(other, parameters=mixture), wanted, rtol=0, atol=1e-5)


class Waits(TorchDispatchMode):
    """Count operations whose outcome the host must know, once there is something to run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if any(name in str(function) for name in WAITING):
            self.names.append(str(function))
        return result


def moved(mixture, device):
    """Return a mixture with all of its tensors on a device."""

    def one(values):
        if isinstance(values, torch.Tensor):
            return values.to(device)
        names = (field.name for field in fields(values))
        return replace(values, **{name: getattr(values, name).to(device) for name in names})

    calls = tuple(
        replace(call, chains=one(call.chains), parameters=one(call.parameters))
        for call in mixture.calls
    )
    return replace(mixture, weights=one(mixture.weights), calls=calls)


@pytest.mark.parametrize("settings", [{}, {"preset": "imagenet"}, {"certified": True}])
def test_nothing_is_read_back_once_the_schedule_is_drawn(settings):
    transform, batch = Prime(**settings), images(8, (3, 20, 24))
    mixture = transform.sample(batch, generator=generator())
    # Tensors of this device have no values: to ask for one is an error.
    nowhere = transform(batch.to("meta"), parameters=moved(mixture, "meta"))
    assert nowhere.shape == batch.shape
    # The draws wait for the host's own numbers alone: which chains meet which operation.
    with Waits() as waits:
        transform.sample(batch, generator=generator())
    assert waits.names == ["aten.nonzero.default"] * 9
    for operation in transform.operations:
        with Waits() as waits:
            augmented(operation, batch)
        assert waits.names == []


@pytest.mark.parametrize(
    ("shape", "preset"), [((64, 3, 32, 32), "cifar"), ((8, 3, 224, 224), "imagenet")]
)
def test_it_takes_no_more_than_six_copies_of_the_batch(tmp_path, shape, preset):
    batch, transform = images(shape[0], shape[1:]), Prime(preset=preset)
    transform(batch, generator=generator())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        transform(batch, generator=generator())
    record.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    changes = [event["args"] for event in events if event["name"] == "[memory]"]
    changes.sort(key=lambda change: change["Ev Idx"])
    start = changes[0]["Total Allocated"] - changes[0]["Bytes"]
    peak = max(change["Total Allocated"] for change in changes) - start
    assert 3 * batch.nbytes < peak <= 6 * batch.nbytes


def test_what_cannot_be_done_is_refused():
    for settings, words in [
        ({"preset": "cifer"}, "Did you mean 'cifar'"),
        ({"mixing": "none"}, "unknown mixing"),
        ({"sampling": "images"}, "Did you mean 'image'"),
        ({"width": 0}, "at least 1"),
        ({"depth": 0}, "at least 1"),
        ({"primitives": ()}, "nothing to mix"),
        ({"primitives": "color"}, "tuple of names"),
        ({"primitives": ("colour",)}, "Did you mean 'color'"),
    ]:
        with pytest.raises(InputError, match=words):
            Prime(**settings)
    with pytest.raises(InputError, match="unsqueeze"):
        Prime()(images()[0])
    with pytest.raises(InputError, match="lie in"):
        Prime()(images() * 255)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("preset", "side"), [("cifar", 32), ("imagenet", 224)])
def test_a_gpu_agrees_with_the_processor_and_never_waits(preset, side):
    batch, transform = images(16, (3, side, side)), Prime(preset=preset)
    mixture = transform.sample(batch.cuda(), generator=generator())
    on_gpu = transform(batch.cuda(), parameters=mixture)
    on_processor = transform(batch, parameters=moved(mixture, "cpu"))
    torch.testing.assert_close(on_gpu.cpu(), on_processor, rtol=0, atol=2e-3)
    assert (on_gpu.cpu() - on_processor).square().mean().sqrt() < 1e-4
    clean = batch.cuda()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    start = torch.cuda.memory_allocated()
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = transform(clean, generator=generator())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(result, on_gpu)
    assert torch.cuda.max_memory_allocated() - start < math.ceil(6.5 * clean.nbytes)


def test_autocast_around_it_changes_nothing():
    batch, transform = images(6), Prime()
    wanted = transform(batch, generator=generator())
    with torch.autocast("cpu", torch.bfloat16):
        found = transform(batch, generator=generator())
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
