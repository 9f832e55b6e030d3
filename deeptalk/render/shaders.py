"""The picture as OpenGL shaders: the same formulas as `kernels`, which explain them; the tables come from `shading`."""

SURFACE_VERTEX = """
#version 330
in vec3 screen; in vec3 normal; in vec3 colour; in vec3 place;
uniform vec2 picture; uniform vec2 offset; uniform vec2 nearness_range;
out vec3 v_normal; out vec3 v_colour; out vec3 v_place; out float v_depth;
void main() {
    v_normal = normal; v_colour = colour; v_place = place;
    float depth = 1.0 / screen.z;
    v_depth = depth;
    // 1/depth is affine in the picture, as a depth buffer wants it.
    float far = (nearness_range.y - screen.z) / (nearness_range.y - nearness_range.x);
    gl_Position = vec4((screen.xy - offset) / picture * 2.0 - 1.0, 2.0 * far - 1.0, 1.0) * depth;
}
"""

SURFACE_FRAGMENT = """
#version 330
in vec3 v_normal; in vec3 v_colour; in vec3 v_place; in float v_depth;
uniform usampler2D materials; uniform bool plain;
layout(location = 0) out vec4 o_normal; layout(location = 1) out vec4 o_albedo; layout(location = 2) out vec4 o_place;
void main() {
    int width = textureSize(materials, 0).x;
    int material = int(texelFetch(materials, ivec2(gl_PrimitiveID % width, gl_PrimitiveID / width), 0).r);
    float side = gl_FrontFacing ? 1.0 : -1.0;
    o_normal = vec4(side * normalize(v_normal), gl_FrontFacing ? float(material) : -1.0);
    o_albedo = vec4(v_colour, 1.0);
    o_place = vec4(plain ? vec3(0.0) : v_place, 1.0 / v_depth);
}
"""

COVER = """
#version 330
void main() { gl_Position = vec4(vec2(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1), 0.0, 1.0); }
"""

