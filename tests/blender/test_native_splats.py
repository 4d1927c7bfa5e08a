# SPDX-License-Identifier: GPL-3.0-or-later
"""A head as Blender's own splats. 5.3 itself was not there: its point cloud type is stood in for by a property of that name."""

import bpy
import numpy as np
import pytest

from loquent.addon import convert, native_splats
from loquent.addon.operators import native_splats as operator
from loquent.core.splats.gaussians import Gaussians
from loquent.core.splats.rasterize import rasterize

from .pictures import psnr, render_passes

KINDS = [("POINTS", "Points", ""), ("GAUSSIAN_SPLAT", "Gaussian Splat", "")]


@pytest.fixture
def as_in_5_3(scene, head):
    """PointCloud.type with GAUSSIAN_SPLAT, found by the same look as in a Blender that has it."""
    if native_splats.available():
        yield
        return
    if "resize" not in bpy.types.PointCloud.bl_rna.functions:
        pytest.skip("Blender 4.5 makes no point clouds of a given size from Python")
    bpy.types.PointCloud.type = bpy.props.EnumProperty(items=KINDS)
    bpy.utils.register_class(operator.LOQUENT_OT_to_native_splats)
    yield
    bpy.utils.unregister_class(operator.LOQUENT_OT_to_native_splats)
    del bpy.types.PointCloud.type


def test_without_the_type_there_is_no_such_button(scene, head):
    has_type = "type" in bpy.types.PointCloud.bl_rna.properties
    assert native_splats.available() == has_type
    assert hasattr(bpy.types, "LOQUENT_OT_to_native_splats") == has_type
    assert bool(operator.CLASSES) == has_type


def column(cloud, name):
    attribute = cloud.attributes[name]
    size, key = {"FLOAT_VECTOR": (3, "vector"), "QUATERNION": (4, "value"), "FLOAT": (1, "value")}[attribute.data_type]
    values = np.empty(len(attribute.data) * size, np.float32)
    attribute.data.foreach_get(key, values)
    return values.reshape(-1, size)


def test_the_copied_cloud_draws_the_same_picture(scene, head, as_in_5_3, tmp_path):
    """Read back from the point cloud and drawn in the object's space: no axis or colour may be confused."""
    assert native_splats.available()
    head.loquent.motion.jawOpen, head.loquent.motion.headYaw = 0.6, 0.4
    head.location, head.rotation_euler = (0.02, 0.05, -0.01), (0.1, -0.2, 0.5)
    expected = render_passes(scene, tmp_path)["Combined"]
    assert bpy.ops.loquent.to_native_splats() == {"FINISHED"}
    ob = bpy.context.active_object
    assert ob.type == "POINTCLOUD" and ob.data.type == native_splats.TYPE and ob.select_get() and not head.select_get()
    assert np.allclose(ob.matrix_world, head.matrix_world)
    cloud = ob.data
    count = sum(name.startswith("sh_") for name in cloud.attributes.keys())  # noqa: SIM118 (of Blender, not a dict)
    assert len(cloud.points) == 400 and count == 9
    splats = Gaussians(
        column(cloud, "position"), column(cloud, "rotation"), column(cloud, "scale"), column(cloud, "opacity")[:, 0],
        np.stack([column(cloud, f"sh_{k}") for k in range(count)], 1),
    )  # fmt: skip
    depsgraph = bpy.context.evaluated_depsgraph_get()
    camera, _ = convert.render_camera(depsgraph, scene.camera.evaluated_get(depsgraph), 96, 64)
    from loquent.addon.placing import camera_in

    layers = rasterize(splats, camera_in(camera, np.array(ob.matrix_world, np.float64), 1.0))
    drawn = np.concatenate([layers.colour, layers.alpha[..., None]], -1)
    assert expected.std() > 0.05 and psnr(drawn, expected) > 60


def test_undo_takes_the_copy_away(scene, head, as_in_5_3):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.loquent.to_native_splats()
    assert any(ob.type == "POINTCLOUD" for ob in scene.objects)
    name = scene.name
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    assert not any(ob.type == "POINTCLOUD" for ob in bpy.data.scenes[name].objects)


def test_display_colours_become_light(scene, head):
    from loquent.addon import session
    from loquent.core.splats.colour import linear_harmonics

    gaussians = session.performer(head.loquent.avatar).pose(convert.channel_values(head))
    plain, display = (native_splats.attributes(gaussians, display=flag)["sh_0"][1] for flag in (False, True))
    assert np.allclose(plain, gaussians.harmonics[:, 0], atol=1e-5)
    assert np.allclose(display, linear_harmonics(gaussians.harmonics)[:, 0], atol=1e-5) and not np.allclose(
        plain, display
    )
