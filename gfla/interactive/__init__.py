"""Everything that answers a hand: the pose studio, its parts, and their twins on paper.

Rooms: `studio` (all of it together) of `pose_editor`, `pose_sliders`, `pixel_picker` and
`own_picture`, all drawn in the browser as `one_at_a_time` says; `live` (a model that answers while
a joint moves), `where` (from where a pixel came) and `sources` (whom to move); `sheets` and
`scrubber`, which show without a kernel what widgets show with one.
"""
