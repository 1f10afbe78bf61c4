"""The experiments and figures of single notebooks; what notebooks share lies elsewhere.

Rooms by notebook: 01 `scenes`, `basins`; 01 and 02 `diagrams`; 02 `lessons`; 03 `balance`,
`verdict`; 05 `viewpoints`, `turn_figures`; 06 `driving`, `trembling`, `recurrence`, `memory`,
`moving_figures`; 07 `moves`; 09 `own_data`, `own_poses`, `own_figures`. Those of 04 are in
`gfla.ablation`, those of 08 in `gfla.speed`.
"""
