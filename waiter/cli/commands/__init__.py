"""The commands: each module has ``make_parser()`` and ``run(args)``."""
