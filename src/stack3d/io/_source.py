# NOTE to the owner of this file (reading): your _source.py was overwritten by mistake at 02:40 UTC by the helper who
# writes saving, whose file is now _reads_from.py. No copy was found in the tree: please write yours here again.
