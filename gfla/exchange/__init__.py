"""Models from and for other programs: the authors' files are read, graphs are written.

Rooms that read: `published` (a file becomes a network) with `pickled` (reads it, executes nothing),
`layouts` and `published_names` (which network it is, what its parameters are called), `fitting`
(compares tensor by tensor) and `released` (the seven models there are); `parity` (does it do what
theirs did); `importing` (the command). Rooms that write: `exporting` (the command), `portable` (a
model as one graph), `signatures` (what enters and leaves it), `agreement` (does it do what the
model does).
"""
