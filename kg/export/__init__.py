"""Taking things out of the graph: what can be exported, and the formats that it goes into.

It stands in `kg` because commands and routes both need it and neither may know the other, and because it needs
nothing but the declared types. A format is one file in `formats`; it sees `Content` and never the database.
"""
