"""Named questions: one file each; CLI, REST and the reference follow from it."""
