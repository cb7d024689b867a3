"""The inputs of models: cells, matrices and graphs, in the form that training takes."""
