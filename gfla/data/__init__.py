"""Pictures, key points and truth: procedural scenes, and readers for the layouts the authors used.

Rooms: `keypoints` (formats, validation, heat maps), `people` (procedural pairs with exact flow and
visibility), `folders` (data sets on disk). Import the room that is needed, for example
`from gfla.data import people`; nothing is read, drawn or downloaded by importing.
"""

__all__ = ["folders", "keypoints", "people"]
