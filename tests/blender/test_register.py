# SPDX-License-Identifier: GPL-3.0-or-later
import subprocess
import sys
from pathlib import Path

import bpy
import pytest

ROOT = Path(__file__).resolve().parents[2]

FRESH = """
import bpy, sys, time
import loquent
before = {p.__name__ for p in bpy.types.Panel.__subclasses__() if "LOQUENT" in getattr(p, "COMPAT_ENGINES", ())}
started = time.process_time()
loquent.register()
seconds = time.process_time() - started
loquent.register()
assert bpy.types.Object.bl_rna.properties.get("loquent")
late = ("addon.timeline", "addon.jobs", "addon.rig", "core.head.head", "core.prior", "core.speech", "core.splats.avatar")
heavy = [m for m in ("torch", "onnxruntime", "soundfile", "scipy", "trimesh", *("loquent." + n for n in late)) if m in sys.modules]
loquent.unregister()
loquent.unregister()
left = [n for n in dir(bpy.types) if "loquent" in n.lower()]
panels = {p.__name__ for p in bpy.types.Panel.__subclasses__() if "LOQUENT" in getattr(p, "COMPAT_ENGINES", ())}
loquent.register()  # and once more, left registered: the interpreter must still end by itself
print("RESULT", round(seconds, 3), heavy, left, sorted(panels | before), bpy.types.Object.bl_rna.properties.get("loquent") is not None)
"""


def test_registering_loads_nothing_heavy_leaves_nothing_behind_and_does_not_hang_the_exit():
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result = next(line for line in done.stdout.splitlines() if line.startswith("RESULT")).split(" ", 2)
    assert float(result[1]) < 0.5
    assert result[2] == "[] [] [] True"


def test_blenders_own_panels_show_under_our_engine(registered):
    assert "LOQUENT" in bpy.types.RENDER_PT_output.COMPAT_ENGINES
    assert "LOQUENT" in bpy.types.RENDER_PT_format.COMPAT_ENGINES
    assert "LOQUENT" in bpy.types.DATA_PT_lens.COMPAT_ENGINES
    assert "LOQUENT" in bpy.types.OBJECT_PT_visibility.COMPAT_ENGINES


@pytest.mark.parametrize("operator", ["add_head", "choose_sound", "speak", "reset_channels"])
def test_every_operator_says_what_it_does(registered, operator):
    assert getattr(bpy.ops.loquent, operator).get_rna_type().description


def test_a_failing_module_undoes_those_before_it(registered, monkeypatch):
    from loquent import addon
    from loquent.addon import engine

    addon.unregister()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(engine, "register", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                addon.register()
        assert bpy.types.Object.bl_rna.properties.get("loquent") is None
    finally:
        addon.register()
