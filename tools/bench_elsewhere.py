# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads from elsewhere: `python dev.py bench elsewhere [--json FILE]`; tools/heads/elsewhere.py does it."""

from loquent.tools.heads.elsewhere import main

if __name__ == "__main__":
    main()
