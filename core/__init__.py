# SPDX-License-Identifier: GPL-3.0-or-later
"""The compute core: speech to motion to Gaussian heads to pixels. It never imports Blender.

Conventions, set once and used everywhere:

* metres, radians, seconds; quaternions are wxyz; float32 unless said otherwise.
* Head space: x to the subject's left, y up, z forward out of the face; the origin is the pivot between neck and skull
  of the mean identity.
* Cameras are OpenCV's: x right, y down, z forward; `world_to_camera` is a 4x4 matrix acting on column vectors.
* Colour is scene-linear Rec.709, premultiplied by alpha; row 0 is the top of a picture.
* Frame 0 is at time 0; frame k of a Motion is at k / fps seconds.

Shape letters: T frames, V vertices, F faces, N Gaussians, C channels, S identity components, K harmonics.

Packages import downwards only: worker < prior < speech < splats < head < geometry, with `errors`, `checkpoint` and
`assets` beneath all of them ("a < b": a may import b). `adapt` (learning heads and voices) stands above `prior`.
"""
