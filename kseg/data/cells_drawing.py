"""How one synthetic phase-contrast picture is drawn.

Intensities are relative to an even background of 1 until the camera turns them into 8 bits. What a phase-contrast
microscope does to a cell is put in by hand: a body darker or brighter than the medium, a granular cytoplasm, a nucleus
with nucleoli, a dark membrane, a halo of the opposite sign around it, and the shading off of wide bodies towards the
background, which is what defeats a global threshold.
"""

from __future__ import annotations

import math

import numpy as np

# The canvas is drawn larger than the picture, so that blur and halos of things just outside reach in.
MARGIN = 16


class Canvas:
    """A picture in the making: float32 layers of `height` x `width` pixels, the margin included."""

    def __init__(self, height: int, width: int, rng: np.random.Generator):
        self.shape = (height + 2 * MARGIN, width + 2 * MARGIN)
        self.rng = rng
        # Frequencies in radians per pixel, for Gaussian filters by FFT.
        wy = (2 * np.pi) * np.fft.fftfreq(self.shape[0])[:, None]
        wx = (2 * np.pi) * np.fft.rfftfreq(self.shape[1])[None, :]
        self._frequency2 = (wy * wy + wx * wx).astype(np.float32)
        self.ids = np.zeros(self.shape, np.int32)
        self.level = np.ones(self.shape, np.float32)  # how deep inside its cell a pixel lies: 0 centre, 1 edge
        self.body = np.zeros(self.shape, np.float32)
        self.detail = np.zeros(self.shape, np.float32)
        self.granularity = np.zeros(self.shape, np.float32)

    def blur(self, image: np.ndarray, sigma: float) -> np.ndarray:
        """Gaussian filter, periodic at the canvas's edge."""
        spectrum = np.fft.rfft2(image) * np.exp(self._frequency2 * np.float32(-0.5 * sigma * sigma))
        return np.fft.irfft2(spectrum, self.shape).astype(np.float32)

    def texture(self, fine: float, coarse: float) -> np.ndarray:
        """Gaussian noise of unit variance whose grain lies between the two scales in pixels."""
        spectrum = np.fft.rfft2(self.rng.standard_normal(self.shape, np.float32))
        band = np.exp(self._frequency2 * np.float32(-0.5 * fine * fine))
        band -= np.exp(self._frequency2 * np.float32(-0.5 * coarse * coarse))
        field = np.fft.irfft2(spectrum * band, self.shape).astype(np.float32)
        return field / field.std()

    def patch(self, y: float, x: float, reach: float):
        """Slices of the square of half side `reach` about (y, x), and its pixels' offsets; None if it is empty."""
        top, left = max(0, int(y - reach)), max(0, int(x - reach))
        bottom, right = min(self.shape[0], int(y + reach) + 2), min(self.shape[1], int(x + reach) + 2)
        if top >= bottom or left >= right:
            return None
        dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
        dx = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(x)
        return (slice(top, bottom), slice(left, right)), dy, dx


def place_cells(canvas: Canvas, density: float, radius: tuple[float, float]) -> np.ndarray:
    """(y, x, radius) of every cell, `(N, 3)`: some alone, most leaning on a neighbour, as in a growing culture."""
    rng, (height, width) = canvas.rng, canvas.shape
    mean = (radius[0] + radius[1]) / 2
    wanted = max(1, round(density * rng.uniform(0.7, 1.25) * height * width / (np.pi * mean * mean)))
    cells, placed = np.zeros((wanted, 3)), 0
    for _ in range(8 * wanted):
        if placed == wanted:
            break
        own = rng.uniform(*radius)
        if placed and rng.random() < 0.65:
            y, x, other = cells[rng.integers(placed)]
            angle, gap = rng.uniform(0, 2 * np.pi), (own + other) * rng.uniform(0.86, 1.0)
            y, x = y + gap * np.sin(angle), x + gap * np.cos(angle)
        else:
            y, x = rng.uniform(0, height), rng.uniform(0, width)
        if not (-own < y < height + own and -own < x < width + own):
            continue
        v, u, others = cells[:placed].T
        if np.all((y - v) ** 2 + (x - u) ** 2 > (0.8 * (own + others)) ** 2):
            cells[placed] = y, x, own
            placed += 1
    return cells[:placed]


