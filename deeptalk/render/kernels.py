"""Rasteriser and shader compiled by numba. Numbers are single precision throughout: a bare literal would be double.

Pictures are planes (sample, height + 2 margin, width + 2 margin) of 1/depth, so that neighbours need no bounds.
"""

import inspect
import math
from collections.abc import Callable

import numba
import numpy as np

F = np.float32
ZERO, HALF, ONE, TWO, THREE = F(0), F(0.5), F(1), F(2), F(3)
SLANT = F(0.70710678)
TONE_STEPS = F(1024)
OVERLAP = F(0.002)
"""Pixels by which a face reaches beyond its edges."""
compiled = numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy")


def kernel(function: Callable) -> Callable:
    """Compile a function; without what type checkers of the tests wrap around it, which cannot be compiled."""
    return compiled(inspect.unwrap(function))


@kernel
def rasterise(screen, faces, offsets, margin, two_sided, nearness, face_of):  # type: ignore[no-untyped-def]
    """Fill `nearness` with the greatest 1/depth over each sample and `face_of` with its face, -1 for none.

    `screen` holds x and y in pixels and 1/depth of each vertex, `offsets` the place of each sample in its pixel.
    """
    samples, height, width = face_of.shape
    nearness[:] = ZERO
    face_of[:] = -1
    low, high = offsets.min(), offsets.max()
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay, an = screen[a, 0], screen[a, 1], screen[a, 2]
        bx, by, bn = screen[b, 0], screen[b, 1], screen[b, 2]
        cx, cy, cn = screen[c, 0], screen[c, 1], screen[c, 2]
        left = max(0, math.ceil(min(ax, min(bx, cx)) - high))
        right = min(width - 1, math.floor(max(ax, max(bx, cx)) - low))
        top = max(0, math.ceil(min(ay, min(by, cy)) - high))
        bottom = min(height - 1, math.floor(max(ay, max(by, cy)) - low))
        if left > right or top > bottom:
            continue
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area == ZERO or (area > ZERO and not two_sided):  # y runs down: a face seen from inside has area above 0
            continue
        scale = ONE / area
        # The corners' shares of a point are affine in the picture, and so is 1/depth.
        a_by_x, a_by_y = (by - cy) * scale, (cx - bx) * scale
        b_by_x, b_by_y = (cy - ay) * scale, (ax - cx) * scale
        n_by_x = a_by_x * (an - cn) + b_by_x * (bn - cn)
        n_by_y = a_by_y * (an - cn) + b_by_y * (bn - cn)
        c_by_x, c_by_y = -a_by_x - b_by_x, -a_by_y - b_by_y
        a_reach, b_reach, c_reach = reach(a_by_x), reach(b_by_x), reach(c_by_x)
        for sample in range(samples):
            x0 = offsets[sample, 0] - cx
            for y in range(top, bottom + 1):
                y0 = F(y) + offsets[sample, 1] - cy
                begin, end = F(left), F(right)
                begin, end = span(a_by_x * x0 + a_by_y * y0, a_by_x, a_reach, begin, end)
                begin, end = span(b_by_x * x0 + b_by_y * y0, b_by_x, b_reach, begin, end)
                begin, end = span(ONE + c_by_x * x0 + c_by_y * y0, c_by_x, c_reach, begin, end)
                first = math.ceil(begin)
                near = cn + n_by_x * (x0 + F(first)) + n_by_y * y0
                for x in range(first, math.floor(end) + 1):
                    if near > nearness[sample, y + margin, x + margin]:
                        nearness[sample, y + margin, x + margin] = near
                        face_of[sample, y, x] = face
                    near += n_by_x


@kernel
def reach(by_x):  # type: ignore[no-untyped-def]
    """Pixels over which a share that changes by `by_x` a pixel changes by 1; 0 where it does not change."""
    return ONE / by_x if by_x != ZERO else ZERO


@kernel
def span(at_zero, by_x, pixels, begin, end):  # type: ignore[no-untyped-def]
    """The part of begin..end where a share, `at_zero` at x = 0, is not negative, and OVERLAP more against cracks."""
    if by_x > ZERO:
        return max(begin, -at_zero * pixels - OVERLAP), end
    if by_x < ZERO:
        return begin, min(end, -at_zero * pixels + OVERLAP)
    return begin, end if at_zero >= ZERO else begin - ONE


