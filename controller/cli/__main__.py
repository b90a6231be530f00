"""python -m controller.cli: the same as `isat`, from a checkout."""

from controller.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
