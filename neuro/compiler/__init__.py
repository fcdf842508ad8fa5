"""From a checked network to its Step: numbers drawn, receptors merged, equations discretised, statements ordered."""
