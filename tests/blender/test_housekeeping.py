# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file goes through in its life: undo, saving, moving, linking, lost files, other locales, no write access."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest

from loquent.addon import rig
from loquent.addon.scene import apply_motion
from loquent.addon.timeline import Bake
from loquent.core.head.motion import CHANNELS, INDEX

from .test_characters import character
from .test_speak import GOOD, VOICE, child  # noqa: F401
from .test_takes import set_key, spoken
from .test_timeline import evaluated
from .waiting import ready

ROOT = Path(__file__).resolve().parents[2]


def everything() -> str:
    """What the open file holds, as text: objects, their settings, Actions, strips."""
    found = {}
    for ob in bpy.data.objects:
        head = ob.loquent
        found[ob.name] = [
            head.avatar, head.sound, head.start, len(head.shapes), ob.parent and ob.parent.name, tuple(ob.location),
            [round(getattr(layer, c), 5) for layer in (head.motion, head.adjust) for c in CHANNELS],
            ob.animation_data and ob.animation_data.action and ob.animation_data.action.name,
            len(ob.animation_data.drivers) if ob.animation_data else 0,
        ]  # fmt: skip
        if ob.type == "MESH" and ob.data.shape_keys and ob.data.shape_keys.animation_data:
            found[ob.name].append(ob.data.shape_keys.animation_data.action.name)
        if ob.type == "ARMATURE":
            found[ob.name].append([tuple(round(v, 5) for v in bone.location) for bone in ob.pose.bones])
    for scene in bpy.data.scenes:
        tree = scene.compositing_node_group if hasattr(scene, "compositing_node_group") else scene.node_tree
        found[f"scene {scene.name}"] = sorted((n.name, n.type) for n in tree.nodes) if tree else []
    actions = sorted((a.name, tuple(a.frame_range)) for a in bpy.data.actions)
    editor = bpy.context.scene.sequence_editor
    strips = (
        [] if editor is None else [s.name for s in (editor.strips if hasattr(editor, "strips") else editor.sequences)]
    )
    return json.dumps([found, actions, sorted(strips)], sort_keys=True, default=str)


def head_and_character(scene, head, child):  # noqa: F811
    child(GOOD)
    head.loquent.sound = str(VOICE)
    apply_motion(scene, head, spoken(), 1)
    ob = character(scene)
    bpy.context.view_layer.objects.active = head
    head.select_set(True)
    return ob


OPERATORS = {
    "add_head": dict(avatar="bruno"),
    "choose_sound": dict(filepath=str(VOICE.with_name("voice_bruno.flac"))),
    "speak": {},
    "reset_channels": dict(group="", layer="motion"),
    "apply_expression": dict(name="Smile"),
    "add_rig": {},
    "pass_on": {},
    "find_shapes": dict(_active="Hero"),
    "import_motion": dict(_csv=True),
    "show_take": dict(_two=True),
    "remove_rig": dict(_rig=True),
    "shape_row": dict(_active="Hero", action="ADD"),
    "reset_rig": dict(_posed=True),
    "relink": dict(_file=True),
    "head_over_plate": dict(_engine="CYCLES"),
    "add_to_compositor": dict(group="Loquent Matte by Region"),
}
NO_FILE = {"save_expression", "delete_expression", "test_worker", "clear_cache", "system_report", "export_motion",
           "export_splats", "cancel", "statement"}  # fmt: skip
"""Operators that change nothing of the open file."""
ELSEWHERE = {
    "perform",
    "head_from_photo",
    "head_from_video",
    "head_from_splats",
    "head_over_footage",
    "inpaint_footage",
}
"""Need workers or films of their own: test_capture.py, test_make_head.py, test_footage.py."""


