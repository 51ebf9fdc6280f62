"""What the web page is told: progress while a run goes on, and noise levels before it."""
