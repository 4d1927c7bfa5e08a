# SPDX-License-Identifier: GPL-3.0-or-later
"""The GLSL that draws one head: the same projection, low-pass and opacity as core's rasteriser.

One instanced quad a Gaussian. What never changes lies in a static texture; a frame brings the triangles' frames and the
drawing order only, so a head that speaks costs half a megabyte of upload. Push constants fill the 128 bytes that Vulkan
guarantees.
"""

from typing import Any

STATIC_TEXELS = 3
"""Texels a Gaussian before its harmonics: offset and triangle, quaternion, scale and opacity."""

VERTEX = """
/* A macro: Metal takes no samplers as arguments. */
#define texel(source, i) texelFetch(source, ivec2((i) % int(view.z), (i) / int(view.z)), 0)

vec3 seen_colour(int first, int count, vec3 d) {
  vec3 c = 0.28209479177387814 * texel(splats, first).rgb;
  if (count > 1) {
    c += 0.4886025119029199 * (-d.y * texel(splats, first + 1).rgb + d.z * texel(splats, first + 2).rgb
                               - d.x * texel(splats, first + 3).rgb);
  }
  if (count > 4) {
    vec3 q = d * d;
    c += 1.0925484305920792 * (d.x * d.y * texel(splats, first + 4).rgb - d.y * d.z * texel(splats, first + 5).rgb
                               - d.x * d.z * texel(splats, first + 7).rgb)
       + 0.31539156525252005 * (2.0 * q.z - q.x - q.y) * texel(splats, first + 6).rgb
       + 0.5462742152960396 * (q.x - q.y) * texel(splats, first + 8).rgb;
    if (count > 9) {
      c += -0.5900435899266435 * d.y * (3.0 * q.x - q.y) * texel(splats, first + 9).rgb
         + 2.890611442640554 * d.x * d.y * d.z * texel(splats, first + 10).rgb
         - 0.4570457994644658 * d.y * (4.0 * q.z - q.x - q.y) * texel(splats, first + 11).rgb
         + 0.3731763325901154 * d.z * (2.0 * q.z - 3.0 * q.x - 3.0 * q.y) * texel(splats, first + 12).rgb
         - 0.4570457994644658 * d.x * (4.0 * q.z - q.x - q.y) * texel(splats, first + 13).rgb
         + 1.445305721320277 * d.z * (q.x - q.y) * texel(splats, first + 14).rgb
         - 0.5900435899266435 * d.x * (q.x - 3.0 * q.y) * texel(splats, first + 15).rgb;
    }
  }
  return max(c + 0.5, 0.0);
}

void main() {
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  colour = vec4(0.0);
  across = vec2(0.0);
  int harmonics = int(clip.w);
  int first = int(texel(order, gl_InstanceID).r) * (3 + harmonics);
  vec4 place = texel(splats, first);
  vec4 q = normalize(texel(splats, first + 1));
  vec4 size = texel(splats, first + 2);

  int row = int(place.w) * 3;
  vec4 r0 = texel(frames, row), r1 = texel(frames, row + 1), r2 = texel(frames, row + 2);
  vec4 local = vec4(place.xyz, 1.0);
  vec3 mean = vec3(dot(r0, local), dot(r1, local), dot(r2, local));
  mat3 frame = transpose(mat3(r0.xyz, r1.xyz, r2.xyz));

  vec3 t = (model_view * vec4(mean, 1.0)).xyz;
  if (t.z < clip.z) {
    return;
  }
  /* Rows of the local-to-picture map: Jacobian of the projection times all rotations and scales before it. */
  mat3 turn = mat3(
      1.0 - 2.0 * (q.z * q.z + q.w * q.w), 2.0 * (q.y * q.z + q.x * q.w), 2.0 * (q.y * q.w - q.x * q.z),
      2.0 * (q.y * q.z - q.x * q.w), 1.0 - 2.0 * (q.y * q.y + q.w * q.w), 2.0 * (q.z * q.w + q.x * q.y),
      2.0 * (q.y * q.w + q.x * q.z), 2.0 * (q.z * q.w - q.x * q.y), 1.0 - 2.0 * (q.y * q.y + q.z * q.z));
  mat3 axes = mat3(model_view) * frame * turn * mat3(size.x, 0.0, 0.0, 0.0, size.y, 0.0, 0.0, 0.0, size.z);
  vec2 margin = 0.15 * view.xy / lens.xy;
  vec2 low = -lens.zw / lens.xy - margin, high = (view.xy - lens.zw) / lens.xy + margin;
  vec2 slope = clamp(t.xy / t.z, low, high);
  vec3 u = (lens.x / t.z) * (vec3(1.0, 0.0, -slope.x) * axes);
  vec3 v = (lens.y / t.z) * (vec3(0.0, 1.0, -slope.y) * axes);
  float a = dot(u, u) + 0.3, b = dot(u, v), c = dot(v, v) + 0.3;
  float determinant = a * c - b * b;
  if (size.w < 1.0 / 255.0 || determinant <= 0.0) {
    return;
  }
  conic = vec3(c, -b, a) / determinant;

  /* A quad along the ellipse's axes: it covers what is above 1/255 and little else. */
  float middle = 0.5 * (a + c), spread = sqrt(max(middle * middle - determinant, 1e-9));
  vec2 along = abs(b) > 1e-6 ? normalize(vec2(b, middle + spread - a)) : (a >= c ? vec2(1.0, 0.0) : vec2(0.0, 1.0));
  float reach = min(3.33, sqrt(2.0 * log(255.0 * size.w)));
  across = reach * (corner.x * sqrt(middle + spread) * along
                    + corner.y * sqrt(max(middle - spread, 0.0)) * vec2(-along.y, along.x));

  vec2 pixel = lens.xy * t.xy / t.z + lens.zw + across;
  float depth = eye.w > 0.0 ? clip.y - clip.x * (t.z - eye.w) : (clip.y - clip.x * t.z) / t.z;
  gl_Position = vec4(2.0 * pixel.x / view.x - 1.0, 1.0 - 2.0 * pixel.y / view.y, depth, 1.0);
  colour = vec4(seen_colour(first + 3, harmonics, normalize(mean - eye.xyz)), size.w);
}
"""