def test_no_operator_is_forgotten_below(registered):
    assert set(dir(bpy.ops.loquent)) - ELSEWHERE == set(OPERATORS) | NO_FILE


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_can_be_undone_and_redone(scene, head, child, tmp_path, name):  # noqa: F811
    arguments = dict(OPERATORS[name])
    head_and_character(scene, head, child)
    if active := arguments.pop("_active", None):
        bpy.context.view_layer.objects.active = bpy.data.objects[active]
    if arguments.pop("_csv", None):
        from loquent.core.head.livelink import write_livelink

        write_livelink(spoken(), tmp_path / "take.csv")
        arguments["filepath"] = str(tmp_path / "take.csv")
    posed = arguments.pop("_posed", None)
    if posed or arguments.pop("_rig", None):
        bpy.ops.loquent.add_rig()
    if arguments.pop("_two", None):
        head.loquent.uuid = "me"
        head.animation_data.action["loquent_take"] = "me"
        arguments["take"] = head.animation_data.action.name
        apply_motion(scene, head, spoken(5), 1)
    if posed:
        rig.find_rig(head).pose.bones["Jaw Control"].location.y = -0.01
    if arguments.pop("_file", None):
        arguments["filepath"] = str(shutil.copy(head.loquent.avatar, tmp_path / "elsewhere.loq"))
    if engine := arguments.pop("_engine", None):
        scene.render.engine = engine
    bpy.ops.ed.undo_push(message="before")
    before = everything()
    assert getattr(bpy.ops.loquent, name)("EXEC_DEFAULT", True, **arguments) == {"FINISHED"}
    after = everything()
    assert after != before
    bpy.ops.ed.undo()
    assert everything() == before
    bpy.ops.ed.redo()
    assert everything() == after


def test_all_operators_that_change_a_file_can_be_undone(registered):
    for name in dir(bpy.ops.loquent):
        kind = getattr(bpy.types, f"LOQUENT_OT_{name}")
        assert ("UNDO" in kind.bl_options) == (name not in NO_FILE), name


@pytest.fixture
def folder(scene, tiny, tmp_path):
    """A project in a folder of its own, everything in it by relative paths: head file, voice, a take with an edit."""
    from loquent.addon.scene import build_head_object, setup_scene

    place = tmp_path / "Проект 声 one"
    place.mkdir()
    shutil.copy(tiny, place / "kopf größe.loq")
    shutil.copy(VOICE, place / "voice.flac")
    bpy.ops.wm.save_as_mainfile(filepath=str(place / "shot.blend"))
    ob = build_head_object(scene, "//kopf größe.loq", name="Head")
    setup_scene(scene, ob)
    bpy.context.view_layer.objects.active = ob
    ob.loquent.sound = "//voice.flac"
    ob.loquent.adjust.browInnerUp = 0.25
    apply_motion(scene, ob, spoken(), 1, bake=Bake(0.3, "//voice.flac"))
    bpy.ops.loquent.add_rig()
    bpy.ops.wm.save_mainfile()
    return place


def opened(path: Path):
    bpy.ops.wm.open_mainfile(filepath=str(path))
    return bpy.context.scene, bpy.data.objects["Head"]


def test_a_folder_that_is_moved_works_where_it_lies_now(folder, tmp_path):
    from loquent.addon import session

    moved = tmp_path / "elsewhere" / "Ünicode ordner"
    moved.parent.mkdir()
    shutil.move(folder, moved)
    scene, head = opened(moved / "shot.blend")
    assert session.performer(head.loquent.avatar).performer.avatar.name == "tiny"
    assert evaluated(scene, head, 31)[INDEX["browInnerUp"]] > 0.2
    rig.find_rig(head).pose.bones["Jaw Control"].location.y = -0.015
    bpy.context.view_layer.objects.active = head
    assert bpy.ops.loquent.speak() == {"FINISHED"}


@pytest.mark.parametrize("copy", [False, True])
def test_save_as_into_another_folder_keeps_head_voice_and_edits(folder, tmp_path, copy):
    from loquent.addon import session

    elsewhere = tmp_path / "deep" / "er"
    elsewhere.mkdir(parents=True)
    _, head = opened(folder / "shot.blend")
    head.loquent.style = "//anna.style"
    set_key(head, 31, -0.7)
    bpy.ops.wm.save_as_mainfile(filepath=str(elsewhere / "shot.blend"), copy=copy)
    if copy:  # the open file is still the first one
        assert head.loquent.sound == "//voice.flac" and head.loquent.avatar == "//kopf größe.loq"
        assert head.animation_data.action["loquent_recording"] == "//voice.flac"
    for place in (elsewhere, folder):
        scene, head = opened(place / "shot.blend")
        assert session.of(head).path == str(folder / "kopf größe.loq")
        if place == elsewhere:
            assert head.loquent.sound.startswith("//..") and head.loquent.style.startswith("//..")
            apply_motion(scene, head, spoken(4), 1, bake=Bake(0.3, head.loquent.sound))
            assert evaluated(scene, head, 31)[INDEX["jawOpen"]] < -0.3


