"""Files of single cells: registration, Parquet shards, fragments."""