@kernel
def hollows(nearness, reaches, radii, margin, out):  # type: ignore[no-untyped-def]
    """How far each sample of a plane lies behind the middle of pairs of opposite neighbours; 0 on a plane.

    Summed over rings (a reach in pixels for a radius in metres), each difference of depth in units of the radius.
    """
    height, width = out.shape
    for y in range(height):
        out[y, :] = ZERO
        for ring in range(reaches.shape[0]):
            straight, slanted = reaches[ring], int(SLANT * F(reaches[ring]) + HALF)
            for pair in range(4):
                dx = straight if pair == 0 else 0 if pair == 1 else slanted
                dy = 0 if pair == 0 else straight if pair == 1 else slanted if pair == 2 else -slanted
                here = nearness[y + margin, margin : margin + width]
                first = nearness[y + margin + dy, margin + dx : margin + dx + width]
                second = nearness[y + margin - dy, margin - dx : margin - dx + width]
                for x in range(width):
                    # A difference of 1/depth, times depth squared, is one of depth.
                    unit = ONE / (here[x] * here[x] * radii[ring] + F(1e-9))
                    one = min(ONE, max(-ONE, (first[x] - here[x]) * unit))
                    two = min(ONE, max(-ONE, (second[x] - here[x]) * unit))
                    out[y, x] += max(ZERO, one + two) * F(0.125)


@kernel
def hollowness(nearness, reaches, radii, x, y):  # type: ignore[no-untyped-def]
    """What `hollows` gives, of one sample; x and y count from the margin's corner."""
    near = nearness[y, x]
    total = ZERO
    for ring in range(reaches.shape[0]):
        straight, slanted = reaches[ring], int(SLANT * F(reaches[ring]) + HALF)
        unit = ONE / (near * near * radii[ring] + F(1e-9))
        for pair in range(4):
            dx = straight if pair == 0 else 0 if pair == 1 else slanted
            dy = 0 if pair == 0 else straight if pair == 1 else slanted if pair == 2 else -slanted
            one = min(ONE, max(-ONE, (nearness[y + dy, x + dx] - near) * unit))
            two = min(ONE, max(-ONE, (nearness[y - dy, x - dx] - near) * unit))
            total += max(ZERO, one + two) * F(0.125)
    return total


@kernel
def creep_of(materials, ambient):  # type: ignore[no-untyped-def]
    """(material, 2, 3): how far light creeps around each material, by colour, and what that divides the light by."""
    creeps = np.empty((materials.shape[0], 2, 3), F)
    for row in range(materials.shape[0]):
        for k in range(3):
            creeps[row, 0, k] = materials[row, 0] * ambient[2, k]
            creeps[row, 1, k] = ONE / (ONE + creeps[row, 0, k])
    return creeps


@kernel
def shares_of(screen, a, b, c, px, py):  # type: ignore[no-untyped-def]
    """Signed area of a face on the screen, and how much of each corner a point of the picture shows, in depth too."""
    ax, ay = screen[a, 0], screen[a, 1]
    bx, by = screen[b, 0] - ax, screen[b, 1] - ay
    cx, cy = screen[c, 0] - ax, screen[c, 1] - ay
    dx, dy = px - ax, py - ay
    area = bx * cy - cx * by
    scale = ONE / area
    share_b, share_c = (dx * cy - cx * dy) * scale, (bx * dy - dx * by) * scale
    # A pixel's middle may lie beside the face that its samples met: the nearest point of it, then.
    share_a = max(ZERO, ONE - share_b - share_c) * screen[a, 2]
    share_b, share_c = max(ZERO, share_b) * screen[b, 2], max(ZERO, share_c) * screen[c, 2]
    scale = ONE / (share_a + share_b + share_c)
    return area, share_a * scale, share_b * scale, share_c * scale


@kernel
def normal_at(normals, a, b, c, share_a, share_b, share_c):  # type: ignore[no-untyped-def]
    """Unit normal between three corners."""
    nx = share_a * normals[a, 0] + share_b * normals[b, 0] + share_c * normals[c, 0]
    ny = share_a * normals[a, 1] + share_b * normals[b, 1] + share_c * normals[c, 1]
    nz = share_a * normals[a, 2] + share_b * normals[b, 2] + share_c * normals[c, 2]
    scale = ONE / math.sqrt(nx * nx + ny * ny + nz * nz + F(1e-12))
    return nx * scale, ny * scale, nz * scale


@kernel
def mix(out, table, a, b, c, share_a, share_b, share_c):  # type: ignore[no-untyped-def]
    """Write to `out` (3) the mean of three rows of a table."""
    for k in range(3):
        out[k] = share_a * table[a, k] + share_b * table[b, k] + share_c * table[c, k]


