"""What people do with deployments; each call checks the permission and the rule, whichever door it came through."""
