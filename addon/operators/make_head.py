# SPDX-License-Identifier: GPL-3.0-or-later
"""Head from Photo, from Video, from Splats: asks who it is and whether they agreed, then a worker process makes the head."""

from typing import Any

import bpy

from ..properties import BLEND_RELATIVE
from .base import FILE, FileJobOperator, OfFace, chosen, idle, shown_files
from .perform import SUFFIXES

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
SPLATS = (".ply", ".spz", ".zip")
FILMS = tuple(suffix for suffix in SUFFIXES if suffix not in PHOTOS)


class MakeHead(FileJobOperator):
    """Mix-in: the fields that all dialogs have, and their work."""

    kind = ""
    absent = ""
    """What is said of a file that is not there, with its name at {}."""
    demanded = True
    """Whether nothing is made without name and consent."""
    own: tuple[str, ...] = ()
    """Properties of this dialog alone, by the names that core/adapt gives them."""
    what = "of the head"

    filepath: FILE
    # Who, and their consent, are typed for every head: what was agreed for one person is not said of the next.
    subject: bpy.props.StringProperty(
        name="Person",
        description="Full name of the person who is shown. Kept in the head's file",
        options={"SKIP_SAVE"},
    )
    consent: bpy.props.StringProperty(
        name="Consent",
        description="Who agreed to what, and how you know, such as: Anna Ek agreed by mail of 1 November to a talking "
        "head for our film. Kept in the head's file and in the metadata of its pictures",
        options={"SKIP_SAVE"},
    )
    synthetic: bpy.props.BoolProperty(
        name="Invented Person",
        description="Nobody real is shown: a painting, a render, a generated face. No statement is needed then",
        options={"SKIP_SAVE"},
    )
    head_name: bpy.props.StringProperty(
        name="Name", description="Of the head and its file. Empty: the person's name", options={"SKIP_SAVE"}
    )
    folder: bpy.props.StringProperty(
        name="Folder",
        description="Where the head's file is written. Empty: beside the .blend file, or in Loquent's own folder as long "
        "as that is not saved",
        subtype="DIR_PATH", options=BLEND_RELATIVE,
    )  # fmt: skip
    overwrite: bpy.props.BoolProperty(
        name="Replace File",
        description="Write over a head of the same name. Off: the new one gets a number",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        if context.mode != "OBJECT":
            cls.poll_message_set("Leave edit mode first")
            return False
        return idle(cls)

    def job(self, context: Any) -> Any:
        from ...core.adapt.consent import Consent
        from .. import making

        consent = None
        if self.demanded or self.subject.strip() or self.consent.strip() or self.synthetic:
            consent = Consent(self.subject, self.consent, synthetic=self.synthetic)
            consent.check()
        film = chosen(self.filepath, self.absent)
        x, y, z = context.scene.cursor.location
        request = making.Request(
            f"head_from_{self.kind}", film, self.head_name.strip() or self.subject.strip() or film.stem, consent,
            context.scene.session_uid, self.folder, self.overwrite, (x, y, z), self.more(),
        )  # fmt: skip
        return making.HeadJob(request)

    def more(self) -> dict[str, Any]:
        """Options of the worker's job."""
        return {name: getattr(self, name) for name in self.own}

    def draw(self, context: Any) -> None:
        column = self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(self, "subject")
        row = column.row()
        row.active = not self.synthetic
        row.prop(self, "consent")
        column.prop(self, "synthetic")
        if not self.subject.strip() or not (self.synthetic or self.consent.strip()):
            note = column.column(align=True)
            note.label(text="A head shows a person:", icon="INFO")
            needed = "are needed" if self.demanded else "belong into its file"
            note.label(text=f"their name and consent {needed}", icon="BLANK1")
        column.separator()
        column.prop(self, "head_name")
        column.prop(self, "folder")
        column.prop(self, "overwrite")
        column.separator()
        for name in self.own:
            column.prop(self, name)


class LOQUENT_OT_head_from_photo(OfFace, MakeHead, bpy.types.Operator):
    """Make a talking head from one photo of a face and put it at the 3D cursor. Needs a Worker Python with torch and MediaPipe"""

    bl_idname = "loquent.head_from_photo"
    bl_label = "Head from Photo"
    bl_options = {"UNDO"}  # not REGISTER: a touched setting in the redo panel would make the head again
    kind = "photo"
    absent = "There is no photo{}. Choose one that shows a face."
    own = ("face", "focal_mm", "refine")

    filter_glob: shown_files(PHOTOS)
    refine: bpy.props.BoolProperty(
        name="Refine",
        description="Fit the head to the photo after the first guess: more alike, and slower",
        default=True,
    )


class LOQUENT_OT_head_from_video(OfFace, MakeHead, bpy.types.Operator):
    """Make a talking head from a film of one person, and their way of speaking with it. Takes minutes; Esc cancels, and the
    same film goes on where it was. Needs a Worker Python with torch and MediaPipe"""

    bl_idname = "loquent.head_from_video"
    bl_label = "Head from Video"
    bl_options = {"UNDO"}  # not REGISTER: a touched setting in the redo panel would make the head again
    kind = "video"
    absent = "There is no film{}. Choose one that shows a face."
    own = ("face", "focal_mm", "style", "inpainter", "steps")

    filter_glob: shown_files(FILMS)
    style: bpy.props.BoolProperty(
        name="Voice Style", description="Learn how the person moves when they speak, too", default=True
    )
    inpainter: bpy.props.BoolProperty(
        name="Footage",
        description="Learn to put the head back over this film, with neck and collar as they were",
        default=True,
    )
    steps: bpy.props.IntProperty(
        name="Steps",
        description="Of fitting the head to the film; 0 is the usual number, some fifteen minutes of two cores. Some hundred give a rough head soon. A "
        "cancelled film goes on only with the same number",
        default=0, min=0, max=100_000,
    )  # fmt: skip


class LOQUENT_OT_head_from_splats(MakeHead, bpy.types.Operator):
    """Make a head that speaks of one that another program made: still 3D Gaussians, a LAM or a GaussianAvatars head. Puts it at
    the 3D cursor. Still ones need a Worker Python with MediaPipe, or named landmarks"""

    bl_idname = "loquent.head_from_splats"
    bl_label = "Head from Splats"
    bl_options = {"UNDO"}  # not REGISTER: a touched setting in the redo panel would make the head again
    kind = "splats"
    absent = "There are no splats{}. Choose a .ply, .spz or .zip of a head."
    demanded = False
    own = ("licence", "landmarks", "flame_head", "params")

    filter_glob: shown_files(SPLATS)
    licence: bpy.props.StringProperty(
        name="Licence", description="Under which the head may be used. Kept in its file", options={"SKIP_SAVE"}
    )
    landmarks: bpy.props.StringProperty(
        name="Landmarks",
        description='A .json with points of a still head, such as {"nose_tip": [x, y, z], …}. Empty: MediaPipe looks for the face',
        subtype="FILE_PATH",
        options={"SKIP_SAVE"} | BLEND_RELATIVE,
    )
    flame_head: bpy.props.StringProperty(
        name="FLAME Head",
        description="The .head.npz that a GaussianAvatars .ply is bound to (loquent head convert-flame). It is copied to the head",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"} | BLEND_RELATIVE,
    )
    params: bpy.props.StringProperty(
        name="FLAME Shape",
        description="The flame_param.npz of a GaussianAvatars .ply: the person's shape",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"} | BLEND_RELATIVE,
    )

    def more(self) -> dict[str, Any]:
        from .. import sound

        files = {"landmarks": self.landmarks, "head": self.flame_head, "params": self.params}
        return {name: str(sound.absolute(path)) for name, path in files.items() if path} | {
            "licence": self.licence.strip()
        }


class LOQUENT_OT_cancel(bpy.types.Operator):
    """Stop what Loquent computes. What a film has learned so far is kept: make the head again and it goes on"""

    bl_idname = "loquent.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> set[str]:
        from .. import jobs

        for job in jobs.current():
            job.cancel()
        return {"FINISHED"}


CLASSES = (
    LOQUENT_OT_head_from_photo,
    LOQUENT_OT_head_from_video,
    LOQUENT_OT_head_from_splats,
    LOQUENT_OT_cancel,
)