@kernel
def towards_camera(look, px, py):  # type: ignore[no-untyped-def]
    """Unit vector towards the camera from what a point of the picture shows."""
    rx, ry = (look[1] - px) / look[0], (py - look[2]) / look[0]
    scale = ONE / math.sqrt(rx * rx + ry * ry + ONE)
    return (
        (look[3] * rx + look[6] * ry + look[9]) * scale,
        (look[4] * rx + look[7] * ry + look[10]) * scale,
        (look[5] * rx + look[8] * ry + look[11]) * scale,
    )


@kernel
def shade(  # type: ignore[no-untyped-def]
    screen, normals, colours, places, faces, face_material, face_detail, offsets, margin, nearness, face_of, hollow,
    reaches, radii, look, style, background, picture,
):  # fmt: skip
    """Fill `picture` (h, w, 3) with bytes: the mean colour of each pixel's samples.

    Where all samples of a pixel lie on smooth skin, its middle stands for all. `look` holds the focal length and the
    picture's centre in pixels, then the camera's axes; `style` the tables of `shading`. Only faces with a detail (iris,
    brow, gaps of teeth) need `places`.
    """
    samples, height, width = face_of.shape
    materials, lights, ambient, palette, eye, occlusion, tones = style
    steps = F(tones.shape[0] - 1)
    creeps = creep_of(materials, ambient)
    lit, albedo, place, sums = np.empty(3, F), np.empty(3, F), np.empty(3, F), np.empty(3, F)
    for y in range(height):
        for x in range(width):
            count = alike(nearness, face_of, face_material, margin, x, y)
            sums[:] = ZERO
            for sample in range(count):
                face = face_of[sample, y, x]
                if face < 0:
                    for k in range(3):
                        sums[k] += background[y, k]
                    continue
                a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
                px, py = F(x) + HALF, F(y) + HALF
                if count > 1:
                    px, py = F(x) + offsets[sample, 0], F(y) + offsets[sample, 1]
                area, share_a, share_b, share_c = shares_of(screen, a, b, c, px, py)
                nx, ny, nz = normal_at(normals, a, b, c, share_a, share_b, share_c)
                mix(albedo, colours, a, b, c, share_a, share_b, share_c)
                detail = face_detail[face]
                if detail:
                    mix(place, places, a, b, c, share_a, share_b, share_c)
                vx, vy, vz = towards_camera(look, px, py)
                material = int(face_material[face])
                gleam = ZERO
                if area > ZERO:  # y runs down, so a face seen from inside turns this way
                    nx, ny, nz = -nx, -ny, -nz
                    material = 4
                    for k in range(3):
                        albedo[k] = palette[4, k] * HALF
                elif detail and material == 1:
                    gleam = iris(albedo, place, nx, ny, nz, vx, vy, vz, palette, eye, lights)
                elif detail and material == 2:
                    tooth(albedo, place)
                elif detail and material == 0:
                    brow(albedo, place, palette)
                deep = hollow[y, x]
                if count > 1:  # an edge: the first sample's hollow may be that of something else
                    deep = hollowness(nearness[sample], reaches, radii, x + margin, y + margin)
                deep *= materials[material, 4]
                row, creep = materials[material], creeps[material]
                light_on(lit, albedo, nx, ny, nz, vx, vy, vz, deep, row, creep, lights, ambient)
                for k in range(3):
                    value = (lit[k] + gleam) / (ONE + deep * occlusion[k])
                    sums[k] += tones[int(min(steps, math.sqrt(value) * TONE_STEPS + HALF))]
            for k in range(3):
                picture[y, x, k] = np.uint8(sums[k] / F(count) + HALF)


@kernel
def alike(nearness, face_of, face_material, margin, x, y):  # type: ignore[no-untyped-def]
    """1 where one point can stand for all samples: all on skin without a step in depth, or all beside the head."""
    samples = face_of.shape[0]
    if samples == 1:
        return 1
    first = face_of[0, y, x]
    near = nearness[0, y + margin, x + margin]
    for sample in range(samples):
        face = face_of[sample, y, x]
        if first < 0:
            if face >= 0:
                return samples
            continue
        step_in_depth = abs(nearness[sample, y + margin, x + margin] - near) > F(0.004) * near
        if face < 0 or face_material[face] != 0 or step_in_depth:
            return samples
    return 1


