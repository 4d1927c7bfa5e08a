# SPDX-License-Identifier: GPL-3.0-or-later
"""Performance capture: a photo or a video to the parametric head's identity, camera and Motion."""
