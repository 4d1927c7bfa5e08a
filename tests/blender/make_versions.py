# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the files that test_versions.py opens, once for every Blender: `python -m loquent.tests.blender.make_versions`.

A head with a sparse take, a slider on top and a control rig, saved by this Blender as tests/data/take-X.Y.blend. The proxy's
shape keys are left out to keep it small.
"""

from pathlib import Path

import bpy

import loquent
from loquent.addon.scene import apply_motion, build_head_object
from loquent.addon.timeline import Bake
from loquent.tests.blender.test_takes import spoken

DATA = Path(__file__).resolve().parents[1] / "data"


def main() -> None:
    loquent.register()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = 24
    head = build_head_object(scene, "ada", name="Head")
    bpy.context.view_layer.objects.active = head
    head.shape_key_clear()
    head.loquent.adjust.browInnerUp, head.loquent.sound = 0.25, "//line.wav"
    apply_motion(scene, head, spoken(3, 24), 1, bake=Bake(0.3, "//line.wav"))
    bpy.ops.loquent.add_rig()
    bpy.ops.outliner.orphans_purge(do_recursive=True)
    version = ".".join(map(str, bpy.app.version[:2]))
    bpy.ops.wm.save_as_mainfile(filepath=str(DATA / f"take-{version}.blend"), compress=True)
    loquent.unregister()


if __name__ == "__main__":
    main()
