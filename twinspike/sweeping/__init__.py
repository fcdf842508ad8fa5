"""Many runs of train.py from one file: what is asked for, a folder that knows what was done, and what carries it out."""
