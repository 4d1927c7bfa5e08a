# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's meshes in our engine's viewport: plainly lit, in their materials' colours, so that heads stand among them.

F12 leaves meshes to other engines; here they are shown so that a shot can be staged in one view. Batches are kept on the
graphics card until Blender says that their geometry or a material has changed.
"""

from functools import cache
from typing import Any

import numpy as np

from . import convert
from .occluders import SOLID, is_clear

_batches: dict[int, tuple[tuple[int, ...], Any]] = {}
"""By the object's session identifier: what the batch was made of, and the batch or None."""

GREY = (0.8, 0.8, 0.8)

VERTEX = """
void main() {
  mat3 linear = mat3(world);
  facing = transpose(inverse(linear)) * normal;
  shade = colour;
  gl_Position = projection * (world * vec4(position, 1.0));
}
"""

FRAGMENT = """
void main() {
  vec3 n = normalize(gl_FrontFacing ? facing : -facing);
  /* A soft light from above and one over the artist's left shoulder, both fixed to the world. */
  float light = 0.35 + 0.2 * n.z + 0.55 * max(dot(n, vec3(-0.408, -0.816, 0.408)), 0.0);
  picture = vec4(shade * light, 1.0);
}
"""


def draw_meshes(depsgraph: Any, space: Any, projection: Any) -> None:
    """Draw what the view shows of meshes, curves, surfaces and texts; heads' proxies and clear materials left out.

    projection: (4, 4) world to clip space. Colour is scene-linear; the caller has set the depth test and the writing.
    """
    from mathutils import Matrix

    shader = None
    for instance in depsgraph.object_instances:
        ob = instance.object
        if ob.type not in SOLID or not instance.show_self or convert.is_head(ob):
            continue
        if ob.display_type in {"BOUNDS", "WIRE"}:
            continue
        owner = instance.parent if instance.is_instance and instance.parent else ob
        if space is not None and not owner.visible_in_viewport_get(space):
            continue
        batch = _batch(ob, depsgraph)
        if batch is None:
            continue
        if shader is None:
            shader = _shader()
            shader.bind()
            shader.uniform_float("projection", projection)
        shader.uniform_float("world", Matrix(instance.matrix_world))
        batch.draw(shader)


def changed(depsgraph: Any) -> None:
    """Forget batches of what Blender has evaluated anew."""
    for update in depsgraph.updates:
        if update.is_updated_shading and type(update.id).__name__ == "Material":
            _batches.clear()
        elif update.is_updated_geometry:
            _batches.pop(update.id.original.session_uid, None)


def forget() -> None:
    """Free what is on the card."""
    if _batches:
        _batches.clear()
    _shader.cache_clear()


def _batch(ob: Any, depsgraph: Any) -> Any:
    uid = ob.original.session_uid
    # A new evaluation mostly has a new address; updates, which `changed` hears of, tell the rest.
    sign = (ob.data.as_pointer(), len(ob.data.vertices)) if ob.type == "MESH" else (ob.as_pointer(),)
    found = _batches.get(uid)
    if found is None or found[0] != sign:
        found = _batches[uid] = sign, _made(ob, depsgraph)
    return found[1]


def _made(ob: Any, depsgraph: Any) -> Any:
    mesh = ob.data if ob.type == "MESH" else ob.to_mesh(preserve_all_data_layers=False, depsgraph=depsgraph)
    if mesh is None:
        return None
    try:
        corners = _corners(ob, mesh)
        return None if corners is None else _batch_of(*corners)
    finally:
        if ob.type != "MESH":
            ob.to_mesh_clear()


def _corners(ob: Any, mesh: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Positions, normals and colours (3 T, 3) of the corners of all triangles."""
    if not len(mesh.polygons):
        return None
    mesh.calc_loop_triangles()
    count = len(mesh.loop_triangles)
    vertices = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", vertices)
    at, loops, slots = np.empty(3 * count, np.int32), np.empty(3 * count, np.int32), np.empty(count, np.int32)
    mesh.loop_triangles.foreach_get("vertices", at)
    mesh.loop_triangles.foreach_get("loops", loops)
    mesh.loop_triangles.foreach_get("material_index", slots)
    normals = np.empty(3 * len(mesh.loops), np.float32)
    mesh.corner_normals.foreach_get("vector", normals)
    materials = [slot.material for slot in ob.material_slots] or [None]
    slots = np.clip(slots, 0, len(materials) - 1)
    colours = np.array([material_colour(material) for material in materials], np.float32)[slots]
    shown = ~np.array([is_clear(material) for material in materials])[slots]
    if not shown.any():
        return None
    each = np.repeat(shown, 3)
    return vertices.reshape(-1, 3)[at[each]], normals.reshape(-1, 3)[loops[each]], np.repeat(colours[shown], 3, 0)


def material_colour(material: Any) -> tuple[float, float, float]:
    """Scene-linear base colour: of the Principled or diffuse shader at the output where it is a plain value."""
    if material is None:
        return GREY
    for node in material.node_tree.nodes if material.node_tree else ():
        name = {"BSDF_PRINCIPLED": "Base Color", "BSDF_DIFFUSE": "Color", "EMISSION": "Color"}.get(node.type)
        if name and not node.inputs[name].is_linked:
            return tuple(node.inputs[name].default_value[:3])
    return tuple(material.diffuse_color[:3])


def _batch_of(positions: np.ndarray, normals: np.ndarray, colours: np.ndarray) -> Any:
    import gpu

    layout = gpu.types.GPUVertFormat()
    for name in ("position", "normal", "colour"):
        layout.attr_add(id=name, comp_type="F32", len=3, fetch_mode="FLOAT")
    buffer = gpu.types.GPUVertBuf(layout, len(positions))
    for i, values in enumerate((positions, normals, colours)):
        buffer.attr_fill(i, np.ascontiguousarray(values, np.float32))
    return gpu.types.GPUBatch(type="TRIS", buf=buffer)


@cache
def _shader() -> Any:
    import gpu

    info = gpu.types.GPUShaderCreateInfo()
    info.push_constant("MAT4", "projection")
    info.push_constant("MAT4", "world")
    for slot, name in enumerate(("position", "normal", "colour")):
        info.vertex_in(slot, "VEC3", name)
    between = gpu.types.GPUStageInterfaceInfo("loquent_mesh")
    between.smooth("VEC3", "facing")
    between.flat("VEC3", "shade")
    info.vertex_out(between)
    info.fragment_out(0, "VEC4", "picture")
    info.vertex_source(VERTEX)
    info.fragment_source(FRAGMENT)
    return gpu.shader.create_from_info(info)
