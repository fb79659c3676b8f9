"""What pages, /v1 and exports show of a deployment: counts, tasks, events, pace."""
