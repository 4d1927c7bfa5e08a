# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels draw exists in this Blender, and Speak's progress, Esc and end: without a window, on stand-ins for it."""

from types import SimpleNamespace

import bpy
import pytest

from loquent.addon import jobs, preferences
from loquent.addon.operators.speak import LOQUENT_OT_speak
from loquent.addon.scene import apply_motion

from .test_characters import character
from .test_speak import GOOD, VOICE, child  # noqa: F401
from .test_takes import spoken


class Layout:
    """Stands in for a UILayout: refuses properties, operators, menus and icons that do not exist; notes all it is asked."""

    ICONS = set(bpy.types.UILayout.bl_rna.functions["prop"].parameters["icon"].enum_items.keys())

    def __init__(self, drawn: list[str] | None = None) -> None:
        self.__dict__["drawn"] = drawn if drawn is not None else []

    def __setattr__(self, name, value) -> None:
        assert name in bpy.types.UILayout.bl_rna.properties, name

    def _icon(self, options) -> None:
        assert options.get("icon", "NONE") in self.ICONS, options

    def prop(self, data, name, **options) -> None:
        assert name in data.bl_rna.properties, (data, name)
        self._icon(options)
        self.drawn.append(name)

    def prop_search(self, data, name, within, items, **options) -> None:
        self.prop(data, name, **options)
        assert items in within.bl_rna.properties, items

    def operator(self, name, **options):
        self._icon(options)
        self.drawn.append(name)
        kind = getattr(bpy.ops.loquent, name.removeprefix("loquent.")).get_rna_type()
        return Settings(kind.properties)

    def operator_menu_enum(self, name, prop, **options) -> None:
        assert prop in self.operator(name, **options).known

    def menu(self, name, **options) -> None:
        assert hasattr(bpy.types, name), name
        self._icon(options)

    def label(self, **options) -> None:
        self._icon(options)
        self.drawn.append(options.get("text", ""))

    def template_list(self, kind, _, data, items, active, index, **options) -> None:
        assert hasattr(bpy.types, kind) and items in data.bl_rna.properties and index in active.bl_rna.properties

    def progress(self, **options) -> None:
        assert 0 <= options["factor"] <= 1
        self.drawn.append(options["text"])

    def template_icon(self, **options) -> None:
        assert options["icon_value"] >= 0  # there are no icons in background

    def separator(self, **options) -> None:
        pass

    def row(self, **options):
        return Layout(self.drawn)

    column = box = split = row

    def operator_enum(self, name, prop, **options) -> None:
        self.operator_menu_enum(name, prop, **options)


class Settings:
    """An operator's settings on a button."""

    def __init__(self, known) -> None:
        self.__dict__["known"] = known.keys()

    def __setattr__(self, name, value) -> None:
        assert name in self.known, name


def panels():
    return [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("LOQUENT_PT_")]


def draw_all(engine: str = "LOQUENT", tree: str = "CompositorNodeTree") -> dict[str, list[str]]:
    """What every panel that shows itself draws, by name."""
    context = bpy.context
    stand_in = SimpleNamespace(
        active_object=context.view_layer.objects.active, scene=context.scene, view_layer=context.view_layer, engine=engine,
        world=context.scene.world, window_manager=context.window_manager, space_data=SimpleNamespace(tree_type=tree),
        mode="OBJECT", selected_objects=context.selected_objects,
    )  # fmt: skip
    drawn = {}
    for kind in sorted(panels(), key=lambda kind: hasattr(kind, "bl_parent_id")):
        poll = getattr(kind, "poll", None)
        if getattr(kind, "bl_parent_id", "LOQUENT_PT_speak") not in {"LOQUENT_PT_speak", *drawn}:
            continue  # Blender leaves the children of a panel out with it
        if poll is None or poll(stand_in):
            layout = Layout()
            for part in ("draw_header", "draw_header_preset", "draw"):
                if hasattr(kind, part):
                    getattr(kind, part)(SimpleNamespace(layout=layout), stand_in)
            drawn[kind.__name__] = layout.drawn
    return drawn