ACCUMULATE = """
uniform sampler2D normals; uniform sampler2D albedos; uniform sampler2D places; uniform sampler2D background;
uniform vec2 offset; uniform float look[12]; uniform ivec2 reaches; uniform vec2 radii;
out vec4 colour;

float nearness(ivec2 at) {
    ivec2 size = textureSize(places, 0);
    return any(lessThan(at, ivec2(0))) || any(greaterThanEqual(at, size)) ? 0.0 : texelFetch(places, at, 0).w;
}

float hollowness(ivec2 at) {
    float near = nearness(at), total = 0.0;
    for (int ring = 0; ring < 2; ring++) {
        int straight = reaches[ring], slanted = int(0.70710678 * float(straight) + 0.5);
        float unit = 1.0 / (near * near * radii[ring] + 1e-9);
        ivec2 steps[4] = ivec2[4](
            ivec2(straight, 0), ivec2(0, straight), ivec2(slanted, slanted), ivec2(slanted, -slanted));
        for (int pair = 0; pair < 4; pair++) {
            float one = clamp((nearness(at + steps[pair]) - near) * unit, -1.0, 1.0);
            float two = clamp((nearness(at - steps[pair]) - near) * unit, -1.0, 1.0);
            total += max(0.0, one + two) * 0.125;
        }
    }
    return total;
}

float iris(inout vec3 albedo, vec3 place, vec3 n, vec3 v) {
    float angle = acos(clamp(normalize(place).z, -1.0, 1.0)), around = atan(place.y, place.x);
    float white = smoothstep(EYE[2] - 0.02, EYE[2] + 0.05, angle);
    float rim = smoothstep(EYE[1] - 0.09, EYE[2] - 0.02, angle);
    float pupil = 1.0 - smoothstep(EYE[0] - 0.02, EYE[0] + 0.03, angle);
    float inner = (EYE[1] - angle) / (EYE[1] - EYE[0]);
    float fibres = 0.88 + 0.10 * sin(23.0 * around) * sin(9.0 * around + 1.0) + 0.18 * inner;
    float red = 0.25 * smoothstep(0.75, 1.25, angle);
    vec3 inside = mix(mix(palette(0) * fibres, palette(1), rim), palette(2), pupil);
    albedo = mix(inside, albedo, white) * vec3(1.0, 1.0 - red, 1.0 - red);
    return LIGHTS[21] * smoothstep(0.990, 0.9955, dot(n, normalize(light(3) + v)));
}

void tooth(inout vec3 albedo, vec3 place) {
    float apart = (0.5 - abs(fract(abs(place.x) / 0.0076) - 0.5)) * 0.0076;
    albedo *= 1.0 - 0.35 * (1.0 - smoothstep(0.0, 0.0009, apart));
}

void brow(inout vec3 albedo, vec3 place) {
    float outward = place.x, up = place.y;
    if (up < 0.006 || up > 0.028 || outward < -0.026 || outward > 0.034 || place.z < -0.02) return;
    float along = outward / 0.026;
    float line = 0.0214 + along * (0.0015 - along * (0.0032 + 0.0019 * along));
    float half_width = 0.0040 * (1.0 - smoothstep(-0.2, 1.2, along)) + 0.0008;
    float ends = smoothstep(-0.0245, -0.0135, outward) * (1.0 - smoothstep(0.025, 0.032, outward));
    float strength = 0.90 * ends * (1.0 - smoothstep(0.25, 1.35, abs((up - line) / half_width)));
    albedo = mix(albedo, palette(3), strength);
}

vec3 light_on(vec3 albedo, vec3 n, vec3 v, float hollow, int material) {
    float wrap = MATERIALS[5 * material], gloss = MATERIALS[5 * material + 1], rim = MATERIALS[5 * material + 3];
    float grazing = 1.0 - max(0.0, dot(n, v));
    grazing *= grazing;
    float behind = max(0.0, dot(n, light(2))) * grazing * rim * max(0.0, 1.0 - 3.0 * hollow);
    float highlight = max(0.0, dot(n, normalize(light(0) + v)));
    for (int i = 0; i < int(MATERIALS[5 * material + 2]); i++) highlight *= highlight;
    highlight = gloss * (highlight + 0.5 * grazing * grazing);
    vec3 creep = wrap * ambient(2);
    vec3 diffuse = mix(ambient(1), ambient(0), 0.5 * n.y + 0.5);
    diffuse += light_colour(0) * max(vec3(0.0), (dot(n, light(0)) + creep) / (1.0 + creep));
    diffuse += light_colour(1) * max(vec3(0.0), (dot(n, light(1)) + creep) / (1.0 + creep));
    return diffuse * albedo + highlight * light_colour(0) + behind * light_colour(2) * (0.3 + 0.7 * albedo);
}

vec3 tone(vec3 value) {
    value = min(value, vec3(TONE_TOP));
    float room = 1.0 - SHOULDER;
    vec3 bent = mix(value, 1.0 - room * exp(-(value - SHOULDER) / room), greaterThanEqual(value, vec3(SHOULDER)));
    return mix(1.055 * pow(bent, vec3(1.0 / 2.4)) - 0.055, 12.92 * bent, lessThanEqual(bent, vec3(0.0031308)));
}

void main() {
    ivec2 at = ivec2(gl_FragCoord.xy);
    vec4 albedo_here = texelFetch(albedos, at, 0);
    if (albedo_here.a == 0.0) {
        colour = vec4(texelFetch(background, ivec2(0, at.y), 0).rgb, 1.0);
        return;
    }
    vec4 normal_here = texelFetch(normals, at, 0);
    vec3 n = normal_here.xyz, albedo = albedo_here.rgb, place = texelFetch(places, at, 0).xyz;
    vec2 ray = vec2(look[1] - gl_FragCoord.x - offset.x, gl_FragCoord.y + offset.y - look[2]) / look[0];
    vec3 right = vec3(look[3], look[4], look[5]), up = vec3(look[6], look[7], look[8]);
    vec3 v = normalize(right * ray.x + up * ray.y + vec3(look[9], look[10], look[11]));
    int material = int(round(normal_here.w));
    float gleam = 0.0;
    if (material < 0) {
        material = 4;
        albedo = palette(4) * 0.5;
    } else if (material == 1) {
        gleam = iris(albedo, place, n, v);
    } else if (material == 2) {
        tooth(albedo, place);
    } else if (material == 0) {
        brow(albedo, place);
    }
    float hollow = hollowness(at) * MATERIALS[5 * material + 4];
    vec3 value = (light_on(albedo, n, v, hollow, material) + gleam) / (1.0 + hollow * occlusion());
    colour = vec4(tone(value), 1.0);
}
"""

FINISH = """
#version 330
uniform sampler2D sums; uniform float count;
out vec3 colour;
void main() { colour = texelFetch(sums, ivec2(gl_FragCoord.xy), 0).rgb / count; }
"""
