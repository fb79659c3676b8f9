"""What moves a rollout: who is sent to, when, and what the answers of devices mean, exact under the locks."""
