"""Results of the benchmarks: their files, their tables, and the page that is made of them."""
