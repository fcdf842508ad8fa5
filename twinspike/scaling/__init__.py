"""What more processes and workers give: measured on one machine, fitted to a model of what an update costs, and calculated for clusters. See docs/scaling.md."""