def draw_cell(canvas: Canvas, number: int, y: float, x: float, radius: float) -> None:
    """Draws one cell; where it meets another, each pixel goes to the cell in which it lies deeper."""
    rng = canvas.rng
    found = canvas.patch(y, x, 1.6 * radius)
    if found is None:
        return
    where, dy, dx = found
    # Outline: an ellipse with three harmonics, in polar form.
    stretch, tilt = math.exp(rng.uniform(0, 0.22)), rng.uniform(0, math.pi)
    cos, sin = math.cos(tilt), math.sin(tilt)
    along = (cos * dx + sin * dy) / stretch
    across = (cos * dy - sin * dx) * stretch
    angle = np.arctan2(across, along)
    outline = np.ones_like(angle)
    for harmonic, size in ((2, 0.05), (3, 0.06), (5, 0.03)):
        outline += np.float32(rng.normal(0, size)) * np.cos(harmonic * angle + np.float32(rng.uniform(0, 2 * np.pi)))
    level = np.sqrt(along * along + across * across) / (radius * outline)
    inside = level < np.minimum(canvas.level[where], 1)
    depth = (1 - level) * radius  # pixels from the outline

    kind = rng.random()
    if kind < 0.52:  # spread out and dark
        amplitude, granules, membrane = rng.uniform(-0.46, -0.26), rng.uniform(0.06, 0.11), rng.uniform(0.14, 0.28)
    elif kind < 0.74:  # rounded and bright
        amplitude, granules, membrane = rng.uniform(0.28, 0.62), rng.uniform(0.07, 0.12), rng.uniform(0.24, 0.40)
    else:  # so flat that only grain and membrane show
        amplitude, granules, membrane = rng.uniform(-0.10, 0.08), rng.uniform(0.09, 0.13), rng.uniform(0.22, 0.36)
    dome = np.sqrt(np.maximum(1 - level * level, 0))
    body = amplitude * (0.45 + 0.55 * dome)
    detail = -membrane * np.exp(-0.5 * ((depth - 1.3) / 0.9) ** 2)

    ny, nx = rng.uniform(-0.25, 0.25) * radius, rng.uniform(-0.25, 0.25) * radius
    nucleus = np.sqrt((dy - ny) ** 2 + (dx - nx) ** 2 * rng.uniform(0.7, 1.4)) / (radius * rng.uniform(0.34, 0.48))
    soft = 1 / (1 + np.exp(np.clip((nucleus - 1) * 8, -30, 30)))
    # Scalars here are Python floats throughout: a NumPy float64 would turn the layers into float64.
    detail += rng.uniform(-0.16, 0.12) * soft - 0.09 * np.exp(-0.5 * ((nucleus - 1) / 0.12) ** 2)
    for _ in range(rng.integers(1, 4)):
        py, px = ny + rng.normal(0, 0.15 * radius), nx + rng.normal(0, 0.15 * radius)
        detail -= rng.uniform(0.10, 0.26) * np.exp(
            -0.5 * ((dy - py) ** 2 + (dx - px) ** 2) / rng.uniform(0.8, 1.6) ** 2
        )
    for _ in range(rng.integers(0, 4)):  # bright vesicles
        turn, off = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 0.75) * radius
        py, px = off * math.sin(turn), off * math.cos(turn)
        detail += rng.uniform(0.15, 0.45) * np.exp(
            -0.5 * ((dy - py) ** 2 + (dx - px) ** 2) / rng.uniform(0.6, 1.0) ** 2
        )

    canvas.ids[where][inside] = number
    canvas.level[where][inside] = level[inside]
    canvas.body[where][inside] = body[inside]
    canvas.detail[where][inside] = detail[inside]
    canvas.granularity[where][inside] = (granules * (1 - 0.5 * soft))[inside]


