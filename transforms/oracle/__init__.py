"""The oracle that knows the true mask: its next click, and the distance search behind it."""
