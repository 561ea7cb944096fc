"""Scores and selections in plain loops, one pixel and one candidate at a time, and photographs."""

import hashlib
import math

import skimage.data
import sklearn.datasets
import torch

MODULUS = 2**64


def levels(*shape, seed=0, most=256):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, most, shape, dtype=torch.uint8, generator=generator)


def photographs(side):
    """Two colour photographs, `(2, 3, side, side)` from their middles."""
    kept = []
    for pixels in (skimage.data.astronaut(), sklearn.datasets.load_sample_image("flower.jpg")):
        top, left = ((size - side) // 2 for size in pixels.shape[:2])
        kept.append(torch.tensor(pixels[top : top + side, left : left + side]).permute(2, 0, 1))
    return torch.stack(kept)


def slow_response(image, crop, kernel):
    """The filter score of every crop of one image, by its definition."""
    channels, height, width = image.shape
    rows, columns = len(kernel), len(kernel[0])
    found = []
    for top in range(height - crop[0] + 1):
        found.append([])
        for left in range(width - crop[1] + 1):
            y, x = top + (crop[0] - rows) // 2, left + (crop[1] - columns) // 2
            total = sum(
                kernel[i][j] * int(image[c, y + i, x + j])
                for c in range(channels)
                for i in range(rows)
                for j in range(columns)
            )
            found[-1].append(abs(total))
    return found


def slow_hash(crop, key):
    """The hash of one crop, by Horner's rule in whole numbers of any size."""

    def word(name):
        digest = hashlib.sha256(f"{key}/translation/{name}".encode()).digest()
        return int.from_bytes(digest[:8], "little")

    def odd(name):
        return word(name) & ~7 | 5

    def mix(bits):
        bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % MODULUS
        bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % MODULUS
        return bits ^ (bits >> 31)

    def pixel(y, x):
        value = 0
        for start in range(0, len(crop), 3):
            group = crop[start : start + 3, y, x].tolist()
            value = value * odd("channels") + sum(v * 257**c for c, v in enumerate(group))
        return value

    down = 0
    for y in reversed(range(crop.shape[1])):
        across = 0
        for x in reversed(range(crop.shape[2])):
            across = (across * odd("columns") + pixel(y, x)) % MODULUS
        down = (down * odd("rows") + mix(across)) % MODULUS
    return mix(down ^ word(f"{crop.shape[1]} x {crop.shape[2]}")) % 2**63


def ranked(scores, hashes):
    """Candidates of one map, best first: (score, hash, place); equal ones keep their order."""
    pairs = zip(scores.flatten().tolist(), hashes.flatten().tolist(), strict=True)
    every = [(score, content, place) for place, (score, content) in enumerate(pairs)]
    return sorted(every, key=lambda one: (-one[0], -one[1]))


def different(candidates):
    """The first of each content, of candidates in falling order."""
    return list(
        {
            (score, content): (score, content, place)
            for score, content, place in reversed(candidates)
        }.values()
    )[::-1]


def slow_argmax(scores, hashes):
    """Place, score, hash and gap (None: no other content) of the selected candidate."""
    rest = different(ranked(scores, hashes))
    score, content, place = rest[0]
    return place, score, content, None if len(rest) == 1 else score - rest[1][0]


def slow_landmark(scores, hashes, radius):
    """Place of the landmark nearest to the middle; of the largest score where there is none."""
    rows, columns = scores.shape
    found = []
    for y in range(radius, rows - radius):
        for x in range(radius, columns - radius):
            own = (int(scores[y, x]), int(hashes[y, x]))
            around = [
                (int(scores[i, j]), int(hashes[i, j]))
                for i in range(y - radius, y + radius + 1)
                for j in range(x - radius, x + radius + 1)
            ]
            if own == max(around):
                distance = math.dist((2 * y, 2 * x), (rows - 1, columns - 1))
                found.append((distance, -own[0], -own[1], y * columns + x))
    return min(found)[3] if found else slow_argmax(scores, hashes)[0]
