"""The embedded world: scenes and planar mixtures whose every factor is known, drawn without any file.

arguments   checks of arguments, with messages that name the nearest valid one
chance      counter-based random numbers: a draw is a function of (seed, split, index, name)
scene       the factors of a scene, how they are drawn, replaced and set in motion
render      scenes to pixels: signed distances, textures, light
caption     scenes to sentences and token ids
views       every field that a scene can be seen as
source      `world(...)`, the registered source
plane       `plane(...)`, mixtures of Gaussians in two dimensions
sheet       a labelled picture of every view
"""
