"""What the scan and its compiled kernel agree on."""

LETTERS = 8  # a word of the index; two tables of four letters each give its score
OTHER = 4  # code of whatever is not A (0), C, G or T (3), and of the gap between sequences