def test_what_is_saved_is_there_after_reloading(folder):
    scene, head = opened(folder / "shot.blend")
    values = evaluated(scene, head, 31)
    bpy.ops.wm.save_mainfile()
    scene, head = opened(folder / "shot.blend")
    assert np.array_equal(evaluated(scene, head, 31), values)
    assert head.loquent.adjust.browInnerUp == 0.25 and head.loquent.sound == "//voice.flac"


@pytest.mark.parametrize("link", [False, True])
def test_a_head_appended_or_linked_into_another_file_speaks_as_it_did(folder, scene, link):
    _, head = opened(folder / "shot.blend")
    values = evaluated(bpy.context.scene, head, 31)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(folder / "shot.blend"), link=link, relative=False) as (_, into):
        into.objects = ["Head", "Head Rig"]
    scene = bpy.context.scene
    for ob in bpy.data.objects:
        if ob.name.startswith("Head"):
            scene.collection.objects.link(ob)
    head = bpy.data.objects["Head"]
    assert np.allclose(evaluated(scene, head, 31), values, atol=1e-6)
    from loquent.addon import session

    assert session.performer(head.loquent.avatar, head.library if link else None) if link else True


def test_a_linked_head_is_overridden_and_then_speaks(folder, scene):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    with bpy.data.libraries.load(str(folder / "shot.blend"), link=True) as (_, into):
        into.objects = ["Head"]
    linked = bpy.data.objects["Head"]
    scene.collection.objects.link(linked)
    bpy.context.view_layer.objects.active = linked
    with pytest.raises(RuntimeError, match="library override"):
        bpy.ops.loquent.speak()
    mine = linked.override_create(remap_local_usages=True)
    motion = spoken(9)
    apply_motion(scene, mine, motion, 1)
    mine.loquent.adjust.jawOpen = 0.125
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "other.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(folder / "other.blend"))
    mine = next(o for o in bpy.data.objects if o.override_library)
    assert evaluated(bpy.context.scene, mine, 20)[INDEX["jawOpen"]] == pytest.approx(
        motion.values[19, INDEX["jawOpen"]] + 0.125, abs=1e-5
    )


def test_a_head_whose_file_is_gone_keeps_its_speech_is_told_once_and_is_found_again(folder, tmp_path):
    from loquent.addon import session
    from loquent.core.errors import LoquentError

    hidden = tmp_path / "away"
    hidden.mkdir()
    shutil.move(folder / "kopf größe.loq", hidden / "kopf größe.loq")
    scene, head = opened(folder / "shot.blend")
    with pytest.raises(LoquentError, match="kopf größe"):
        session.performer(head.loquent.avatar)
    assert "kopf größe" in session.problem(head.loquent.avatar)
    assert head.data.polygons and evaluated(scene, head, 31)[INDEX["browInnerUp"]] > 0.2  # proxy and speech are there
    bpy.context.view_layer.objects.active = head
    with pytest.raises(RuntimeError, match="cannot be read as a Loquent avatar"):
        bpy.ops.loquent.relink(filepath=str(folder / "voice.flac"))
    twin = head.copy()
    scene.collection.objects.link(twin)
    twin.loquent.avatar = "//zweiter.loq"
    shutil.copy(hidden / "kopf größe.loq", hidden / "zweiter.loq")
    assert bpy.ops.loquent.relink(filepath=str(hidden / "kopf größe.loq")) == {"FINISHED"}
    for ob in (head, twin):
        assert session.performer(ob.loquent.avatar)


@pytest.mark.parametrize(
    "name", ["speak", "add_rig", "reset_channels", "pass_on", "import_motion", "show_take", "relink"]
)
def test_a_greyed_button_says_why(scene, name):
    bpy.context.view_layer.objects.active = None
    operator = getattr(bpy.ops.loquent, name)
    assert not operator.poll()
    with pytest.raises(RuntimeError) as told:
        operator()
    assert "context is incorrect" not in str(told.value) and "Select" in str(told.value)


