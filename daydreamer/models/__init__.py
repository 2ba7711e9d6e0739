"""Networks: what actor and learner share. Nothing here trains."""
