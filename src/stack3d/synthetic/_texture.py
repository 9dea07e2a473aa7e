"""The grey value of a made-up specimen at any point of space.

Everything hangs on a hash of lattice points, so the specimen has no edge, no period and no state: any frame at any
position, shift or rotation is evaluated, never interpolated from another one.
"""

from __future__ import annotations

import math

import numpy as np

from stack3d.synthetic._lattice import LEAN, inline, jit

TISSUE, POROUS = 0, 1
TILE = 32
_MAX_CANDIDATES = 96


@inline
def _weights(p):  # type: ignore[no-untyped-def]
    """First of the three lattice points around p, and their quadratic B-spline weights."""
    half = np.float32(0.5)
    i = np.uint32(p + half)
    t = p - np.float32(i)
    return i - np.uint32(1), half * (half - t) * (half - t), np.float32(0.75) - t * t, half * (half + t) * (half + t)


@jit
def _paste(out, tile, top, left):  # type: ignore[no-untyped-def]
    """Copy what of a tile lies in the frame; loops, as assigning slices compiles for seconds."""
    for i in range(min(TILE, out.shape[0] - top)):
        for j in range(min(TILE, out.shape[1] - left)):
            out[top + i, left + j] = tile[i, j]


@jit
def _positions(ys, xs, matrix, top, left):  # type: ignore[no-untyped-def]
    """Points of the specimen under the pixels of a tile."""
    for i in range(TILE):
        for j in range(TILE):
            xs[i, j] = np.float32(matrix[0, 0] * (left + j) + matrix[0, 1] * (top + i) + matrix[0, 2])
            ys[i, j] = np.float32(matrix[1, 0] * (left + j) + matrix[1, 1] * (top + i) + matrix[1, 2])


@jit
def _field(out, coefficients, ys, xs, row0, column0, inverse, straight):  # type: ignore[no-untyped-def]
    """Evaluate a field at the points of a tile; `straight` when rows and columns of the tile follow y and x."""
    if not straight:
        for i in range(TILE):
            for j in range(TILE):
                k, a0, a1, a2 = _weights(ys[i, j] * inverse - row0)
                m, b0, b1, b2 = _weights(xs[i, j] * inverse - column0)
                c0, c1, c2 = coefficients[k], coefficients[k + np.uint32(1)], coefficients[k + np.uint32(2)]
                n, o = m + np.uint32(1), m + np.uint32(2)
                out[i, j] = (
                    a0 * (b0 * c0[m] + b1 * c0[n] + b2 * c0[o])
                    + a1 * (b0 * c1[m] + b1 * c1[n] + b2 * c1[o])
                    + a2 * (b0 * c2[m] + b1 * c2[n] + b2 * c2[o])
                )
        return
    taps, first = np.empty((3, TILE), np.float32), np.empty(TILE, np.uint32)
    for j in range(TILE):
        first[j], taps[0, j], taps[1, j], taps[2, j] = _weights(xs[0, j] * inverse - column0)
    low, line = first[0], np.empty(first[TILE - 1] - first[0] + np.uint32(3), np.float32)
    for j in range(TILE):
        first[j] -= low
    for i in range(TILE):
        k, a0, a1, a2 = _weights(ys[i, 0] * inverse - row0)
        for j in range(line.size):
            m = low + np.uint32(j)
            line[j] = a0 * coefficients[k, m] + a1 * coefficients[k + np.uint32(1), m]
            line[j] += a2 * coefficients[k + np.uint32(2), m]
        for j in range(TILE):
            m = first[j]
            value = taps[0, j] * line[m] + taps[1, j] * line[m + np.uint32(1)]
            out[i, j] = value + taps[2, j] * line[m + np.uint32(2)]


