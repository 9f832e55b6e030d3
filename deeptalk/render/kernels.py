"""Drawing without any graphics driver: a rasteriser and shader compiled by numba, one frame a thread."""

import math

import numba
import numpy as np

TONE_STEPS = 1024.0
"""Steps of the table of tones to the square root of 1."""
kernel = numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy")


@kernel
def rasterise(screen, faces, offset_x, offset_y, nearness, face_of):
    """Fill `nearness` (h, w) with the greatest 1/depth over each sample and `face_of` with its face, -1 for none."""
    height, width = nearness.shape
    nearness[:] = np.float32(0)
    face_of[:] = -1
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay = screen[a, 0] - offset_x, screen[a, 1] - offset_y
        bx, by = screen[b, 0] - offset_x, screen[b, 1] - offset_y
        cx, cy = screen[c, 0] - offset_x, screen[c, 1] - offset_y
        left = max(0, int(math.ceil(min(ax, bx, cx))))
        right = min(width - 1, int(math.floor(max(ax, bx, cx))))
        top = max(0, int(math.ceil(min(ay, by, cy))))
        bottom = min(height - 1, int(math.floor(max(ay, by, cy))))
        if left > right or top > bottom:
            continue
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area == 0:
            continue
        scale = np.float32(1) / area
        # Shares of the corners a and b, and nearness, are affine in the picture; c has the rest.
        step_ax, step_ay = (by - cy) * scale, (cx - bx) * scale
        step_bx, step_by = (cy - ay) * scale, (ax - cx) * scale
        near_a, near_b, near_c = screen[a, 2], screen[b, 2], screen[c, 2]
        for y in range(top, bottom + 1):
            row_a = step_ax * (left - cx) + step_ay * (y - cy)
            row_b = step_bx * (left - cx) + step_by * (y - cy)
            for x in range(left, right + 1):
                if row_a >= 0 and row_b >= 0 and row_a + row_b <= 1:
                    near = near_c + row_a * (near_a - near_c) + row_b * (near_b - near_c)
                    if near > nearness[y, x]:
                        nearness[y, x] = near
                        face_of[y, x] = face
                row_a += step_ax
                row_b += step_bx


@kernel
def shade(
    screen,
    normals,
    colours,
    places,
    faces,
    face_material,
    nearness,
    face_of,
    offset_x,
    offset_y,
    look,
    materials,
    lights,
    ambient,
    palette,
    eye,
    occlusion,
    radii,
    tones,
    background,
    total,
):
    """Add to `total` (h, w, 3) the colours, 0 to 255, of the samples that `rasterise` found.

    `look` holds the focal length and the picture's centre in pixels, then the camera's axes (right, up, backward).
    """
    height, width = nearness.shape
    lit = np.empty(3, np.float32)
    albedo = np.empty(3, np.float32)
    place = np.empty(3, np.float32)
    for y in range(height):
        for x in range(width):
            face = face_of[y, x]
            if face < 0:
                for k in range(3):
                    total[y, x, k] += background[y, k]
                continue
            a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
            px, py = x + offset_x, y + offset_y
            bx, by = screen[b, 0] - screen[a, 0], screen[b, 1] - screen[a, 1]
            cx, cy = screen[c, 0] - screen[a, 0], screen[c, 1] - screen[a, 1]
            dx, dy = px - screen[a, 0], py - screen[a, 1]
            area = bx * cy - cx * by
            share_b = (dx * cy - cx * dy) / area * screen[b, 2]
            share_c = (bx * dy - dx * by) / area * screen[c, 2]
            share_a = (1 - (dx * cy - cx * dy) / area - (bx * dy - dx * by) / area) * screen[a, 2]
            near = share_a + share_b + share_c
            share_a, share_b, share_c = share_a / near, share_b / near, share_c / near
            nx = share_a * normals[a, 0] + share_b * normals[b, 0] + share_c * normals[c, 0]
            ny = share_a * normals[a, 1] + share_b * normals[b, 1] + share_c * normals[c, 1]
            nz = share_a * normals[a, 2] + share_b * normals[b, 2] + share_c * normals[c, 2]
            length = 1 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            nx, ny, nz = nx * length, ny * length, nz * length
            for k in range(3):
                albedo[k] = share_a * colours[a, k] + share_b * colours[b, k] + share_c * colours[c, k]
                place[k] = share_a * places[a, k] + share_b * places[b, k] + share_c * places[c, k]
            # Towards the camera, from the pixel's place in the picture.
            rx, ry = -(px - look[1]) / look[0], (py - look[2]) / look[0]
            length = 1 / math.sqrt(rx * rx + ry * ry + 1)
            vx = (look[3] * rx + look[6] * ry + look[9]) * length
            vy = (look[4] * rx + look[7] * ry + look[10]) * length
            vz = (look[5] * rx + look[8] * ry + look[11]) * length
            material = face_material[face]
            gleam = np.float32(0)
            if area > 0:  # y runs down, so faces seen from inside turn this way
                nx, ny, nz = -nx, -ny, -nz
                material = 4
                for k in range(3):
                    albedo[k] = palette[4, k] * 0.5
            elif material == 1:
                gleam = iris(albedo, place, nx, ny, nz, vx, vy, vz, palette, eye, lights)
            elif material == 0:
                brow(albedo, place, palette)
            lights_on(lit, albedo, nx, ny, nz, vx, vy, vz, material, materials, lights, ambient)
            hollow = hollowness(nearness, x, y, look[0], radii)
            for k in range(3):
                value = (lit[k] + gleam) / (1 + hollow * occlusion[k])
                total[y, x, k] += tones[min(tones.shape[0] - 1, int(math.sqrt(value) * TONE_STEPS + 0.5))]


