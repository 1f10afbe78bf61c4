"""Pictures, key points and truth: procedural scenes, and readers for the layouts the authors used.

Rooms: `keypoints` (formats, validation, heat maps), `people` with `body` and `garments` (procedural
pairs with exact flow and visibility), `folders` (data sets on disk) with `sample` (writes one).
Import the room that is needed, for example `from gfla.data import people`; nothing is read, drawn
or downloaded by importing.
"""

__all__ = ["body", "folders", "garments", "keypoints", "people", "sample"]
