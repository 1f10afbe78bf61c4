"""A photograph of one's own: its person in another pose, and who painted that.

Rooms: `rendering` (the command), `repainting` (frame, retarget, paint, bring back), `pose_inputs`
with `detecting` (a pose from a file or from a detector), `pose_drawing` (the pose over the
photograph, with what looks wrong), `origins` (what the model learned from).
"""