@kernel
def light_on(lit, albedo, nx, ny, nz, vx, vy, vz, hollow, material, creeps, lights, ambient):  # type: ignore[no-untyped-def]
    """Light that a point throws to the camera: key, fill, sky and ground, a highlight of the key, and the rim."""
    gloss, rim = material[1], material[3]
    grazing = ONE - max(ZERO, nx * vx + ny * vy + nz * vz)
    grazing *= grazing
    key = nx * lights[0, 0] + ny * lights[0, 1] + nz * lights[0, 2]
    fill = nx * lights[1, 0] + ny * lights[1, 1] + nz * lights[1, 2]
    behind = max(ZERO, nx * lights[2, 0] + ny * lights[2, 1] + nz * lights[2, 2]) * grazing * rim
    behind *= max(ZERO, ONE - THREE * hollow)  # no light from behind reaches a nostril
    hx, hy, hz = lights[0, 0] + vx, lights[0, 1] + vy, lights[0, 2] + vz
    highlight = max(ZERO, nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz)
    for _ in range(int(material[2])):
        highlight *= highlight
    highlight = gloss * (highlight + HALF * grazing * grazing)
    up = HALF * ny + HALF
    for k in range(3):
        creep, scale = creeps[0, k], creeps[1, k]
        diffuse = ambient[1, k] + up * (ambient[0, k] - ambient[1, k])
        diffuse += lights[0, 3 + k] * max(ZERO, (key + creep) * scale)
        diffuse += lights[1, 3 + k] * max(ZERO, (fill + creep) * scale)
        rims = behind * lights[2, 3 + k] * (F(0.3) + F(0.7) * albedo[k])
        lit[k] = diffuse * albedo[k] + highlight * lights[0, 3 + k] + rims


@kernel
def step(low, high, value):  # type: ignore[no-untyped-def]
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = min(ONE, max(ZERO, (value - F(low)) / F(high - low)))
    return t * t * (THREE - TWO * t)


@kernel
def iris(albedo, place, nx, ny, nz, vx, vy, vz, palette, eye, lights):  # type: ignore[no-untyped-def]
    """Colour a point of an eye by its direction from the eye's centre; returns the light of its highlight."""
    scale = ONE / math.sqrt(place[0] * place[0] + place[1] * place[1] + place[2] * place[2] + F(1e-12))
    angle = math.acos(min(ONE, max(-ONE, place[2] * scale)))
    around = math.atan2(place[1], place[0])
    white = step(eye[2] - F(0.02), eye[2] + F(0.05), angle)
    rim = step(eye[1] - F(0.09), eye[2] - F(0.02), angle)
    pupil = ONE - step(eye[0] - F(0.02), eye[0] + F(0.03), angle)
    inner = (eye[1] - angle) / (eye[1] - eye[0])
    fibres = F(0.88) + F(0.10) * math.sin(F(23) * around) * math.sin(F(9) * around + ONE) + F(0.18) * inner
    red = F(0.25) * step(F(0.75), F(1.25), angle)
    for k in range(3):
        colour = palette[0, k] * fibres
        colour += rim * (palette[1, k] - colour)
        colour += pupil * (palette[2, k] - colour)
        albedo[k] = colour + white * (albedo[k] - colour)
    albedo[1] *= ONE - red
    albedo[2] *= ONE - red
    hx, hy, hz = lights[3, 0] + vx, lights[3, 1] + vy, lights[3, 2] + vz
    towards = (nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz)
    return lights[3, 3] * step(F(0.990), F(0.9955), towards)


@kernel
def tooth(albedo, place):  # type: ignore[no-untyped-def]
    """Darken a point of the teeth where two of them meet."""
    along = abs(place[0]) / F(0.0076)
    apart = (HALF - abs(along - math.floor(along) - HALF)) * F(0.0076)
    for k in range(3):
        albedo[k] *= ONE - F(0.35) * (ONE - step(F(0.0), F(0.0009), apart))


@kernel
def brow(albedo, place, palette):  # type: ignore[no-untyped-def]
    """Draw hairs of a brow on a point of the face, by its place outward and up from the eye."""
    outward, up = place[0], place[1]
    if up < F(0.006) or up > F(0.028) or outward < F(-0.026) or outward > F(0.034) or place[2] < F(-0.02):
        return
    along = outward / F(0.026)
    line = F(0.0214) + along * (F(0.0015) - along * (F(0.0032) + F(0.0019) * along))
    half = F(0.0040) * (ONE - step(F(-0.2), F(1.2), along)) + F(0.0008)
    ends = step(F(-0.0245), F(-0.0135), outward) * (ONE - step(F(0.025), F(0.032), outward))
    strength = F(0.90) * ends * (ONE - step(F(0.25), F(1.35), abs((up - line) / half)))
    for k in range(3):
        albedo[k] += strength * (palette[3, k] - albedo[k])