@jit
def _nearest(vs, us, chosen, count, nearest, second, first):  # type: ignore[no-untyped-def]
    """Find the nearest seed of each point, its squared distance and that of the next."""
    for i in range(TILE):
        for j in range(TILE):
            nearest[i, j], second[i, j], first[i, j] = np.float32(1e30), np.float32(1e30), 0
        for n in range(count):
            cy, cx, h = chosen[n, 0], chosen[n, 1], chosen[n, 2] * chosen[n, 2]
            for j in range(TILE):
                dy, dx = vs[i, j] - cy, us[i, j] - cx
                distance = dy * dy + dx * dx + h
                old = nearest[i, j]
                nearer = distance < old
                second[i, j] = old if nearer else min(second[i, j], distance)
                first[i, j] = np.int32(n) if nearer else first[i, j]
                nearest[i, j] = distance if nearer else old


@jit
def _gaps(chosen, count, inverse):  # type: ignore[no-untyped-def]
    """Fill half the inverse distance of each pair of seeds; 0 for a seed with itself."""
    for n in range(count):
        for m in range(n):
            dy, dx, dz = chosen[n, 0] - chosen[m, 0], chosen[n, 1] - chosen[m, 1], chosen[n, 2] - chosen[m, 2]
            inverse[n, m] = np.float32(0.5) / math.sqrt(dy * dy + dx * dx + dz * dz)
            inverse[m, n] = inverse[n, m]
        inverse[n, n] = np.float32(0.0)


@jit
def _border(v, u, chosen, count, first, nearest, inverse, reach):  # type: ignore[no-untyped-def]
    """Distance to the nearest border of the cell, at most `reach`, and the seed behind it."""
    border, behind = reach, first
    for n in range(count):
        dy, dx = v - chosen[n, 0], u - chosen[n, 1]
        distance = (dy * dy + dx * dx + chosen[n, 2] * chosen[n, 2] - nearest) * inverse[first, n]
        if distance < border and n != first:
            border, behind = distance, n
    return border, behind


@inline
def _step(t):  # type: ignore[no-untyped-def]
    """Smooth step from 0 at t = -1/2 to 1 at t = 1/2."""
    t = min(max(t + np.float32(0.5), np.float32(0.0)), np.float32(1.0))
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)


@inline
def _bump(t):  # type: ignore[no-untyped-def]
    """Smooth bump of height 1, zero beyond ``|t| = 1``."""
    s = max(np.float32(1.0) - t * t, np.float32(0.0))
    return s * s


@jit
def _candidates(seeds, first, base, size, reach, y0, y1, x0, x1, chosen):  # type: ignore[no-untyped-def]
    """Keep the seeds that are nearest, or within `reach` of a border, somewhere in a box; return how many."""
    i0, i1 = (
        int(math.floor((y0 + base[0]) / size) - first[0]) - 2,
        int(math.floor((y1 + base[0]) / size) - first[0]) + 3,
    )
    j0, j1 = (
        int(math.floor((x0 + base[1]) / size) - first[1]) - 2,
        int(math.floor((x1 + base[1]) / size) - first[1]) + 3,
    )
    best = np.float32(1e30)
    for k in range(5):
        for i in range(i0, i1):
            for j in range(j0, j1):
                sy, sx, sz = seeds[k, i, j, 0], seeds[k, i, j, 1], seeds[k, i, j, 2]
                far_y, far_x = max(sy - y0, y1 - sy), max(sx - x0, x1 - sx)
                best = min(best, far_y * far_y + far_x * far_x + sz * sz)
    limit = math.sqrt(best) + 2 * reach
    limit = limit * limit
    count = 0
    for k in range(5):
        for i in range(i0, i1):
            for j in range(j0, j1):
                sy, sx, sz = seeds[k, i, j, 0], seeds[k, i, j, 1], seeds[k, i, j, 2]
                near_y, near_x = max(max(y0 - sy, sy - y1), 0.0), max(max(x0 - sx, sx - x1), 0.0)
                if near_y * near_y + near_x * near_x + sz * sz <= limit and count < chosen.shape[0]:
                    for n in range(8):
                        chosen[count, n] = seeds[k, i, j, n]
                    count += 1
    return count


