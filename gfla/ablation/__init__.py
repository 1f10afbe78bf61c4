"""The ladder of four models and what it shows; `gfla.ablate` trains them.

Rooms: `cells` (what is trained with what, and after what), `ladder` (the recorded runs),
`standings` (who stands where, and how sure that is), `ablation_table` (both in writing); for
notebook 04 `rungs` (its experiments), `gaze` (where a model takes its pixels from),
`ladder_figures` and `ladder_strips`.
"""