def test_no_poll_is_silent(registered):
    """Every poll that can refuse holds a message: the text of its class or of what it calls names poll_message_set."""
    import inspect

    for name in dir(bpy.ops.loquent):
        kind = getattr(bpy.types, f"LOQUENT_OT_{name}")
        if "poll" in kind.__dict__:
            text = inspect.getsource(kind.poll)
            helped = ("active_head(cls", "active_performer(cls", "_active_mesh(cls", "_has_rig(cls", "poll_message_set")
            assert any(word in text for word in helped), name


def test_the_report_tells_versions_settings_and_heads_and_goes_nowhere(scene, head):
    from loquent.addon import diagnosis

    head.loquent.avatar = "//lost.loq"
    from loquent.addon import session

    with pytest.raises(Exception, match="lost"):
        session.performer(head.loquent.avatar)
    text = diagnosis.report(bpy.context)
    for part in ("Loquent:", bpy.app.version_string, "numpy", "Worker: Python 3", "threads 0", "lost.loq"):
        assert part in text, text
    assert "Error" not in text.split("Heads:")[0], text
    assert bpy.ops.loquent.test_worker() == {"FINISHED"}


def test_a_worker_that_cannot_start_is_one_message(scene, monkeypatch):
    from loquent.addon import jobs
    from loquent.core.worker.client import Launch

    monkeypatch.setattr(jobs, "launch", lambda: Launch(executable="/no/such/python"))
    with pytest.raises(RuntimeError, match="/no/such/python"):
        bpy.ops.loquent.test_worker()


def test_a_line_spoken_again_with_another_mood_is_not_heard_again(scene, head, monkeypatch, tmp_path):
    from loquent.addon import jobs
    from loquent.addon.operators.speak import request

    kept = {"cache_gigabytes": 1.0}
    monkeypatch.setattr(jobs, "preference", lambda name, default: kept.get(name, default))
    monkeypatch.setattr(jobs, "cache_folder", lambda create=False: tmp_path)
    head.loquent.sound = str(VOICE)

    def heard_before() -> bool:
        with ready(jobs.SpeakJob(request(bpy.context))) as job:
            return job.heard_before

    assert not heard_before() and list(tmp_path.glob("*.speech"))
    head.loquent.controls.happy = 1.0
    assert heard_before()
    head.loquent.seed = 5
    assert not heard_before()
    kept["cache_gigabytes"] = 0.0
    assert not heard_before()
    monkeypatch.setattr("loquent.addon.operators.support.cache_folder", lambda: tmp_path)
    assert bpy.ops.loquent.clear_cache() == {"FINISHED"} and not list(tmp_path.iterdir())


def test_expressions_are_saved_for_the_user_applied_and_deleted(scene, head, monkeypatch, tmp_path):
    from loquent.addon.operators import expressions

    monkeypatch.setattr(expressions, "folder", lambda create=False: tmp_path)
    bpy.ops.loquent.apply_expression(name="Smile", strength=0.5)
    assert head.loquent.adjust.mouthSmileLeft == pytest.approx(0.35) and head.loquent.motion.mouthSmileLeft == 0
    assert bpy.ops.loquent.save_expression(name="Ein Lächeln") == {"FINISHED"}
    head.loquent.layer = "motion"
    bpy.ops.loquent.apply_expression(name=next(iter(expressions.saved())))
    assert head.loquent.motion.mouthSmileLeft == pytest.approx(0.35)
    bpy.ops.loquent.apply_expression(name="Wink Left", add=True)
    assert head.loquent.motion.mouthSmileLeft == pytest.approx(0.85)
    bpy.ops.loquent.reset_channels(group="Lips")
    assert head.loquent.motion.mouthSmileLeft == 0 and head.loquent.motion.eyeBlinkLeft == 1
    assert bpy.ops.loquent.delete_expression(name=next(iter(expressions.saved()))) == {"FINISHED"}
    assert not expressions.saved()
    with pytest.raises(RuntimeError, match="no expression"):
        bpy.ops.loquent.apply_expression(name="Nobody")


