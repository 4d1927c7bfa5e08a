# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians: carried by a mesh, stored in avatars, drawn to pixels."""