@kernel
def lights_on(lit, albedo, nx, ny, nz, vx, vy, vz, material, materials, lights, ambient):
    """Light that a point throws to the camera: key, fill, sky and ground, a highlight of the key, and the rim."""
    wrap, gloss, sharpness, rim = materials[material]
    facing = max(np.float32(0), nx * vx + ny * vy + nz * vz)
    grazing = (1 - facing) * (1 - facing)
    for k in range(3):
        up = 0.5 * ny + 0.5
        lit[k] = ambient[1, k] + up * (ambient[0, k] - ambient[1, k])
        creep = wrap * ambient[2, k]
        for light in range(2):
            towards = nx * lights[light, 0] + ny * lights[light, 1] + nz * lights[light, 2]
            lit[k] += lights[light, 3 + k] * max(np.float32(0), (towards + creep) / (1 + creep))
        lit[k] *= albedo[k]
    hx, hy, hz = lights[0, 0] + vx, lights[0, 1] + vy, lights[0, 2] + vz
    highlight = max(np.float32(0), nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz)
    for _ in range(int(sharpness)):
        highlight *= highlight
    behind = max(np.float32(0), nx * lights[2, 0] + ny * lights[2, 1] + nz * lights[2, 2])
    for k in range(3):
        lit[k] += gloss * (highlight + 0.5 * grazing * grazing) * lights[0, 3 + k]
        lit[k] += rim * behind * grazing * lights[2, 3 + k] * (0.3 + 0.7 * albedo[k])


@kernel
def step(low, high, value):
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = min(1.0, max(0.0, (value - low) / (high - low)))
    return t * t * (3 - 2 * t)


@kernel
def iris(albedo, place, nx, ny, nz, vx, vy, vz, palette, eye, lights):
    """Colour a point of an eye by its direction from the eye's centre; returns the light of its highlight."""
    length = 1 / math.sqrt(place[0] * place[0] + place[1] * place[1] + place[2] * place[2] + 1e-12)
    x, y, z = place[0] * length, place[1] * length, place[2] * length
    angle = math.acos(min(1.0, max(-1.0, z)))
    white = step(eye[2] - 0.02, eye[2] + 0.05, angle)
    rim = step(eye[1] - 0.09, eye[2] - 0.02, angle)
    pupil = 1 - step(eye[0] - 0.02, eye[0] + 0.03, angle)
    around = math.atan2(y, x)
    fibres = (
        0.88
        + 0.10 * math.sin(23 * around) * math.sin(9 * around + 1)
        + 0.18 * (1 - (angle - eye[0]) / (eye[1] - eye[0]))
    )
    red = 0.25 * step(0.75, 1.25, angle)
    for k in range(3):
        colour = palette[0, k] * fibres
        colour += rim * (palette[1, k] - colour)
        colour += pupil * (palette[2, k] - colour)
        albedo[k] = colour + white * (albedo[k] - colour)
    albedo[1] *= 1 - red
    albedo[2] *= 1 - red
    hx, hy, hz = lights[0, 0] + vx, lights[0, 1] + vy, lights[0, 2] + vz
    towards = (nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz)
    return 1.6 * step(0.978, 0.990, towards)


@kernel
def brow(albedo, place, palette):
    """Draw hairs of a brow on a point of the face, by its place outward and up from the eye."""
    outward, up = place[0], place[1]
    if up < 0.006 or up > 0.028 or outward < -0.026 or outward > 0.032 or place[2] < -0.02:
        return
    along = outward / 0.026
    line = 0.0209 - 0.0022 * along - 0.0052 * along * along - 0.0012 * along * along * along
    half = 0.0034 * (1 - step(0.1, 1.15, along)) + 0.0006
    inner = step(-0.0235, -0.0175, outward)
    outer = 1 - step(0.024, 0.030, outward)
    across = (up - line) / half
    hairs = 0.82 + 0.18 * math.sin(2600 * outward - 1500 * up)
    strength = inner * outer * hairs * (1 - step(0.55, 1.25, abs(across)))
    for k in range(3):
        albedo[k] += 0.88 * strength * (palette[3, k] - albedo[k])


@kernel
def hollowness(nearness, x, y, focal, radii):
    """How far a sample lies behind the middle of pairs of opposite neighbours, summed over the radii; 0 on a plane."""
    height, width = nearness.shape
    near = nearness[y, x]
    total = np.float32(0)
    for ring in range(radii.shape[0]):
        reach = radii[ring] * focal * near
        if reach < 1:
            continue
        # A difference of 1/depth, times depth squared, is a difference of depth; in units of the radius.
        unit = 1 / (near * near * radii[ring])
        straight, slanted = int(reach + 0.5), int(reach * 0.7071 + 0.5)
        for pair in range(4):
            sx = straight if pair == 0 else 0 if pair == 1 else slanted
            sy = 0 if pair == 0 else straight if pair == 1 else slanted if pair == 2 else -slanted
            x0, y0 = min(width - 1, max(0, x + sx)), min(height - 1, max(0, y + sy))
            x1, y1 = min(width - 1, max(0, x - sx)), min(height - 1, max(0, y - sy))
            first = min(np.float32(1), max(np.float32(-1), (nearness[y0, x0] - near) * unit))
            second = min(np.float32(1), max(np.float32(-1), (nearness[y1, x1] - near) * unit))
            total += max(np.float32(0), first + second)
    return total / 8