def debris(canvas: Canvas, amount: float) -> np.ndarray:
    """Things that are no cells: bright specks with a dark ring, blurred floaters of a cell's size, and fibres."""
    rng, (height, width) = canvas.rng, canvas.shape
    layer = np.zeros(canvas.shape, np.float32)
    per_area = amount * height * width / 160.0**2
    for _ in range(rng.poisson(9 * per_area)):
        size = rng.uniform(0.8, 2.2)
        found = canvas.patch(rng.uniform(0, height), rng.uniform(0, width), 4.5 * size)
        where, dy, dx = found
        r2 = (dy * dy + dx * dx * rng.uniform(0.6, 1.6)) / (size * size)
        layer[where] += rng.uniform(0.5, 1.4) * (1 - 0.45 * r2) * np.exp(-0.5 * r2)
    for _ in range(rng.poisson(1.6 * per_area)):
        size = rng.uniform(6, 13)
        where, dy, dx = canvas.patch(rng.uniform(0, height), rng.uniform(0, width), 2 * size)
        r = np.sqrt(dy * dy + dx * dx * rng.uniform(0.6, 1.6)) / size
        ring = np.exp(-0.5 * ((r - 1) / 0.22) ** 2)
        layer[where] += (1 if rng.random() < 0.5 else -1) * rng.uniform(0.12, 0.26) * (np.exp(-(r**4)) - 0.6 * ring)
    for _ in range(rng.poisson(0.7 * per_area)):
        _fibre(canvas, layer)
    return layer


def _fibre(canvas: Canvas, layer: np.ndarray) -> None:
    rng, (height, width) = canvas.rng, canvas.shape
    steps = int(rng.integers(25, 70))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.06, steps) + rng.normal(0, 0.03))
    y = rng.uniform(0, height) + np.cumsum(np.sin(heading))
    x = rng.uniform(0, width) + np.cumsum(np.cos(heading))
    kept = (y > 2) & (y < height - 3) & (x > 2) & (x < width - 3)
    line = np.zeros(canvas.shape, np.float32)
    line[y[kept].astype(int), x[kept].astype(int)] = 1
    layer += rng.uniform(1.0, 2.2) * (canvas.blur(line, 0.9) - 0.5 * canvas.blur(line, 2.0))


def smooth_field(canvas: Canvas, strength: float) -> np.ndarray:
    """A slowly varying field about 0: a random plane, a random saddle and a bowl, each of about `strength`."""
    rng, (height, width) = canvas.rng, canvas.shape
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    a, b, c, d = rng.uniform(-1, 1, 4)
    cy, cx = rng.uniform(-0.4, 0.4, 2)
    bowl = (y - cy) ** 2 + (x - cx) ** 2 - 0.66
    field = a * x + b * y + 0.5 * c * x * y + 0.5 * d * (x * x - y * y) - rng.uniform(0.2, 0.7) * bowl
    return (strength * field).astype(np.float32)


def draw(height: int, width: int, rng: np.random.Generator, density: float, radius: tuple[float, float], dirt: float):
    """Draws one picture.

    Returns:
        light float32 `(H, W)`: behind the lens, background about 1; stain float32 `(H, W)`: how much dye lies in each
        pixel, at least 0; ids int32 `(H, W)`: 0 background, 1..n cells.
    """
    canvas = Canvas(height, width, rng)
    for number, (y, x, r) in enumerate(place_cells(canvas, density, radius).tolist(), start=1):
        draw_cell(canvas, number, y, x, r)
    # Halo and shading off: the phase plate takes away what is smooth.
    halo = 0.40 * canvas.blur(canvas.body, 2.5) + 0.35 * canvas.blur(canvas.body, rng.uniform(5, 8))
    phase = canvas.body - halo
    medium = 0.015 * canvas.texture(0.8, 2.5) + 0.02 * canvas.texture(3, 9)
    scene = phase + canvas.detail + canvas.granularity * canvas.texture(0.7, 2.2)
    scene += medium + debris(canvas, dirt)
    # The focus is uneven: one side of the slide lies deeper.
    sharp, soft = canvas.blur(scene, rng.uniform(0.4, 0.6)), canvas.blur(scene, rng.uniform(1.0, 1.5))
    depth = np.clip(0.35 + smooth_field(canvas, 0.5), 0, 1)
    scene = sharp + (soft - sharp) * depth
    light = np.maximum((1 + smooth_field(canvas, rng.uniform(0.05, 0.14))) * (1 + scene), 0)
    # Dye gathers where the cell is dense. Blurred like the picture: a sharp stain would give the mask away.
    stain = np.maximum(canvas.blur(np.maximum(-canvas.body - canvas.detail, 0), 0.8), 0)
    inner = (slice(MARGIN, MARGIN + height), slice(MARGIN, MARGIN + width))
    return light[inner], stain[inner], canvas.ids[inner]
