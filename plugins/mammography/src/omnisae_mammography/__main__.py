"""`python -m omnisae_mammography ROOT NAME`: which file a picture's name stands for."""

import sys

from omnisae_mammography.files import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
