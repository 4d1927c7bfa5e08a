# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographer's studio: one sitter in Cycles, re-posed by moving vertices, scene-linear film with alpha.

Blender's axes are head space here (y up): nothing but this file sees them.
"""

from pathlib import Path

import bpy
import mathutils
import numpy as np

from .strands import Strands


def start(samples: int) -> None:
    """An empty scene with the studio's light."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device, cycles.samples = "CPU", samples
    cycles.use_adaptive_sampling, cycles.adaptive_threshold, cycles.adaptive_min_samples = True, 0.03, 8
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.denoising_input_passes, cycles.denoising_prefilter = "RGB_ALBEDO_NORMAL", "FAST"
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 2, 1
    cycles.transmission_bounces, cycles.transparent_max_bounces, cycles.volume_bounces = 2, 2, 0
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4.0
    cycles.seed = 0
    render = scene.render
    render.film_transparent, render.use_persistent_data = True, True
    render.threads_mode, render.threads = "FIXED", 2
    render.resolution_percentage = 100
    render.image_settings.file_format = "OPEN_EXR"
    render.image_settings.color_mode, render.image_settings.color_depth = "RGBA", "16"
    scene.view_settings.view_transform = "Standard"
    scene.cycles_curves.shape = "RIBBONS"
    scene.cycles_curves.subdivisions = 1
    world = scene.world = bpy.data.worlds.new("studio")
    world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs[0].default_value = (0.86, 0.93, 1.0, 1)
    background.inputs[1].default_value = 0.30
    softbox((0.75, 0.62, 1.25), 0.75, 16.0, (1.0, 0.955, 0.90))
    softbox((-1.15, 0.20, 0.95), 1.20, 8.0, (0.88, 0.94, 1.0))
    softbox((-0.55, 0.75, -1.05), 0.70, 9.0, (1.0, 0.97, 0.94))
    softbox((0.95, 0.35, -0.95), 0.60, 5.0, (0.92, 0.96, 1.0))
    softbox((0.42, 0.36, 1.55), 0.17, 2.6, (1.0, 0.98, 0.95))  # small and bright: the glint in the eyes
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera


def softbox(place: tuple[float, float, float], size: float, watts: float, colour: tuple[float, float, float]) -> None:
    """An area light at `place` that shines on the head; metres, watts."""
    light = bpy.data.lights.new("softbox", "AREA")
    light.energy, light.size, light.color = watts, size, colour
    box = bpy.data.objects.new("softbox", light)
    place = mathutils.Vector(place)
    box.location = place
    box.rotation_euler = (mathutils.Vector((0, 0.02, 0.04)) - place).to_track_quat("-Z", "Y").to_euler()
    bpy.context.scene.collection.objects.link(box)


def material(
    name: str,
    *,
    colour: tuple[float, float, float] | None = None,
    rough: float | None = None,
    sss: float = 0.0,
    coat: float = 0.0,
    sheen: float = 0.0,
    specular: float = 0.5,
    grain: float = 0.0,
    grain_size: float = 0.001,
) -> bpy.types.Material:
    """Principled material; without a colour it reads the mesh attributes `colour` and `rough`."""
    m = bpy.data.materials.new(name)
    m.use_nodes = True
    tree = m.node_tree
    bsdf = tree.nodes["Principled BSDF"]

    def attribute(which: str, output: str, socket: str) -> None:
        node = tree.nodes.new("ShaderNodeAttribute")
        node.attribute_name = which
        tree.links.new(node.outputs[output], bsdf.inputs[socket])

    if colour is None:
        attribute("colour", "Color", "Base Color")
    else:
        bsdf.inputs["Base Color"].default_value = (*colour, 1)
    if rough is None:
        attribute("rough", "Fac", "Roughness")
    else:
        bsdf.inputs["Roughness"].default_value = rough
    bsdf.subsurface_method = "BURLEY"
    bsdf.inputs["Subsurface Weight"].default_value = sss
    bsdf.inputs["Subsurface Radius"].default_value = (1.0, 0.36, 0.20)
    bsdf.inputs["Subsurface Scale"].default_value = 0.0035
    bsdf.inputs["Coat Weight"].default_value = coat
    bsdf.inputs["Coat Roughness"].default_value = 0.06
    bsdf.inputs["Sheen Weight"].default_value = sheen
    bsdf.inputs["Specular IOR Level"].default_value = specular
    if grain:
        texture, height = tree.nodes.new("ShaderNodeTexVoronoi"), tree.nodes.new("ShaderNodeBump")
        where = tree.nodes.new("ShaderNodeAttribute")
        where.attribute_name = "mean"
        texture.inputs["Scale"].default_value = 1 / grain_size
        height.inputs["Strength"].default_value, height.inputs["Distance"].default_value = 1.0, grain
        tree.links.new(where.outputs["Vector"], texture.inputs["Vector"])
        tree.links.new(texture.outputs["Distance"], height.inputs["Height"])
        tree.links.new(height.outputs[0], bsdf.inputs["Normal"])
    return m


