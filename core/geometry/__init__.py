# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations, cameras and triangles, in numpy."""
