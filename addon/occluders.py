# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes of the scene, as triangles, that hide heads behind them."""

from typing import Any

import numpy as np

from . import convert

SOLID = {"MESH", "CURVE", "SURFACE", "FONT", "META"}
CLEAR_NODES = {"BSDF_GLASS", "BSDF_REFRACTION", "BSDF_TRANSPARENT", "HOLDOUT"}


def occluders(depsgraph: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Vertices (V, 3) in the world and faces (F, 3) of what the view layer shows of meshes, curves and texts, heads' own proxies left out, at the depsgraph's frame.

    Faces of clear materials (glass, transparent, a Principled that lets half through) hide nothing, as spectacles should
    not. Volumes, hair curves and point clouds are not considered.
    """
    found: list[tuple[np.ndarray, np.ndarray]] = []
    shapes: dict[int, tuple[np.ndarray, np.ndarray] | None] = {}
    layer = depsgraph.view_layer_eval
    for instance in depsgraph.object_instances:
        ob = instance.object
        if ob.type not in SOLID or not instance.show_self or convert.is_head(ob) or not ob.visible_camera:
            continue
        owner = instance.parent if instance.is_instance and instance.parent else ob
        if owner.indirect_only_get(view_layer=layer):
            continue
        # instances share the evaluated data, whose address tells them apart from others
        key = ob.data.as_pointer() if ob.type == "MESH" else ob.as_pointer()
        if key not in shapes:
            shapes[key] = _shape(ob, depsgraph)
        shape = shapes[key]
        if shape is None:
            continue
        matrix = np.array(instance.matrix_world, np.float32)
        found.append((np.ascontiguousarray(shape[0] @ matrix[:3, :3].T + matrix[:3, 3]), shape[1]))
    return found


def _shape(ob: Any, depsgraph: Any) -> tuple[np.ndarray, np.ndarray] | None:
    mesh = ob.data if ob.type == "MESH" else ob.to_mesh(preserve_all_data_layers=False, depsgraph=depsgraph)
    if mesh is None:
        return None
    try:
        if not len(mesh.polygons):
            return None
        mesh.calc_loop_triangles()
        vertices = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", vertices)
        faces = np.empty(3 * len(mesh.loop_triangles), np.int32)
        mesh.loop_triangles.foreach_get("vertices", faces)
        faces = faces.reshape(-1, 3)
        clear = [is_clear(slot.material) for slot in ob.material_slots]
        if all(clear) and clear:
            return None
        if any(clear):
            slots = np.empty(len(mesh.loop_triangles), np.int32)
            mesh.loop_triangles.foreach_get("material_index", slots)
            faces = faces[~np.array(clear)[np.clip(slots, 0, len(clear) - 1)]]
        return vertices.reshape(-1, 3), np.ascontiguousarray(faces)
    finally:
        if ob.type != "MESH":
            ob.to_mesh_clear()


def is_clear(material: Any) -> bool:
    """Whether one looks through a material: by the shader at its output, as far as plain values tell."""
    tree = material.node_tree if material is not None else None
    if tree is None:
        return False
    output = next((n for n in tree.nodes if n.type == "OUTPUT_MATERIAL" and n.is_active_output), None)
    if output is None or not output.inputs["Surface"].is_linked:
        return False
    shader = output.inputs["Surface"].links[0].from_node
    if shader.type in CLEAR_NODES:
        return True
    if shader.type != "BSDF_PRINCIPLED":
        return False
    alpha, through = shader.inputs["Alpha"], shader.inputs["Transmission Weight"]
    return (not alpha.is_linked and alpha.default_value < 0.5) or (
        not through.is_linked and through.default_value > 0.5
    )