@jit
def _interior(vs, us, middle, chosen, count, size, nearest, second, first, inverse, cell):  # type: ignore[no-untyped-def]
    """Fill `cell` (6, y, x) with what the cell of each point says of it, whatever the channel.

    These are the distance to the border, chance and kind of the cell (mixed with the neighbour's at the border), whether
    it holds vesicles, the distance outwards from its mitochondrion (huge without one) and the phase of the cristae.
    """
    reach, zero, half, one = np.float32(3.25), np.float32(0.0), np.float32(0.5), np.float32(1.0)
    for i in range(TILE):
        for j in range(TILE):
            v, u, n = vs[i, j], us[i, j], first[i, j]
            shade, kin, border = chosen[n, 3], chosen[n, 4], reach
            kind = one if kin < np.float32(0.55) else zero
            cell[1, i, j], cell[2, i, j] = shade, kind
            # A border within reach means a second seed nearly as near; the rest of the cell skips the search.
            slack = math.sqrt(nearest[i, j]) + np.float32(2.0) * reach
            if second[i, j] < slack * slack:
                border, behind = _border(v, u, chosen, count, n, nearest[i, j], inverse, reach)
                # Half of the neighbour at the border itself: an edge as wide as the beam, not a staircase.
                mix = half - half * _step(border * half - half)
                other = one if chosen[behind, 4] < np.float32(0.55) else zero
                cell[1, i, j] = shade + mix * (chosen[behind, 3] - shade)
                cell[2, i, j] = kind + mix * (other - kind)
            cell[0, i, j] = border
            cell[3, i, j] = one if np.float32(0.45) <= kin < np.float32(0.75) else zero
            cell[4, i, j], cell[5, i, j] = np.float32(1e6), zero
            if kin < np.float32(0.45) and nearest[i, j] < half * size * size:
                dy, dx, dz = v - chosen[n, 0], u - chosen[n, 1], -chosen[n, 2]
                along = chosen[n, 6] * dy + chosen[n, 7] * dx + np.float32(LEAN) * dz
                q = np.float32(math.sqrt(max(nearest[i, j] - np.float32(0.75) * along * along, zero)))
                q -= size * (np.float32(0.14) + np.float32(0.1) * chosen[n, 5])
                cell[4, i, j] = q
                if q < np.float32(3.0):
                    cell[5, i, j] = np.float32(math.sin(np.float32(0.75) * along + np.float32(0.9) * middle[i, j]))


@jit
def _tissue(out, palette, cell, fines, middles, lumina):  # type: ignore[no-untyped-def]
    """Cytoplasm with organelles, vesicles, membranes and lumina."""
    for i in range(TILE):
        for j in range(TILE):
            fine, middle, lumen, q = palette[2] * fines[i, j], middles[i, j], lumina[i, j], cell[4, i, j]
            value = palette[0] + (palette[1] - palette[0]) * cell[1, i, j] + fine + palette[3] * middle
            inside = _step(q * np.float32(-1 / 3))
            value += inside * (palette[4] + palette[5] * cell[5, i, j] + fine - value)
            value += np.float32(0.8) * _bump(q * np.float32(1 / 2.6)) * (palette[6] - value)
            wall = _bump((middle - np.float32(1.15)) * np.float32(1 / 0.45))
            value += np.float32(0.7) * cell[3, i, j] * wall * (palette[6] - value)
            value += cell[3, i, j] * _step((middle - np.float32(1.7)) * np.float32(2.5)) * (palette[8] - value)
            value += np.float32(0.95) * _bump(cell[0, i, j] * np.float32(1 / 3.2)) * (palette[6] - value)
            inside = _step((lumen - np.float32(1.45)) * np.float32(10.0))
            value += inside * (palette[7] + np.float32(0.5) * fine - value)
            wall = _bump((lumen - np.float32(1.41)) * np.float32(1 / 0.11))
            out[i, j] = value + np.float32(0.9) * wall * (palette[6] - value)


