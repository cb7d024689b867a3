"""Other programs, run as they are in environments of their own, on the inputs of ours."""
