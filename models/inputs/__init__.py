"""What models read: cells, matrices and graphs, in the form that training takes."""
