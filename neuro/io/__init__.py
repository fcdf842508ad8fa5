"""Files: networks as JSON and TOML, states and recordings and whole runs as HDF5."""