FRAGMENT = """
void main() {
  float power = 0.5 * (conic.x * across.x * across.x + conic.z * across.y * across.y) + conic.y * across.x * across.y;
  float alpha = min(0.999, colour.a * exp(-power));
  if (alpha < (view.w > 0.5 ? 0.5 : 1.0 / 255.0)) {
    discard;
  }
  picture = vec4(colour.rgb * alpha, alpha);
}
"""


def compile_shader() -> Any:
    """The shader, for whichever graphics API Blender runs on. Needs a GPU context."""
    import gpu

    info = gpu.types.GPUShaderCreateInfo()
    info.push_constant("MAT4", "model_view")  # head space -> OpenCV camera
    info.push_constant("VEC4", "lens")  # fx, fy, cx, cy in pixels
    info.push_constant("VEC4", "view")  # width, height in pixels, width of textures, 1 to write depth only
    info.push_constant("VEC4", "eye")  # camera in head space; distance added to an orthographic view, else 0
    info.push_constant("VEC4", "clip")  # the projection's [2][2] and [2][3], near, number of harmonics
    for slot, name in enumerate(("splats", "frames", "order")):
        info.sampler(slot, "FLOAT_2D", name)
    info.vertex_in(0, "VEC2", "corner")
    between = gpu.types.GPUStageInterfaceInfo("loquent_splat")
    between.smooth("VEC4", "colour")
    between.smooth("VEC2", "across")
    between.flat("VEC3", "conic")
    info.vertex_out(between)
    info.fragment_out(0, "VEC4", "picture")
    info.vertex_source(VERTEX)
    info.fragment_source(FRAGMENT)
    return gpu.shader.create_from_info(info)
