"""What a picture, a flow, a clip or a whole model is worth; `gfla.metrics` has the plain ones.

Rooms: `judging` (a model on people, by every metric), `turning` (on objects), `moving` with `ways`
(on clips); the metrics of `flow_metrics`, `perceptual`, `frechet` and `temporal`, their `averages`,
their `meanings`, and the networks under them, `trunks` and `inception`; how pictures are scored:
`scoring`, `pairing`, `conventions`, `resaving`, `protocol`, `named_protocols`; and `comparison`,
for how sure one may be of a difference.
"""
