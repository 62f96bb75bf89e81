"""The command line. It parses and prints, nothing else: `maskrcnn.cli:app` is the command `maskrcnn`."""

from maskrcnn.cli.app import app as app
