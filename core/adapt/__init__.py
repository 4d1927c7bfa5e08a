# SPDX-License-Identifier: GPL-3.0-or-later
"""Learning from one person's examples."""
