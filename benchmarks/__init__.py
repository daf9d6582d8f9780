"""What kseg costs beside the best thing a user would otherwise call."""
