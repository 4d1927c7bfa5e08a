# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh of a head object: few triangles that stand under the splats and move with them.

It is what Blender selects, outlines, snaps to and lets throw shadows, and what is seen where splats cannot be drawn. Its
shape keys are the 52 ARKit units under their usual names, set to what the head's channels say, and one key `Pose` that
adds what no sum of shapes can: turning of head, neck, jaw and eyes.

The keys are set by handlers, not by drivers: 52 drivers would be cheaper (tools/bench_viewport.py: 0.5 ms of CPU a frame
against 3 ms, posing included, which splats on screen need anyway), but no sum of shapes turns a head, and linked duplicates
would all show what one of them says.
"""

from typing import Any

import bpy
import numpy as np

from ..core.errors import LoquentError
from . import convert, identities, session

POSE = "Pose"
INSET = np.float32(0.003)
"""Metres that the proxy lies under the skin, so that it does not look out between splats; less at lips and eyelids."""
MATERIAL = "Loquent Proxy"
COLOUR = (0.62, 0.43, 0.35, 1.0)

_shown: dict[int, tuple[Any, ...]] = {}
"""What each mesh shows, by its session identifier: avatar, identity and channel values."""


def build_mesh(name: str, loaded: Any) -> Any:
    """A new mesh at rest for a loaded avatar; without shape keys, which `add_keys` gives it once an object has it."""
    if loaded.foreign:
        vertices, faces, uv = *loaded.mesh(), None
    else:
        from ..core.head.proxy import proxy_of

        person = loaded.performer.identity
        proxy = proxy_of(person.head)
        vertices, kept = _inset(person.template, proxy), _clothed(loaded, proxy)
        faces, uv = proxy.faces[kept], proxy.uv[kept]
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", convert.object_points(vertices).ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(faces, np.int32).ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    if uv is not None:
        mesh.uv_layers.new(name="UVMap").data.foreach_set("uv", np.ascontiguousarray(uv, np.float32).ravel())
    mesh.update(calc_edges=True)
    mesh.validate()
    mesh.materials.append(_material())
    return mesh


def add_keys(ob: Any, loaded: Any) -> None:
    """The shape keys of a head object whose mesh `build_mesh` made."""
    if loaded.foreign:
        return
    from ..core.head.motion import ARKIT
    from ..core.head.proxy import proxy_of

    person = loaded.performer.identity
    rest = np.empty(3 * len(ob.data.vertices), np.float32)
    ob.data.vertices.foreach_get("co", rest)
    ob.shape_key_add(name="Basis", from_mix=False)
    for name, shape in zip(ARKIT, proxy_of(person.head).shapes(person), strict=True):
        block = ob.shape_key_add(name=name, from_mix=False)
        block.points.foreach_set("co", rest + convert.object_points(shape).ravel())
    ob.shape_key_add(name=POSE, from_mix=False).value = 1.0


def follow(ob: Any, values: np.ndarray, evaluated: Any = None) -> bool:
    """Let the proxy of a head show channel values (C,); whether anything had to be done. About 0.3 ms besides posing.

    evaluated: the object that says which identity, where it is animated. What Blender spends on it comes with the next
    evaluation.
    """
    mesh = ob.data
    key = mesh.shape_keys
    sign = ob.loquent.avatar, identities.wanted(evaluated or ob), values.tobytes()
    if key is None or _shown.get(mesh.session_uid) == sign or mesh.is_editmode:
        return False
    try:
        loaded = session.of(evaluated or ob)
    except LoquentError:
        return False
    blocks = key.key_blocks
    if loaded.foreign or POSE not in blocks:
        return False
    from ..core.head.motion import ARKIT
    from ..core.head.proxy import proxy_of
    from . import poses

    person = loaded.performer.identity
    proxy = proxy_of(person.head)
    pose = blocks[POSE]
    if len(blocks) != len(ARKIT) + 2 or len(pose.points) != len(proxy.index):
        return False  # edited by the artist: theirs now
    amounts = np.clip(values[: len(ARKIT)], 0, 1)
    posed = convert.object_points(_inset(poses.vertices(loaded, values), proxy)).ravel()
    posed -= amounts @ _shapes(loaded.base or loaded)  # whose shapes the keys have, whoever is shown
    blocks.foreach_set("value", np.concatenate([[0], amounts, [1]]).astype(np.float32))
    pose.points.foreach_set("co", posed)
    key.update_tag()
    mesh.update_tag()
    _shown[mesh.session_uid] = sign
    return True


def follow_all(scene: Any, depsgraph: Any) -> None:
    """Let all proxies of a scene show what their heads do at the depsgraph's frame."""
    meshes: dict[int, tuple[Any, bytes]] = {}
    for ob in scene.objects:
        if ob.type != "MESH" or not ob.loquent.avatar:
            continue
        evaluated = ob.evaluated_get(depsgraph)
        values = convert.channel_values(evaluated)
        sign = identities.wanted(evaluated), values.tobytes()
        if meshes.setdefault(ob.data.session_uid, sign) != sign and ob.is_editable:
            # A linked duplicate that plays another part needs a face of its own; the avatar is shared all the same.
            ob.data = ob.data.copy()
        follow(ob, values, evaluated)


def forget() -> None:
    """Undo and other files bring meshes back as they were: look again."""
    _shown.clear()
    _shapes_of.clear()


_shapes_of: dict[int, tuple[Any, np.ndarray]] = {}


def _shapes(loaded: Any) -> np.ndarray:
    """(52, 3 P) displacements of the ARKit keys in object space."""
    found = _shapes_of.get(id(loaded))
    if found is None or found[0] is not loaded:
        from ..core.head.proxy import proxy_of

        person = loaded.performer.identity
        shapes = proxy_of(person.head).shapes(person)
        if len(_shapes_of) >= session.KEEP:
            _shapes_of.clear()
        found = _shapes_of[id(loaded)] = loaded, convert.object_points(shapes).reshape(len(shapes), -1)
    return found[1]


def _inset(vertices: np.ndarray, proxy: Any) -> np.ndarray:
    """(P, 3) of posed vertices (V, 3), a little under the skin."""
    from ..core.geometry.triangles import vertex_normals

    points = vertices[proxy.index]
    return points - INSET * proxy.depth[:, None] * vertex_normals(points, proxy.faces)


def _clothed(loaded: Any, proxy: Any) -> np.ndarray:
    """(Q,) which faces lie as high as splats do: below them the rim of the bust would look out bare.

    Vertices stay, so that heads can be exchanged under the same shape keys.
    """
    from ..core.head.motion import CHANNELS

    person = loaded.performer.identity
    splats = loaded.pose(np.zeros(len(CHANNELS), np.float32))
    hem = np.quantile(splats.means[splats.opacities > 0.3, 1], 0.01)
    return (person.template[proxy.index, 1] > hem)[proxy.faces].all(1)


def _material() -> Any:
    """Skin for where the proxy is seen itself; one for all heads of a file."""
    found = bpy.data.materials.get(MATERIAL)
    if found is None or found.library is not None:
        found = bpy.data.materials.new(MATERIAL)
        found.diffuse_color = COLOUR
        found.roughness = 0.8
    return found
