# SPDX-License-Identifier: GPL-3.0-or-later
"""The baseline of the rasteriser's benchmark: the same picture in plain Python loops compiled by numba.

What a capable programmer writes in an afternoon without C++: threads over Gaussians, a stable sort by depth, lists of
Gaussians for tiles of 32 x 32, threads over tiles, and within a tile one bounding box after another. Forward, the
backward pass down to projected centres, conics, colours and opacities (the projection's own backward pass is left out, in
numba's favour), and a count of the work that any rasteriser of this kind has to do.
"""

import time

import numba as nb
import numpy as np

TILE = 32
ALPHA_MIN, ALPHA_MAX, T_STOP, BLUR = np.float32(1 / 255), np.float32(0.999), np.float32(1e-4), np.float32(0.3)
options = {"cache": True, "fastmath": {"contract", "nsz", "arcp", "reassoc"}}


@nb.njit(parallel=True, **options)
def project(means, quats, scales, opacities, harmonics, view, K, width, height):
    """Splats (N, 14) float32: centre 2, conic 3, colour 3, opacity, z, extent 2, log of 255 opacity, visible."""
    out = np.zeros((len(means), 14), np.float32)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    ox = -(view[0, 0] * view[0, 3] + view[1, 0] * view[1, 3] + view[2, 0] * view[2, 3])
    oy = -(view[0, 1] * view[0, 3] + view[1, 1] * view[1, 3] + view[2, 1] * view[2, 3])
    oz = -(view[0, 2] * view[0, 3] + view[1, 2] * view[1, 3] + view[2, 2] * view[2, 3])
    for i in nb.prange(len(means)):
        mx, my, mz = means[i]
        x = view[0, 0] * mx + view[0, 1] * my + view[0, 2] * mz + view[0, 3]
        y = view[1, 0] * mx + view[1, 1] * my + view[1, 2] * mz + view[1, 3]
        z = view[2, 0] * mx + view[2, 1] * my + view[2, 2] * mz + view[2, 3]
        if z < np.float32(0.01) or opacities[i] < ALPHA_MIN:
            continue
        w, a, b, c = quats[i] / np.sqrt((quats[i] ** 2).sum())
        r00, r01, r02 = 1 - 2 * (b * b + c * c), 2 * (a * b - w * c), 2 * (a * c + w * b)
        r10, r11, r12 = 2 * (a * b + w * c), 1 - 2 * (a * a + c * c), 2 * (b * c - w * a)
        r20, r21, r22 = 2 * (a * c - w * b), 2 * (b * c + w * a), 1 - 2 * (a * a + b * b)
        over_x, over_y = np.float32(0.15) * width / fx, np.float32(0.15) * height / fy
        tx = z * min(max(x / z, -cx / fx - over_x), (width - cx) / fx + over_x)
        ty = z * min(max(y / z, -cy / fy - over_y), (height - cy) / fy + over_y)
        jx, jy, kx, ky = fx / z, fy / z, -fx * tx / (z * z), -fy * ty / (z * z)
        p, q, s = jx * view[0] + kx * view[2], jy * view[1] + ky * view[2], scales[i]
        u0, v0 = (p[0] * r00 + p[1] * r10 + p[2] * r20) * s[0], (q[0] * r00 + q[1] * r10 + q[2] * r20) * s[0]
        u1, v1 = (p[0] * r01 + p[1] * r11 + p[2] * r21) * s[1], (q[0] * r01 + q[1] * r11 + q[2] * r21) * s[1]
        u2, v2 = (p[0] * r02 + p[1] * r12 + p[2] * r22) * s[2], (q[0] * r02 + q[1] * r12 + q[2] * r22) * s[2]
        xx, yy = u0 * u0 + u1 * u1 + u2 * u2 + BLUR, v0 * v0 + v1 * v1 + v2 * v2 + BLUR
        xy = u0 * v0 + u1 * v1 + u2 * v2
        det = xx * yy - xy * xy
        if det <= 0:
            continue
        reach = np.log(255 * opacities[i])
        o = out[i]
        o[0], o[1] = fx * x / z + cx, fy * y / z + cy
        o[2], o[3], o[4] = yy / det, -xy / det, xx / det
        o[8], o[9], o[10], o[11], o[12] = opacities[i], z, np.sqrt(2 * reach * xx), np.sqrt(2 * reach * yy), reach
        dx, dy, dz = mx - ox, my - oy, mz - oz
        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        dx, dy, dz = dx / length, dy / length, dz / length
        for k in range(3):
            h = harmonics[i, :, k]
            value = np.float32(0.2820947917738781) * h[0] + np.float32(0.5)
            if len(h) > 1:
                value += np.float32(0.48860251190292) * (dz * h[2] - dy * h[1] - dx * h[3])
            if len(h) > 4:
                value += np.float32(1.092548430592079) * (dx * dy * h[4] - dy * dz * h[5] - dx * dz * h[7])
                value += np.float32(0.3153915652525201) * (3 * dz * dz - 1) * h[6]
                value += np.float32(0.5462742152960395) * (dx * dx - dy * dy) * h[8]
            if len(h) > 9:
                value -= np.float32(0.5900435899266435) * dy * (3 * dx * dx - dy * dy) * h[9]
                value += np.float32(2.890611442640554) * dx * dy * dz * h[10]
                value += np.float32(0.4570457994644658) * (1 - 5 * dz * dz) * (dy * h[11] + dx * h[13])
                value += np.float32(0.3731763325901154) * dz * (5 * dz * dz - 3) * h[12]
                value += np.float32(1.445305721320277) * dz * (dx * dx - dy * dy) * h[14]
                value -= np.float32(0.5900435899266435) * dx * (dx * dx - 3 * dy * dy) * h[15]
            o[5 + k] = max(value, np.float32(0))
        o[13] = 1
    return out