OTHER_WORLD = """
import bpy, locale, sys
from pathlib import Path
try:
    locale.setlocale(locale.LC_ALL, "")
except locale.Error:
    pass
print("COMMA", locale.localeconv()["decimal_point"])
sys.path.insert(0, sys.argv[1])
import loquent
loquent.register()
from loquent.core.head.livelink import read_livelink, write_livelink
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.loquent.add_head(avatar="ada")
head = bpy.context.active_object
bpy.ops.loquent.choose_sound(filepath=sys.argv[2])
assert bpy.ops.loquent.speak() == {"FINISHED"}
assert bpy.ops.loquent.add_rig() == {"FINISHED"}
out = Path(sys.argv[3]) / "naïve größe 声.csv"
bpy.context.scene.frame_end = 30
assert bpy.ops.loquent.export_motion(filepath=str(out)) == {"FINISHED"}
assert "," in out.read_text() and read_livelink(out).column("jawOpen").max() > 0
bpy.ops.loquent.save_expression
print("DONE", flush=True)
loquent.unregister()
import ctypes, os
ctypes.CDLL(None).fflush(None)
os._exit(0)  # leaving by itself, Blender 4.5 as a module can hang where the locale was changed
"""


def comma_locale() -> str:
    have = (
        subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout.split()
        if shutil.which("locale")
        else []
    )
    return next((name for name in have if name.lower().startswith(("de_", "fr_", "ru_"))), "")


def test_another_locale_and_an_extension_folder_that_cannot_be_written(tmp_path):
    """Run from a read-only copy of the package, in a locale with decimal commas where the machine has one."""
    package = tmp_path / "nur lesen" / "loquent"
    shutil.copytree(
        ROOT, package,
        ignore=lambda folder, names: [
            n for n in names
            if n.startswith((".", "__pycache__")) or (Path(folder) == ROOT and n not in {"__init__.py", "addon", "core"})
        ],
    )  # fmt: skip
    files = {p for p in package.rglob("*") if p.is_file()}
    for path in [package, *package.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    environment = os.environ | {
        "LC_ALL": comma_locale() or "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "BLENDER_USER_RESOURCES": str(tmp_path / "user"),
    }
    environment.pop("PYTHONPATH", None)
    code = OTHER_WORLD.replace(
        "import loquent\n", "import loquent\nassert 'nur lesen' in loquent.__file__, loquent.__file__\n", 1
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(package.parent), str(VOICE), str(tmp_path)],
            capture_output=True, text=True, env=environment, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0 and "DONE" in done.stdout, done.stdout + done.stderr
        assert "cycle" not in done.stdout
        left = {p for p in package.rglob("*") if p.is_file() and p.parent.name != "__pycache__"}
        assert left == files  # tests that run as root could write; nothing of ours did
    finally:
        for path in [package, *package.rglob("*")]:
            path.chmod(0o755)


DISABLED = """
import bpy, sys
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
head = bpy.data.objects["Head"]
assert bpy.types.Object.bl_rna.properties.get("loquent") is None
assert head.animation_data.action and head.data.polygons
head.location.x = 5
bpy.ops.wm.save_mainfile()
import loquent
loquent.register()
head = bpy.data.objects["Head"]
assert head.loquent.avatar and head.loquent.adjust.browInnerUp == 0.25, head.loquent.avatar
bpy.context.scene.frame_set(31)
value = head.evaluated_get(bpy.context.evaluated_depsgraph_get()).loquent.motion.jawOpen
print("JAW", round(value, 5))
bpy.context.view_layer.objects.active = head
loquent.unregister()
loquent.register()
assert bpy.data.objects["Head"].loquent.sound == "//voice.flac"
loquent.unregister()
"""


def test_a_file_edited_without_the_extension_loses_nothing(folder):
    """Opened, changed and saved where Loquent is disabled; then enabled, disabled and enabled with the file open."""
    scene, head = opened(folder / "shot.blend")
    expected = evaluated(scene, head, 31)[INDEX["jawOpen"]]
    done = subprocess.run(
        [sys.executable, "-c", DISABLED, str(folder / "shot.blend")], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in (os.environ.get("PYTHONPATH", ""),) if p)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(done.stdout.split("JAW")[1].split()[0]) == pytest.approx(expected, abs=1e-4)


def test_settings_of_a_newer_version_are_carried_and_do_no_harm(folder):
    """What this version does not know is left alone: a take and a head with properties and values from the future."""
    _, head = opened(folder / "shot.blend")
    action = head.animation_data.action
    action["loquent_future"] = {"a": 1}
    action["loquent_keys"] = b"another format"
    head["future"] = 3
    bpy.context.view_layer.objects.active = head
    assert bpy.ops.loquent.speak() == {"FINISHED"}
    assert action["loquent_future"]["a"] == 1 and head.animation_data.action["loquent_future"]["a"] == 1