def hair_material() -> bpy.types.Material:
    """Principled hair whose colour comes from the curves' own attribute."""
    m = bpy.data.materials.new("hair")
    m.use_nodes = True
    tree = m.node_tree
    tree.nodes.remove(tree.nodes["Principled BSDF"])
    bsdf = tree.nodes.new("ShaderNodeBsdfHairPrincipled")
    bsdf.model, bsdf.parametrization = "CHIANG", "COLOR"
    bsdf.inputs["Roughness"].default_value, bsdf.inputs["Radial Roughness"].default_value = 0.32, 0.45
    node = tree.nodes.new("ShaderNodeAttribute")
    node.attribute_name = "colour"
    tree.links.new(node.outputs["Color"], bsdf.inputs["Color"])
    tree.links.new(bsdf.outputs[0], tree.nodes["Material Output"].inputs["Surface"])
    return m


def mesh(
    name: str,
    vertices: np.ndarray,
    faces: np.ndarray,
    materials: list[bpy.types.Material],
    which: np.ndarray | None = None,
    **attributes: np.ndarray,
) -> bpy.types.Object:
    """A smooth triangle mesh with per-vertex attributes, (V,) or (V, 3)."""
    data = bpy.data.meshes.new(name)
    data.vertices.add(len(vertices))
    data.vertices.foreach_set("co", np.ascontiguousarray(vertices, np.float32).ravel())
    data.loops.add(3 * len(faces))
    data.loops.foreach_set("vertex_index", np.ascontiguousarray(faces, np.int32).ravel())
    data.polygons.add(len(faces))
    data.polygons.foreach_set("loop_start", np.arange(0, 3 * len(faces), 3, dtype=np.int32))
    data.update(calc_edges=True)
    data.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    for m in materials:
        data.materials.append(m)
    if which is not None:
        data.polygons.foreach_set("material_index", which.astype(np.int32))
    for key, values in attributes.items():
        vector = values.ndim == 2
        layer = data.attributes.new(key, "FLOAT_VECTOR" if vector else "FLOAT", "POINT")
        layer.data.foreach_set("vector" if vector else "value", np.ascontiguousarray(values, np.float32).ravel())
    out = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(out)
    return out


def move(item: bpy.types.Object, vertices: np.ndarray) -> None:
    """New vertex positions for a mesh."""
    item.data.vertices.foreach_set("co", np.ascontiguousarray(vertices, np.float32).ravel())
    item.data.update()


def curves(name: str, strands: Strands, m: bpy.types.Material) -> bpy.types.Object:
    """Strands as Blender curves."""
    n, k, _ = strands.points.shape
    data = bpy.data.hair_curves.new(name)
    data.add_curves([k] * n)
    data.attributes["position"].data.foreach_set("vector", strands.points.astype(np.float32).ravel())
    radius = data.attributes.get("radius") or data.attributes.new("radius", "FLOAT", "POINT")
    radius.data.foreach_set("value", strands.radius.astype(np.float32).ravel())
    colour = data.attributes.new("colour", "FLOAT_VECTOR", "CURVE")
    colour.data.foreach_set("vector", strands.colour.astype(np.float32).ravel())
    data.materials.append(m)
    out = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(out)
    return out


def move_curves(item: bpy.types.Object, points: np.ndarray) -> None:
    """New points for curves."""
    item.data.attributes["position"].data.foreach_set("vector", points.astype(np.float32).ravel())
    item.data.update_tag()


def aim(world_to_camera: np.ndarray, fov: float, size: int) -> None:
    """Places the camera; `fov` is the angle of the square picture of `size` pixels in radians."""
    render = bpy.context.scene.render
    render.resolution_x = render.resolution_y = size
    camera = bpy.context.scene.camera
    camera.matrix_world = mathutils.Matrix((np.linalg.inv(world_to_camera) @ np.diag([1, -1, -1, 1.0])).tolist())
    camera.data.angle = fov
    camera.data.clip_start = 0.02


def shoot(path: Path) -> np.ndarray:
    """Renders and returns (H, W, 4) float16 premultiplied linear, row 0 on top."""
    scene = bpy.context.scene
    exr = path.with_suffix(".exr")
    scene.render.filepath = str(exr)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(exr))
    image.alpha_mode = "PREMUL"
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    exr.unlink()
    return pixels.reshape(height, width, 4)[::-1].astype(np.float16)
