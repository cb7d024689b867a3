"""Colours of the pictures."""

# Okabe and Ito (2008), told apart by all readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
CALLED, INK, GREY, LIGHT = "#D55E00", "#222222", "#6b6b6b", "#cfcfcf"
