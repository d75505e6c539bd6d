"""Second-admin approval: requests, decisions, and the page where they wait."""