@nb.njit(**options)
def lists(splats, order, width, height):
    """For each tile the Gaussians that reach it, near to far: (starts, ids)."""
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    starts = np.zeros(columns * rows + 1, np.int64)
    ids = np.empty(0, np.int32)
    for fill in range(2):
        if fill:
            starts[1:] = np.cumsum(starts[1:])
            ids = np.empty(starts[-1], np.int32)
            place = starts[:-1].copy()
        for i in order:
            s = splats[i]
            if s[13] == 0:
                continue
            x0, x1 = max(0, int(s[0] - s[10]) // TILE), min(columns - 1, int(s[0] + s[10]) // TILE)
            y0, y1 = max(0, int(s[1] - s[11]) // TILE), min(rows - 1, int(s[1] + s[11]) // TILE)
            for ty in range(y0, y1 + 1):
                for tx in range(x0, x1 + 1):
                    tile = ty * columns + tx
                    if fill:
                        ids[place[tile]] = i
                        place[tile] += 1
                    else:
                        starts[tile + 1] += 1
    return starts, ids


@nb.njit(inline="always")
def box(s, left, top, width, height):
    """Columns and rows, from ... to before, of a tile that a Gaussian's bounding box covers."""
    x0, x1 = max(left, int(np.ceil(s[0] - s[10] - 0.5))), min(width, left + TILE, int(np.floor(s[0] + s[10] - 0.5)) + 1)
    y0, y1 = max(top, int(np.ceil(s[1] - s[11] - 0.5))), min(height, top + TILE, int(np.floor(s[1] + s[11] - 0.5)) + 1)
    return x0, x1, y0, y1


@nb.njit(parallel=True, **options)
def forward(splats, starts, ids, width, height):
    """Colour (H, W, 3), alpha and expected depth (H, W)."""
    colour = np.zeros((height, width, 3), np.float32)
    alpha, depth = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    columns = (width + TILE - 1) // TILE
    for tile in nb.prange(len(starts) - 1):
        left, top = tile % columns * TILE, tile // columns * TILE
        red, green = np.zeros((TILE, TILE), np.float32), np.zeros((TILE, TILE), np.float32)
        blue, deep = np.zeros((TILE, TILE), np.float32), np.zeros((TILE, TILE), np.float32)
        light, done = np.ones((TILE, TILE), np.float32), np.zeros((TILE, TILE), np.bool_)
        for k in range(starts[tile], starts[tile + 1]):
            s = splats[ids[k]]
            x0, x1, y0, y1 = box(s, left, top, width, height)
            for y in range(y0, y1):
                dy = np.float32(y + 0.5) - s[1]
                for x in range(x0, x1):
                    dx = np.float32(x + 0.5) - s[0]
                    sigma = np.float32(0.5) * (s[2] * dx * dx + s[4] * dy * dy) + s[3] * dx * dy
                    if sigma > s[12] or done[y - top, x - left]:
                        continue
                    a = min(s[8] * np.exp(-sigma), ALPHA_MAX)
                    t = light[y - top, x - left]
                    if t * (1 - a) <= T_STOP:
                        done[y - top, x - left] = True
                        continue
                    w = a * t
                    red[y - top, x - left] += w * s[5]
                    green[y - top, x - left] += w * s[6]
                    blue[y - top, x - left] += w * s[7]
                    deep[y - top, x - left] += w * s[9]
                    light[y - top, x - left] = t * (1 - a)
        for y in range(top, min(top + TILE, height)):
            for x in range(left, min(left + TILE, width)):
                colour[y, x, 0], colour[y, x, 1] = red[y - top, x - left], green[y - top, x - left]
                colour[y, x, 2], a = blue[y - top, x - left], 1 - light[y - top, x - left]
                alpha[y, x] = a
                depth[y, x] = deep[y - top, x - left] / a if a > 0 else 0
    return colour, alpha, depth


@nb.njit(parallel=True, fastmath=options["fastmath"])  # asks for the thread, so cannot be cached
def backward(splats, starts, ids, width, height, colour, v_colour, v_alpha):
    """(N, 9): slopes of centre 2, conic 3, colour 3 and opacity, for slopes of colour (H, W, 3) and alpha (H, W)."""
    threads = nb.get_num_threads()
    parts = np.zeros((threads, len(splats), 9), np.float32)
    columns = (width + TILE - 1) // TILE
    for tile in nb.prange(len(starts) - 1):
        out = parts[nb.get_thread_id()]
        left, top = tile % columns * TILE, tile // columns * TILE
        rest = np.zeros((TILE, TILE), np.float32)  # slope times what is still to come
        light, done = np.ones((TILE, TILE), np.float32), np.zeros((TILE, TILE), np.bool_)
        final = np.zeros((TILE, TILE), np.float32)
        for y in range(top, min(top + TILE, height)):
            for x in range(left, min(left + TILE, width)):
                v = v_colour[y, x]
                rest[y - top, x - left] = v[0] * colour[y, x, 0] + v[1] * colour[y, x, 1] + v[2] * colour[y, x, 2]
        for k in range(starts[tile], starts[tile + 1]):  # the final transmittance, which alpha's slope needs
            s = splats[ids[k]]
            x0, x1, y0, y1 = box(s, left, top, width, height)
            for y in range(y0, y1):
                for x in range(x0, x1):
                    dx, dy = np.float32(x + 0.5) - s[0], np.float32(y + 0.5) - s[1]
                    sigma = np.float32(0.5) * (s[2] * dx * dx + s[4] * dy * dy) + s[3] * dx * dy
                    if sigma > s[12] or done[y - top, x - left]:
                        continue
                    a = min(s[8] * np.exp(-sigma), ALPHA_MAX)
                    t = light[y - top, x - left] * (1 - a)
                    if t <= T_STOP:
                        done[y - top, x - left] = True
                    else:
                        light[y - top, x - left] = t
        final[:] = light
        light[:], done[:] = 1, False
        for k in range(starts[tile], starts[tile + 1]):
            s, o = splats[ids[k]], out[ids[k]]
            x0, x1, y0, y1 = box(s, left, top, width, height)
            for y in range(y0, y1):
                for x in range(x0, x1):
                    dx, dy = np.float32(x + 0.5) - s[0], np.float32(y + 0.5) - s[1]
                    sigma = np.float32(0.5) * (s[2] * dx * dx + s[4] * dy * dy) + s[3] * dx * dy
                    if sigma > s[12] or done[y - top, x - left]:
                        continue
                    soft = np.exp(-sigma)
                    a, t = min(s[8] * soft, ALPHA_MAX), light[y - top, x - left]
                    if t * (1 - a) <= T_STOP:
                        done[y - top, x - left] = True
                        continue
                    v, w = v_colour[y, x], a * t
                    shine = v[0] * s[5] + v[1] * s[6] + v[2] * s[7]
                    rest[y - top, x - left] -= w * shine
                    light[y - top, x - left] = t * (1 - a)
                    slope = shine * t + (v_alpha[y, x] * final[y - top, x - left] - rest[y - top, x - left]) / (1 - a)
                    o[5] += w * v[0]
                    o[6] += w * v[1]
                    o[7] += w * v[2]
                    if s[8] * soft < ALPHA_MAX:
                        pull = -slope * a
                        o[8] += slope * soft
                        o[0] -= pull * (s[2] * dx + s[3] * dy)
                        o[1] -= pull * (s[4] * dy + s[3] * dx)
                        o[2] += pull * np.float32(0.5) * dx * dx
                        o[3] += pull * dx * dy
                        o[4] += pull * np.float32(0.5) * dy * dy
    return parts.sum(0)


@nb.njit(parallel=True, **options)
def count(splats, starts, ids, width, height):
    """What there is to do: pairs of a Gaussian and an open pixel with alpha of at least 1/255, and runs of eight pixels,
    beginning at multiples of 8, that hold such a pair."""
    columns = (width + TILE - 1) // TILE
    pairs, runs = 0, 0
    for tile in nb.prange(len(starts) - 1):
        left, top = tile % columns * TILE, tile // columns * TILE
        light, done = np.ones((TILE, TILE), np.float32), np.zeros((TILE, TILE), np.bool_)
        for k in range(starts[tile], starts[tile + 1]):
            s = splats[ids[k]]
            x0, x1, y0, y1 = box(s, left, top, width, height)
            for y in range(y0, y1):
                last = -1
                for x in range(x0, x1):
                    dx, dy = np.float32(x + 0.5) - s[0], np.float32(y + 0.5) - s[1]
                    sigma = np.float32(0.5) * (s[2] * dx * dx + s[4] * dy * dy) + s[3] * dx * dy
                    if sigma > s[12] or done[y - top, x - left]:
                        continue
                    pairs += 1
                    if x // 8 != last:
                        runs += 1
                        last = x // 8
                    a = min(s[8] * np.exp(-sigma), ALPHA_MAX)
                    t = light[y - top, x - left] * (1 - a)
                    if t <= T_STOP:
                        done[y - top, x - left] = True
                    else:
                        light[y - top, x - left] = t
    return pairs, runs


@nb.njit
def chain(steps: int) -> int:
    """Shifts and exclusive ors that wait for each other (Marsaglia's xorshift): six cycles a step."""
    x = np.uint64(88172645463325252)
    for _ in range(steps):
        x ^= x << np.uint64(13)
        x ^= x >> np.uint64(7)
        x ^= x << np.uint64(17)
    return x


def clock_ghz() -> float:
    """Of one core at work now: a virtual machine's own statement of it is often wrong."""
    chain(10)
    best = 1e9
    for _ in range(10):
        started = time.perf_counter()
        chain(5_000_000)
        best = min(best, time.perf_counter() - started)
    return 6 * 5e6 / best / 1e9


class NumbaFrame:
    """One scene and camera, drawn as tools/bench_raster.py draws its own."""

    def __init__(self, gaussians, camera, threads: int):
        nb.set_num_threads(threads)
        fields = "means", "quats_wxyz", "scales", "opacities", "harmonics"
        self.arrays = [np.ascontiguousarray(getattr(gaussians, name), np.float32) for name in fields]
        self.view, self.K = (np.ascontiguousarray(m, np.float32) for m in (camera.world_to_camera, camera.K))
        self.size = camera.width, camera.height
        rng = np.random.default_rng(1)
        shape = camera.height, camera.width
        self.slopes = [rng.normal(size=s).astype(np.float32) for s in ((*shape, 3), shape)]

    def forward(self):
        self.splats = project(*self.arrays, self.view, self.K, *self.size)
        order = np.argsort(self.splats[:, 9], kind="stable").astype(np.int32)
        self.starts, self.ids = lists(self.splats, order, *self.size)
        self.layers = forward(self.splats, self.starts, self.ids, *self.size)
        return self.layers

    def iteration(self):
        self.forward()
        return backward(self.splats, self.starts, self.ids, *self.size, self.layers[0], *self.slopes)

    def work(self) -> tuple[int, int]:
        """Pairs and runs of eight, see count()."""
        self.forward()
        return count(self.splats, self.starts, self.ids, *self.size)