@jit
def _porous(out, palette, cell, fines, middles, pores):  # type: ignore[no-untyped-def]
    """Grains of two materials, grain borders, pores with a bright rim and a floor that shines through."""
    for i in range(TILE):
        for j in range(TILE):
            fine, middle = palette[2] * fines[i, j], middles[i, j]
            value = palette[1] + (palette[0] - palette[1]) * cell[2, i, j] + palette[8] * cell[1, i, j]
            value += fine + palette[3] * middle
            value += np.float32(0.6) * _bump(cell[0, i, j] * np.float32(1 / 1.6)) * (palette[6] - value)
            edge = pores[i, j] + np.float32(0.05) * middle - np.float32(0.55)
            value += palette[7] * _bump((edge + np.float32(0.13)) * np.float32(1 / 0.13))
            inside = _step(edge * np.float32(1 / 0.12))
            floor = palette[4] + palette[5] * min(edge * edge, np.float32(1.0)) + np.float32(0.35) * fine
            out[i, j] = value + inside * (floor - value)


@jit
def render(kind, out, matrix, size, seeds, first_cell, base, palettes, patches, origins, inverses, warps):  # type: ignore[no-untyped-def]
    """Fill `out` (channel, y, x) with grey values in 0..1.

    `matrix` (2, 3) takes the pixel (x, y, 1) to a point (x, y) of the specimen, counted from `base` (y, x).
    `patches` are the lattices of the fields: two coarse and two small displacements, pores, middle and fine grain.
    """
    channels, height, width = out.shape
    # Whole tiles in arrays of fixed shape: loops over them become vector code. What lies beyond the frame is dropped.
    ys, xs = np.empty((TILE, TILE), np.float32), np.empty((TILE, TILE), np.float32)
    vs, us = np.empty((TILE, TILE), np.float32), np.empty((TILE, TILE), np.float32)
    nearest, second = np.empty((TILE, TILE), np.float32), np.empty((TILE, TILE), np.float32)
    first, tile = np.empty((TILE, TILE), np.int32), np.empty((TILE, TILE), np.float32)
    fields, cell = np.empty((7, TILE, TILE), np.float32), np.empty((6, TILE, TILE), np.float32)
    chosen = np.empty((_MAX_CANDIDATES, 8), np.float32)
    inverse = np.empty((_MAX_CANDIDATES, _MAX_CANDIDATES), np.float32)
    reach = np.float32(3.25)
    straight = matrix[0, 1] == 0.0 and matrix[1, 0] == 0.0
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            _positions(ys, xs, matrix, top, left)
            for n in range(7):
                _field(fields[n], patches[n], ys, xs, origins[n, 0], origins[n, 1], inverses[n], straight)
            y0, y1, x0, x1 = np.float32(1e30), np.float32(-1e30), np.float32(1e30), np.float32(-1e30)
            for i in range(TILE):
                for j in range(TILE):
                    v = ys[i, j] + warps[0] * fields[0, i, j] + warps[1] * fields[2, i, j]
                    u = xs[i, j] + warps[0] * fields[1, i, j] + warps[1] * fields[3, i, j]
                    vs[i, j], us[i, j] = v, u
                    y0, y1, x0, x1 = min(y0, v), max(y1, v), min(x0, u), max(x1, u)
            count = _candidates(seeds, first_cell, base, size, reach, y0, y1, x0, x1, chosen)
            _gaps(chosen, count, inverse)
            _nearest(vs, us, chosen, count, nearest, second, first)
            _interior(vs, us, fields[5], chosen, count, size, nearest, second, first, inverse, cell)
            for c in range(channels):
                if kind == TISSUE:
                    _tissue(tile, palettes[c], cell, fields[6], fields[5], fields[4])
                else:
                    _porous(tile, palettes[c], cell, fields[6], fields[5], fields[4])
                _paste(out[c], tile, top, left)


@jit
def sample(out, coefficients, matrix):  # type: ignore[no-untyped-def]
    """Fill a frame with a spline field; `matrix` (2, 3) takes the pixel (x, y, 1) to its (row, column) node."""
    height, width = out.shape
    ys, xs = np.empty((TILE, TILE), np.float32), np.empty((TILE, TILE), np.float32)
    straight = matrix[0, 0] == 0.0 and matrix[1, 1] == 0.0
    zero, one = np.float32(0.0), np.float32(1.0)
    tile = np.empty((TILE, TILE), np.float32)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            _positions(ys, xs, matrix[::-1], top, left)
            _field(tile, coefficients, ys, xs, zero, zero, one, straight)
            _paste(out, tile, top, left)
