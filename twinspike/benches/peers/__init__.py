"""The benchmarks' networks as somebody would write them by hand, or as another library's documentation shows them."""
