"""What `benchmarks.camvid` is made of; only the two `*_side` modules import a framework, one each."""
