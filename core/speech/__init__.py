# SPDX-License-Identifier: GPL-3.0-or-later
"""From a recording to features."""