def test_every_panel_draws_only_what_exists(scene, head):
    scene.world = bpy.data.worlds.new("World")
    apply_motion(scene, head, spoken(), 1)
    for source in ("FILE", "STRIP", "TRACK"):
        head.loquent.source = source
        drawn = draw_all()
    assert set(drawn) == {kind.__name__ for kind in panels()} - {"LOQUENT_PT_character", "LOQUENT_PT_making"}
    assert "loquent.speak" in drawn["LOQUENT_PT_speak"] and "loquent_waveform" in drawn["LOQUENT_PT_keys"]
    assert "jawOpen" in drawn["LOQUENT_PT_channels_0"] and "happy" in drawn["LOQUENT_PT_performance"]
    bpy.ops.loquent.add_rig()
    assert "hold" in draw_all()["LOQUENT_PT_rig"]
    bpy.ops.object.duplicate()
    assert any("Follows" in text for text in draw_all()["LOQUENT_PT_rig"])


def test_a_character_has_its_table_and_a_mesh_with_shape_keys_is_offered_one(scene):
    ob = character(scene)
    assert "loquent.find_shapes" in draw_all()["LOQUENT_PT_speak"]
    bpy.ops.loquent.find_shapes()
    drawn = draw_all()
    assert "loquent.shape_row" in drawn["LOQUENT_PT_character"] and "LOQUENT_PT_rig" not in drawn
    layout = Layout()
    row = ob.loquent.shapes[0]
    bpy.types.LOQUENT_UL_shapes.draw_item(
        None, SimpleNamespace(active_object=ob), layout, ob.loquent, row, 0, None, "", 0
    )
    assert layout.drawn == ["name", "channel", "factor"]


ADDING = ["loquent.add_head", "loquent.head_from_photo", "loquent.head_from_video"]


def test_without_a_head_the_panel_offers_one_and_a_lost_file_offers_to_find_it(scene, head):
    head.loquent.avatar = "//lost.loq"
    from loquent.addon import session

    with pytest.raises(Exception, match="lost"):
        session.of(head)
    drawn = draw_all()["LOQUENT_PT_speak"]
    assert "loquent.relink" in drawn and any("lost.loq" in text for text in drawn)
    bpy.context.view_layer.objects.active = None
    drawn = draw_all()
    assert drawn["LOQUENT_PT_speak"] == [*ADDING, "loquent.speak"] and "LOQUENT_PT_keys" not in drawn


def test_the_preferences_hold_worker_device_threads_and_cache(registered):
    layout = Layout()
    kind = preferences.LoquentPreferences
    stand_in = SimpleNamespace(layout=layout, bl_rna=kind.bl_rna)
    kind.draw(stand_in, bpy.context)
    assert layout.drawn == [
        "worker_python", "loquent.test_worker", "device", "threads", "cache_folder", "cache_gigabytes",
        "loquent.clear_cache", "loquent.system_report",
    ]  # fmt: skip


def test_the_preferences_reach_the_worker(registered, monkeypatch):
    chosen = {"worker_python": "//python/bin/python", "threads": 3}
    monkeypatch.setattr(jobs, "preference", lambda name, default: chosen.get(name, default))
    launch = jobs.launch()
    assert launch.executable.endswith("python/bin/python") and not launch.executable.startswith("//")
    assert launch.threads == 3


MIXINS = [kind for kind in LOQUENT_OT_speak.__mro__[1:] if kind.__module__.startswith("loquent.")]
OWN = {n: v for n, v in vars(LOQUENT_OT_speak).items() if not n.startswith(("__", "bl_")) and n != "poll"}


