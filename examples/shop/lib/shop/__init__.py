"""What the workflows of the shop share."""
