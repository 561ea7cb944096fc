"""The stars, warps and blurs of C-bar once more, for one image, pixel by pixel in NumPy.

The arguments are those of the loops in `c_bar_loops`.
"""

import math

import numpy as np
from c_bar_loops import pixels
from scipy import ndimage


def read(image, y, x):
    """Bilinear interpolation, black outside."""
    total = np.zeros(image.shape[2])
    top, left = math.floor(y), math.floor(x)
    for row, row_weight in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, column_weight in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                total += row_weight * column_weight * image[row, column]
    return total


def ray(dy, dx, lengths, exponent):
    """The factor of a star before it is cut off at one."""
    position = (np.arctan2(dx, dy) + np.pi) / (2 * np.pi) * len(lengths)
    number = int(position)
    offset = position - number
    first, second = lengths[number % len(lengths)], lengths[(number + 1) % len(lengths)]
    length = first + offset * (second - first)
    glow = (length**2 / (dy**2 + dx**2 + 1e-4)) ** exponent
    return min(max((1 - (offset - 0.5) ** 2) * glow, 0), 1)


def sparkles(image, look, radius):
    height, width = image.shape[:2]
    radius = radius * min(height, width)
    ys, xs = height * look.uniform("row", (5,)), width * look.uniform("column", (5,))
    counts = look.integers("rays", 50, 200, (5,))
    normals = look.normal("lengths", (5, 199))
    out = image.copy()
    for star in range(5):
        lengths = [max(1, radius + 0.25 * radius * n) for n in normals[star][: counts[star]]]
        for y, x in pixels(image):
            share = ray(y - ys[star], x - xs[star], lengths, 1)
            out[y, x] += share * (1 - out[y, x])
    return out


def inverse_sparkles(image, look, exponent):
    height, width = image.shape[:2]
    radius = 0.25 * min(height, width)
    y0 = height * (0.25 + 0.5 * look.uniform("row", ()))
    x0 = width * (0.25 + 0.5 * look.uniform("column", ()))
    normals = look.normal("lengths", (199,))
    lengths = [radius + 0.25 * radius * n for n in normals[: look.integers("rays", 50, 200, ())]]
    out = image.copy()
    for y, x in pixels(image):
        out[y, x] = 1 + ray(y - y0, x - x0, lengths, exponent) * (image[y, x] - 1)
    return out


def pinch_and_twirl(image, look, pinch, twirl, blocks):
    height, width = (size // blocks for size in image.shape[:2])
    radius = min(height, width) / 2
    turns = look.uniform("turns", (blocks, blocks))
    out = image.copy()
    for y, x in pixels(image):
        i, j = y // height, x // width
        if i >= blocks or j >= blocks:
            continue
        centre = np.array([i * height + height / 2, j * width + width / 2])
        away = np.array([y, x]) - centre
        distance = np.linalg.norm(away)
        if distance > radius or np.round(distance, 3) == 0:
            continue
        relative = distance / radius
        angle = (-twirl if turns[i, j] < 0.5 else twirl) * (1 - relative) ** 2
        away = away * np.sin(np.pi / 2 * relative) ** -pinch
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        out[y, x] = read(image, *(centre + turn @ away))
    return out


def ripple(image, look, amplitude):
    side = min(image.shape[:2])
    waves = (0.1 + 0.2 * look.uniform("wavelength", (2,))) * side
    phases = 2 * np.pi * look.uniform("phase", (2,))
    out = image.copy()
    for y, x in pixels(image):
        moved = np.array([y, x]) + amplitude * side * np.sin(
            2 * np.pi * np.array([y, x]) / waves + phases
        )
        out[y, x] = read(image, *moved)
    return out


def caustics(shape, time, size):
    surface = np.zeros(shape)
    for y in range(shape[0]):
        for x in range(shape[1]):
            start = np.array([y / size % 1, x / size % 1]) * 2 * np.pi - 250
            bent, total = start.copy(), 1.0
            for n in range(5):
                t = time * (1 - 3.5 / (n + 1))
                bent = start + np.array(
                    [
                        np.cos(t - bent[0]) + np.sin(t + bent[1]),
                        np.sin(t - bent[1]) + np.cos(t + bent[0]),
                    ]
                )
                one = start[0] / (np.sin(bent[0] + t) / 0.005)
                two = start[1] / (np.cos(bent[1] + t) / 0.005)
                total += 1 / np.sqrt(one**2 + two**2)
            surface[y, x] = np.clip(abs(1.17 - (total / 5) ** 1.4) ** 8, 0, 1)
    return surface


def refracted(normal, eta):
    """Where a ray along the third axis goes behind a surface with this normal; a unit vector."""
    incident = np.array([0.0, 0.0, 1.0])
    if abs(incident @ normal) >= 1 - 1e-3:
        return incident
    inner = np.arcsin(np.sin(np.arccos(incident @ normal)) / eta)
    axis = np.cross(incident, normal)
    tangent = np.cross(normal, axis / np.linalg.norm(axis))
    return np.cos(inner) * normal + np.sin(inner) * tangent


def caustic_refraction(image, look, lens, lighting):
    height, width = image.shape[:2]
    side = min(height, width)
    time = 0.5 + 1.5 * look.uniform("time", ())
    size = (0.75 + 0.5 * look.uniform("size", ())) * side
    surface = ndimage.gaussian_filter(caustics((height, width), time, size), sigma=1)
    around = np.pad(surface, 1)
    out = image.copy()
    for y, x in pixels(image):
        down = around[y + 2, x + 1] - around[y, x + 1]
        across = around[y + 1, x + 2] - around[y + 1, x]
        normal = np.array([down, across, 1.0])
        normal = normal / np.linalg.norm(normal)
        ray = refracted(normal, 4.0) * lens * side
        out[y, x] = np.clip(read(image, y + ray[0], x + ray[1]) + (down - across) * lighting, 0, 1)
    return out


def circular_motion_blur(image, look, angle):
    total, shares = np.zeros_like(image), 0.0
    for step in range(21):
        turn = 2 * step / 20 - 1
        share = np.exp(-2 * turn**2)
        total += share * ndimage.rotate(image, turn * angle, reshape=False)
        shares += share
    return total / shares


def transverse_chromatic_abberation(image, look, magnification):
    scales = np.array([1, 1 + magnification / 2, 1 + magnification])
    scales = scales[np.argsort(look.uniform("order", (3,)), kind="stable")]
    out = image.copy()
    for channel, scale in enumerate(scales):
        larger = ndimage.zoom(image[:, :, channel], scale, prefilter=False)
        top, left = ((a - b) // 2 for a, b in zip(larger.shape, image.shape[:2], strict=True))
        out[:, :, channel] = larger[top : top + image.shape[0], left : left + image.shape[1]]
    return out