class Speaking(type("Plain", tuple(MIXINS), OWN)):
    """Speak's own functions on an object that can be made without a window."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def report(self, kind, text) -> None:
        self.told.append((next(iter(kind)), text))


@pytest.fixture
def stage(scene, head):
    """A context with a window that notes what is shown in it."""
    head.loquent.sound = str(VOICE)
    seen = SimpleNamespace(status=[], progress=[], timers=0, handlers=0)
    manager = SimpleNamespace(
        event_timer_add=lambda seconds, window: setattr(seen, "timers", seen.timers + 1) or "timer",
        event_timer_remove=lambda timer: setattr(seen, "timers", seen.timers - 1),
        progress_begin=lambda low, high: seen.progress.append("begin"),
        progress_update=lambda value: seen.progress.append(value),
        progress_end=lambda: seen.progress.append("end"),
        modal_handler_add=lambda operator: setattr(seen, "handlers", seen.handlers + 1),
    )
    context = SimpleNamespace(
        active_object=head, scene=scene, window_manager=manager, window=None, sequencer_scene=None,
        workspace=SimpleNamespace(status_text_set=lambda text: seen.status.append(text)),
    )  # fmt: skip
    return SimpleNamespace(context=context, seen=seen)


def event(kind: str, value: str = "PRESS"):
    return SimpleNamespace(type=kind, value=value)


def until_done(operator, context, before=lambda: None) -> set[str]:
    answer = {"PASS_THROUGH"}
    while answer == {"PASS_THROUGH"}:
        before()
        operator._job.wait()
        answer = operator.modal(context, event("TIMER"))
    return answer


def test_progress_stands_in_the_status_bar_and_every_other_event_is_blenders(stage, head, child):  # noqa: F811
    child("say(type='progress', fraction=0.25)\ntime.sleep(0.3)\n" + GOOD)
    operator = Speaking()
    assert operator._start(stage.context) == {"RUNNING_MODAL"} and stage.seen.handlers == 1
    assert operator.modal(stage.context, event("MOUSEMOVE", "NOTHING")) == {"PASS_THROUGH"}
    assert operator.modal(stage.context, event("G")) == {"PASS_THROUGH"}
    assert until_done(operator, stage.context) == {"FINISHED"}
    assert any(text and "25%" in text and "Esc" in text for text in stage.seen.status) and 25 in stage.seen.progress
    assert stage.seen.status[-1] is None and stage.seen.progress[-1] == "end" and stage.seen.timers == 0
    assert [kind for kind, _ in operator.told] == ["INFO", "WARNING"] and head.animation_data.action
    assert not jobs.running()


def test_long_errors_are_told_in_lines_that_fit(registered):
    from loquent.addon.operators.base import COLUMNS, in_lines

    text = "Making heads needs a Python. " * 12 + "\nIts last words:\n" + "x" * 300
    lines = in_lines(text).splitlines()
    assert " ".join(lines).split() == text.split() and "Its last words:" in lines
    assert all(len(line) <= COLUMNS for line in lines[:-1]) and in_lines("Short.") == "Short."


def test_esc_stops_it_and_leaves_nothing(stage, head, child):  # noqa: F811
    child("say(type='progress', fraction=0.3)\nsys.stdin.readline()\nsay(type='cancelled')")
    operator = Speaking()
    operator._start(stage.context)
    assert operator.modal(stage.context, event("ESC", "RELEASE")) == {"PASS_THROUGH"}
    assert operator.modal(stage.context, event("ESC")) == {"RUNNING_MODAL"}
    assert until_done(operator, stage.context) == {"CANCELLED"}
    assert operator.told == [("WARNING", "Cancelled; nothing was changed.")]
    assert stage.seen.timers == 0 and stage.seen.status[-1] is None and not jobs.running()
    assert not bpy.data.actions and head.animation_data is None


def test_a_closed_window_or_another_file_ends_the_worker(stage, child):  # noqa: F811
    child("time.sleep(60)")
    operator = Speaking()
    operator._start(stage.context)
    operator.cancel(stage.context)
    assert not jobs.running() and stage.seen.timers == 0


def test_the_head_may_be_undone_and_redone_while_it_learns_its_lines(stage, head, child):  # noqa: F811
    child("time.sleep(0.2)\n" + GOOD)
    name = head.name
    bpy.ops.ed.undo_push(message="before")
    head.location.x = 1
    bpy.ops.ed.undo_push(message="moved")
    operator = Speaking()
    operator._start(stage.context)
    bpy.ops.ed.undo()
    assert until_done(operator, stage.context) == {"FINISHED"}
    assert bpy.data.objects[name].animation_data.action.name.startswith("Speak")
