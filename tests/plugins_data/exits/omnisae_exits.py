"""It ends the process that imports it."""

import sys

sys.exit("not on this machine")
