# SPDX-License-Identifier: GPL-3.0-or-later
"""Property tests draw the same examples in every run: a failure is a change of ours, never of the dice."""

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.load_profile("same")
