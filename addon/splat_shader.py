# SPDX-License-Identifier: GPL-3.0-or-later
"""The GLSL that draws heads: the same projection, low-pass and opacity as core's rasteriser.

One instanced quad a Gaussian, all heads of a view in one draw call, so that heads that overlap in depth are blended in
true order. What never changes lies in one static texture; a frame brings the vertices of the posed meshes (9,706 texels a
head), the drawing order (one number a Gaussian) and a dozen texels of matrices: the frames of triangles are computed in
the shader. Heads whose colours follow the performance bring what changes as texels after their vertices; which one is a
Gaussian's stands beside its plain colour. Push constants fill 48 of the 128 bytes that Vulkan guarantees.
"""

from typing import Any

STATIC_TEXELS = 3
"""Texels a Gaussian before its harmonics: offset and triangle, quaternion, scale and opacity."""
PLANES = 6
"""Of a clipping region."""
HEADER_TEXELS = 1 + PLANES
"""Before the first head in the texture `heads`."""
HEAD_TEXELS = 6

VERTEX = """
/* A macro: Metal takes no samplers as arguments. */
#define texel(source, i) texelFetch(source, ivec2((i) % int(view.z), (i) / int(view.z)), 0)

vec3 seen_colour(int first, int count, vec3 d, int changes) {
  vec4 plain = texel(splats, first);
  if (plain.a > 0.5) { /* its colour follows the performance */
    plain.rgb += texel(vertices, changes + int(plain.a) - 1).rgb;
  }
  vec3 c = 0.28209479177387814 * plain.rgb;
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
  conic = vec3(0.0);

  /* Which head, and which of its Gaussians. */
  vec4 about = texel(heads, 0);
  int place = int(texel(order, gl_InstanceID).r);
  int at = 7, last = int(about.x) - 1;
  for (int i = 0; i < last; i++) {
    if (place >= int(texel(heads, at + 6).x)) {
      at += 6;
    }
  }
  vec4 whence = texel(heads, at), more = texel(heads, at + 1);
  vec4 m0 = texel(heads, at + 2), m1 = texel(heads, at + 3), m2 = texel(heads, at + 4);
  vec3 eye = texel(heads, at + 5).xyz;
  int harmonics = int(whence.z);
  int first = int(whence.y) + (place - int(whence.x)) * int(more.z) * (3 + harmonics);
  vec4 local = texel(splats, first);
  vec4 q = normalize(texel(splats, first + 1));
  vec4 size = texel(splats, first + 2);

  /* The frame of its triangle (core/geometry/triangles.py). */
  vec4 corners = texel(splats, int(more.x) + int(local.w));
  int base = int(whence.w);
  vec3 A = texel(vertices, base + int(corners.x)).xyz;
  vec3 edge = texel(vertices, base + int(corners.y)).xyz - A;
  vec3 side = texel(vertices, base + int(corners.z)).xyz - A;
  float width = length(edge);
  vec3 along = width > 1e-12 ? edge / width : vec3(1.0, 0.0, 0.0);
  vec3 up = cross(along, side);
  float height = length(up);
  up = height > 1e-12 ? up / height
                      : normalize(abs(along.x) > 0.7 ? vec3(-along.y, along.x, 0.0) : vec3(0.0, -along.z, along.y));
  mat3 frame = 0.5 * (width + height) * mat3(along, up, cross(along, up));
  vec3 mean = A + (edge + side) / 3.0 + frame * local.xyz;

  mat3 turned = transpose(mat3(m0.xyz, m1.xyz, m2.xyz));
  vec3 t = turned * mean + vec3(m0.w, m1.w, m2.w);
  if (t.z < clip.z) {
    return;
  }
  for (int i = 0; i < int(about.y); i++) {
    vec4 plane = texel(heads, 1 + i);
    if (dot(plane.xyz, vec3(t.xy, t.z - more.w)) + plane.w < 0.0) {
      return;
    }
  }
  /* Rows of the local-to-picture map: Jacobian of the projection times all rotations and scales before it. */
  mat3 turn = mat3(
      1.0 - 2.0 * (q.z * q.z + q.w * q.w), 2.0 * (q.y * q.z + q.x * q.w), 2.0 * (q.y * q.w - q.x * q.z),
      2.0 * (q.y * q.z - q.x * q.w), 1.0 - 2.0 * (q.y * q.y + q.w * q.w), 2.0 * (q.z * q.w + q.x * q.y),
      2.0 * (q.y * q.w + q.x * q.z), 2.0 * (q.z * q.w - q.x * q.y), 1.0 - 2.0 * (q.y * q.y + q.z * q.z));
  vec3 grown = size.xyz * about.z;
  mat3 axes = turned * frame * turn * mat3(grown.x, 0.0, 0.0, 0.0, grown.y, 0.0, 0.0, 0.0, grown.z);
  vec2 margin = 0.15 * view.xy / lens.xy;
  vec2 low = -lens.zw / lens.xy - margin, high = (view.xy - lens.zw) / lens.xy + margin;
  vec2 slope = clamp(t.xy / t.z, low, high);
  vec3 u = (lens.x / t.z) * (vec3(1.0, 0.0, -slope.x) * axes);
  vec3 v = (lens.y / t.z) * (vec3(0.0, 1.0, -slope.y) * axes);
  float a = dot(u, u) + 0.3, b = dot(u, v), c = dot(v, v) + 0.3;
  float determinant = a * c - b * b;
  bool solid = view.w == 0.0; /* depth only: what covers half of a pixel */
  float least = solid ? 0.5 : 1.0 / 255.0;
  if (size.w < least || determinant <= 0.0) {
    return;
  }
  conic = vec3(c, -b, a) / determinant;

  /* A quad along the ellipse's axes: it covers what is above the least opacity and little else. */
  float middle = 0.5 * (a + c), spread = sqrt(max(middle * middle - determinant, 1e-9));
  vec2 major = abs(b) > 1e-6 ? normalize(vec2(b, middle + spread - a)) : (a >= c ? vec2(1.0, 0.0) : vec2(0.0, 1.0));
  float reach = min(3.33, sqrt(2.0 * log(size.w / least)));
  across = reach * (corner.x * sqrt(middle + spread) * major
                    + corner.y * sqrt(max(middle - spread, 0.0)) * vec2(-major.y, major.x));

  vec2 pixel = lens.xy * t.xy / t.z + lens.zw + across;
  /* Depth as whatever else is in the picture has it; drawn a little nearer than it is, see viewport.py. */
  float z = max(t.z - about.w, clip.z);
  float depth = more.w > 0.0 ? clip.y - clip.x * (z - more.w) : (clip.y - clip.x * z) / z;
  gl_Position = vec4(2.0 * pixel.x / view.x - 1.0, 1.0 - 2.0 * pixel.y / view.y, depth, 1.0);
  colour.a = size.w;
  if (view.w > 0.0) {
    colour.rgb = view.w * seen_colour(first + 3, harmonics, normalize(mean - eye), int(more.y));
  }
}
"""

FRAGMENT = """
void main() {
  float power = 0.5 * (conic.x * across.x * across.x + conic.z * across.y * across.y) + conic.y * across.x * across.y;
  float alpha = min(0.999, colour.a * exp(-power));
  if (alpha < (view.w != 0.0 ? 1.0 / 255.0 : 0.5)) {
    discard;
  }
  picture = view.w < 0.0 ? vec4(1.0 - alpha) : vec4(colour.rgb * alpha, alpha);
}
"""
assert "int at = 7," in VERTEX and HEADER_TEXELS == 7 and "at += 6" in VERTEX and HEAD_TEXELS == 6


def compile_shader() -> Any:
    """The shader, for whichever graphics API Blender runs on. Needs a GPU context."""
    import gpu

    info = gpu.types.GPUShaderCreateInfo()
    info.push_constant("VEC4", "lens")  # fx, fy, cx, cy in pixels
    info.push_constant("VEC4", "view")  # width, height in pixels, width of textures, exposure (0: depth, -1: erase)
    info.push_constant("VEC4", "clip")  # the projection's [2][2] and [2][3], near
    for slot, name in enumerate(("splats", "vertices", "order", "heads")):
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
