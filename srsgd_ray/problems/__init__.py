"""Small problems of the paper that need neither a data set nor a GPU."""
