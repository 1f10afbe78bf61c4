"""How fast the sampling is; `gfla.bench` is the command.

Rooms: `rivals` (the forms that are set against each other), `timing` (clock, memory, counts),
`bench_rows` (what is measured) with `bench_kinds` (how), `bench_targets` (what came of it, and what
was wanted), `bench_tables`, `bench_figures` and `bench_lessons` (notebook 08); and `scaling`, what
more workers would make of the street and the grid.
"""
