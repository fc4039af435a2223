"""Input made to break the data plane: what is generated, how it is judged, and the long campaign.

case        what one case is: settings, and what must come of it where that is known by thought
writing     rows -> the bytes of a well-formed file, in every format
values      ids, times and texts that are legal but nasty, and values that no log may hold
logs        kinds of logs: nasty values, planted faults, broken shapes, foreign encodings
json_logs   JSON of another shape
typed       every type of Parquet, odd tables, false statistics
damage      well-formed files cut short, with flipped bits, with blocks lost, doubled or overwritten
catalogues  the same for items files
images      pictures as bytes: good, broken, and larger than they look
pictures    kinds of pictures and of picture paths
formats     folders of known data sets, one file of them damaged
places      names, links, pipes and devices where a file is expected
settings    TOML that does not fit
bombs       small files that unpack to gigabytes, and files that claim to
verdict     runs a case through the recipes and says whether what came out is sound
kinds       all of them by name, and their shares
terminal    runs a case through the command line
campaign    runs many cases in a child process with a time limit per case, and counts
"""
