"""`python -m maskrcnn` is the command `maskrcnn`."""

from maskrcnn.cli import app

app(prog_name="maskrcnn")
