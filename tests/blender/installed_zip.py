# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension as users get it: install the zip, enable it, speak, render, disable, remove.

    python tests/blender/installed_zip.py ZIP [--head ada] [--voice FILE] [--picture OUT.npy]

Run with any Python that has `bpy`. Nothing of the user's Blender is touched: its resources lie in a temporary folder.
OUT.npy receives the rendered (H, W, 4) float32 picture, so that Blender versions can be compared.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zip", type=Path)
    parser.add_argument("--head", default="ada", help="built-in head or .loq file")
    parser.add_argument("--voice", type=Path, default=HERE.parents[1] / "sample_scenes" / "voice_ada.flac")
    parser.add_argument("--picture", type=Path, help="where to write the rendered picture as .npy")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["BLENDER_USER_RESOURCES"] = folder  # read when bpy is imported
        check(arguments, Path(folder))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def check(arguments: argparse.Namespace, folder: Path) -> None:
    import bpy
    import numpy as np

    bpy.ops.extensions.package_install_files(
        filepath=str(arguments.zip.resolve()), repo="user_default", enable_on_install=True
    )
    name = next((a.module for a in bpy.context.preferences.addons if a.module.endswith(".loquent")), None)
    assert name, "the extension was not enabled; see the messages above"
    package = sys.modules[name]
    assert Path(package.__file__).is_relative_to(folder), package.__file__
    assert bpy.context.preferences.addons[name].preferences.threads == 0

    wheels_are_complete(folder)
    head = {"avatar": arguments.head} if not arguments.head.endswith(".loq") else {
        "avatar": "FILE", "filepath": str(Path(arguments.head).resolve())
    }  # fmt: skip
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module=name)  # factory settings forget what is enabled
    scene = bpy.context.scene
    bpy.ops.loquent.add_head(**head, setup_scene=True)
    ob = bpy.context.active_object
    say(f"{bpy.app.version_string}: installed as {name}, added '{ob.name}'")

    bpy.ops.loquent.choose_sound(filepath=str(arguments.voice.resolve()))
    assert bpy.ops.loquent.speak() == {"FINISHED"}
    action = ob.animation_data.action
    say(f"spoke {action.frame_range[1] - action.frame_range[0] + 1:.0f} frames in Action '{action.name}'")

    scene.frame_set(int(action.frame_range[0]) + 20)
    picture = rendered(scene, folder)
    assert picture[..., 3].max() > 0.95 and picture[..., :3].std() > 0.02, "the picture is empty"
    if arguments.picture:
        np.save(arguments.picture, picture)
    rasterize = sys.modules[f"{name}.core.splats.rasterize"]
    say(f"rendered {picture.shape[1]} x {picture.shape[0]} with the {rasterize.backend_name()} rasteriser")

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module=name)
    bpy.ops.preferences.addon_disable(module=name)
    assert bpy.types.Object.bl_rna.properties.get("loquent") is None
    bpy.ops.extensions.package_uninstall(repo_index=0 if _only_repo(bpy) else _repo_index(bpy), pkg_id="loquent")
    assert not Path(package.__file__).exists(), "files were left behind"
    say("disabled and removed")


def _only_repo(bpy) -> bool:
    return len(bpy.context.preferences.extensions.repos) == 1


def _repo_index(bpy) -> int:
    return next(i for i, r in enumerate(bpy.context.preferences.extensions.repos) if r.module == "user_default")


def wheels_are_complete(folder: Path) -> None:
    """Import what the worker needs with Blender's own numpy and the bundled wheels alone.

    A virtual environment hides a missing wheel: some other package has usually brought it.
    """
    import numpy

    alone = folder / "numpy_alone"
    alone.mkdir()
    for name in ("numpy", "numpy.libs"):
        source = Path(numpy.__file__).parents[1] / name
        if source.exists():
            shutil.copytree(source, alone / name)
    bundled = next((folder / "extensions" / ".local").rglob("site-packages"))
    code = f"import sys; sys.path += {[str(bundled), str(alone)]!r}; import soundfile, onnxruntime, safetensors.numpy"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, f"a wheel is missing from the zip:\n{done.stderr}"


def rendered(scene, folder: Path):
    """(H, W, 4) premultiplied, scene-linear, row 0 on top."""
    import bpy
    import numpy as np

    scene.render.resolution_x = scene.render.resolution_y = 512
    scene.render.film_transparent = True
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_depth, settings.color_mode = "OPEN_EXR", "32", "RGBA"
    settings.exr_codec = "NONE"
    scene.render.filepath = str(folder / "frame.exr")
    bpy.ops.render.render(write_still=True)
    spec = importlib.util.spec_from_file_location("exr", HERE / "exr.py")
    exr = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(exr)
    channels = exr.read_exr(folder / "frame.exr")
    return np.stack([next(v for k, v in channels.items() if k.split(".")[-1] == c) for c in "RGBA"], -1)


if __name__ == "__main__":
    main()
