"""Work that goes on beside the front: backoff after errors, and the runner of scheduled tasks."""
