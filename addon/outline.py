# SPDX-License-Identifier: GPL-3.0-or-later
"""The line around selected heads, drawn where splats end: Blender's own runs around the proxy, under the hair."""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

STANDS_OUT = 0.1
"""Metres before a head of scale 1 that its line is drawn: a floor under it does not hide the line, a prop before it does."""

FRAGMENT = """
void main() {
  ivec2 here = ivec2(gl_FragCoord.xy);
  if (texelFetch(mask, here, 0).r < 0.5) {
    discard;
  }
  float near = 1.0;
  int reach = int(width);
  for (int x = -reach; x <= reach; x++) {
    for (int y = -reach; y <= reach; y++) {
      ivec2 there = clamp(here + ivec2(x, y), ivec2(0), textureSize(mask, 0) - 1);
      near = min(near, texelFetch(mask, there, 0).r);
    }
  }
  if (near >= 0.5) {
    discard;
  }
  picture = line;
}
"""


def draw_outline(
    erase: Callable[[], None], colour: Any, width: int, height: int, pixels: int, depth: float = -1.0
) -> None:
    """A line of so many pixels around what `erase` takes away, into the bound framebuffer.

    colour: RGB or RGBA, display-linear. depth: of the line, -1 nearest to 1 farthest, for the depth test of the caller.
    """
    import gpu

    mask = _mask(width, height)
    depth_test = gpu.state.depth_test_get()
    # Not a GPUOffScreen: making one unbinds what the caller draws into. Windows share textures, framebuffers they do not.
    buffer = gpu.types.GPUFrameBuffer(color_slots=[mask])
    with buffer.bind():
        buffer.clear(color=(1, 1, 1, 1))
        gpu.state.blend_set("MULTIPLY")  # one channel and no colours: half the time of a picture
        gpu.state.depth_test_set("NONE")
        erase()
        gpu.state.blend_set("NONE")
        gpu.state.depth_test_set(depth_test)
    shader, batch = _shader()
    shader.bind()
    shader.uniform_sampler("mask", mask)
    shader.uniform_float("line", (*tuple(colour)[:3], 1.0))
    shader.uniform_float("width", float(pixels))
    shader.uniform_float("depth", depth)
    batch.draw(shader)


def theme_colour(preferences: Any, active: bool) -> tuple[float, ...]:
    """The user's colour of selected objects, as a draw handler has to write it."""
    theme = preferences.themes[0].view_3d
    shown = theme.object_active if active else theme.object_selected
    return tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shown[:3])


def forget() -> None:
    """Free what is on the card."""
    _mask.cache_clear()
    _shader.cache_clear()


@lru_cache(maxsize=4)
def _mask(width: int, height: int) -> Any:
    """One for each size of view that is open."""
    import gpu

    return gpu.types.GPUTexture((width, height), format="R8")


@cache
def _shader() -> tuple[Any, Any]:
    import gpu
    from gpu_extras.batch import batch_for_shader

    info = gpu.types.GPUShaderCreateInfo()
    info.push_constant("VEC4", "line")
    info.push_constant("FLOAT", "width")
    info.push_constant("FLOAT", "depth")
    info.sampler(0, "FLOAT_2D", "mask")
    info.vertex_in(0, "VEC2", "corner")
    info.fragment_out(0, "VEC4", "picture")
    info.vertex_source("void main() { gl_Position = vec4(corner, depth, 1.0); }")
    info.fragment_source(FRAGMENT)
    shader = gpu.shader.create_from_info(info)
    return shader, batch_for_shader(shader, "TRI_STRIP", {"corner": [(-1, -1), (1, -1), (-1, 1), (1, 1)]})
