"""The noises, patterns and clouds of C-bar once more, for one image, pixel by pixel in NumPy.

Each takes an image (H, W, C) in float64, a function that looks up the random numbers of that image
by name, and the parameters. Formulas are written as the paper's code has them, in [0, 1] instead of
8 bits and without cutting off digits.
"""

import math

import numpy as np
from skimage.draw import line_aa

GREY = 128 / 255


def pixels(image):
    return [(y, x) for y in range(image.shape[0]) for x in range(image.shape[1])]


def shaped(look, channel, height, width, channels, amplitude):
    """Noise of unit deviation from an amplitude as a function of the frequency."""
    left = look.uniform("phases", (channels, height, width // 2))[channel]
    phases = np.zeros((height, width))
    for y in range(height):
        for x in range(width // 2):
            phases[y, x] = 2 * np.pi * left[y, x]
            phases[height - 1 - y, width - 1 - x] = 2 * np.pi * left[y, x]
    if width % 2:
        middle = look.uniform("middle", (channels, height // 2, 1))[channel]
        for y in range(height // 2):
            phases[y, width // 2] = phases[height - 1 - y, width // 2] = 2 * np.pi * middle[y, 0]
    side = min(height, width)
    spectrum = np.zeros((height, width), dtype=complex)
    for y in range(height):
        for x in range(width):
            frequency = np.linalg.norm(
                [(y - height / 2) * side / height, (x - width / 2) * side / width]
            )
            value = amplitude(frequency) * np.exp(1j * phases[y, x])
            spectrum[(y + height // 2) % height, (x + width // 2) % width] = value
    noise = np.real(np.fft.ifft2(spectrum))
    return noise / np.std(noise)


def blue_noise_sample(image, look, threshold):
    noise = shaped(look, 0, *image.shape[:2], 1, lambda frequency: frequency)
    out = image.copy()
    for y, x in pixels(image):
        if not noise[y, x] > threshold:
            out[y, x] = 0
    return out


def brownish_noise(image, look, scale):
    out = image.copy()
    for channel in range(image.shape[2]):
        noise = shaped(look, channel, *image.shape[:2], image.shape[2], lambda f: 1 / (f**2 + 1))
        out[:, :, channel] += scale * noise
    return out


def checkerboard_cutout(image, look, fraction):
    height, width = image.shape[:2]
    side = min(height, width)
    size = max((0.1 + 0.15 * look.uniform("width", ())) * side, 1)
    angle = 2 * np.pi * look.uniform("angle", ())
    reach = 2 * math.ceil(math.sqrt(height**2 + width**2) / max(0.1 * side, 1)) + 2
    grid = look.uniform("squares", (reach * reach,)).reshape(reach, reach) < fraction
    out = image.copy()
    for y, x in pixels(image):
        down = (np.cos(angle) * y + np.sin(angle) * x) / size
        across = (-np.sin(angle) * y + np.cos(angle) * x) / size
        assert abs(int(down)) < reach / 2
        assert abs(int(across)) < reach / 2
        if int(down % 2) == int(across % 2) and grid[int(down), int(across)]:
            out[y, x] = GREY
    return out


def lines(image, look, density):
    height, width = image.shape[:2]
    side = min(height, width)
    direction = 2 * np.pi * look.uniform("direction", ())
    variation = 0.1 + 0.9 * look.uniform("spread", ())
    count = int(density * side)
    places = look.uniform("lines", (3, count))
    out = image.copy()
    for line in range(count):
        row, column = height * places[0, line], width * places[1, line]
        angle = direction + 2 * np.pi * variation * (places[2, line] - 0.5)
        down, across = side * np.cos(angle), side * np.sin(angle)
        drawn = line_aa(
            int(row - down), int(column - across), int(row + down), int(column + across)
        )
        fresh = {(r, c): value for r, c, value in zip(*drawn, strict=True)}
        for (r, c), value in fresh.items():
            if 0 <= r < height and 0 <= c < width:
                out[r, c] = (1 - value) * out[r, c] + value * GREY
    return out


def single_frequency_greyscale(image, look, scale):
    larger = -np.pi + 2 * np.pi * look.uniform("larger", ())
    smaller = larger * (2 * look.uniform("smaller", ()) - 1)
    by_row, by_column = (larger, smaller) if look.uniform("order", ()) < 0.5 else (smaller, larger)
    phase = 2 * np.pi * look.uniform("phase", ())
    out = image.copy()
    for y, x in pixels(image):
        out[y, x] += scale * np.sin(by_row * y + by_column * x + phase)
    return out


def cocentric_sine_waves(image, look, scale):
    height, width = image.shape[:2]
    side = min(height, width)
    y0, x0 = height * look.uniform("row", ()), width * look.uniform("column", ())
    frequency = 10 * look.uniform("frequency", ())
    amplitude = side / 10 * look.uniform("depth", ())
    ring = side / 10 * look.uniform("ring", ())
    out = image.copy()
    for y, x in pixels(image):
        angle = np.arctan2(x - x0, y - y0) * frequency
        distance = np.sqrt((x - x0) ** 2 + (y - y0) ** 2) + np.sin(angle) * amplitude
        out[y, x] += scale * ((distance % ring) / ring - 0.5)
    return out


def perlin_noise(image, look, opacity):
    order = np.argsort(look.uniform("permutation", (256,)), kind="stable")
    table = look.integers("gradients", -256, 256, (2, 256)).astype(float)
    table = table / np.linalg.norm(table, axis=0)

    def noise(y, x):
        total = 0.0
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                down, across = y - row, x - column
                gradient = table[:, order[(order[row % 256] + column) % 256]]
                weight = 1.0
                for step in (abs(down), abs(across)):
                    weight *= 1 - step**2 * (3 - 2 * step)
                total += weight * (gradient[0] * down + gradient[1] * across)
        return 1.5 * total

    cell = min(image.shape[:2]) / 7
    out = image.copy()
    for y, x in pixels(image):
        turbulence = sum(abs(noise(f * y / cell, f * x / cell)) / f for f in (1, 2, 4, 8, 16))
        layer = min(max(0.5 * turbulence + 0.5, 0), 1)
        out[y, x] = (1 - opacity) * image[y, x] + opacity * layer
    return out


def plasma_noise(image, look, scale):
    side = min(image.shape[:2])
    wave = (0.075 + 0.125 * look.uniform("wavelength", ())) * side
    time = 6 * np.pi * look.uniform("time", ())
    sharp = 0.5 + 0.5 * look.uniform("sharpness", ())
    out = image.copy()
    for row, column in pixels(image):
        y, x = row / wave, column / wave
        factors = np.ones(3)
        for _ in range(look.integers("bends", 4, 7, ())):
            push = np.array(
                [
                    np.cos(y * factors[0] + time / factors[1]),
                    np.sin(x * factors[0] + time / factors[1]),
                ]
            )
            push = push / factors[2]
            push = push + 0.3 * np.array([-push[1], push[0]])
            x, y = x + push[0], y + push[1]
            factors *= [1.93, 1.15, 2.25 - sharp]
        colour = [np.sin(x - time), np.sin((x + y + np.sin(time)) * 0.5), np.sin(y + time)]
        out[row, column] = (1 - scale) * image[row, column] + scale * np.array(colour)
    return out
