"""What a recording becomes in other hands: times of spikes with units, Neo's blocks, pandas' tables, NWB's files."""
